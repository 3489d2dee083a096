//! The process that is killed: it recovers, then obeys commands and trains until somebody kills it.

use std::{
    convert::Infallible,
    error::Error,
    fs,
    io::{self, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use burn::{
    module::AutodiffModule,
    optim::{AdamW, AdamWConfig, adaptor::OptimizerAdaptor},
    tensor::backend::Backend,
};
use fastrand::Rng;
use kasmina::{
    CommandError, CommandSender, Grown, Receipt, SeedManager,
    commands::Order,
    engine::Seed,
    gates::doubles::AllowAll,
    kernel_load::{Digest, DirectoryLibrary, weights::module_to_bytes},
    leyline::{
        BlueprintId, SeedId, SlotId, TrainingRunId,
        v1::SeedLifecycleStage::{self, SeedStageDormant, SeedStageFossilized},
    },
    lifecycle::Transition,
    rollback::{Entry, Journal, Store},
    safety::{Clock, SystemClock},
    security::{CommandVerifier, KeyRing, NonceLedger, Secret},
};

use super::{
    commands,
    protocol::{Announced, Answer, Kind, Line, Move, Standing, stage_name},
    recording::{Recording, Seen},
    world::{self, B, Host, SEEDS},
};
use crate::failure::Failure;

/// So short that ids are forgotten, and the journal compacted, within the life of one process.
const NONCE_TTL: Duration = Duration::from_millis(150);

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let outcome = Child::recover(args).and_then(|mut child| child.live());
    let Err(error) = outcome;
    tell(&Line::Error { what: error.to_string() }).map_err(|error| Failure::Crash(error.to_string()))
}

type Model = Grown<B, Host<B>>;

struct Child {
    manager: SeedManager<B>,
    model: Model,
    optimizer: OptimizerAdaptor<AdamW, Model, B>,
    sender: CommandSender,
    clock: SystemClock,
    random: Rng,
    seen: Seen,
    /// Commands that have been answered: none of them may be obeyed again.
    answered: Vec<Vec<u8>>,
}

impl Child {
    fn recover(args: &Args) -> Result<Self, Box<dyn Error>> {
        let mut store = Store::open(args.dir.join("store"))?;
        let answered = answered(&mut store, &args.dir.join("replays"))?;
        let Store { journal, blobs, .. } = store;
        let (device, seen, clock) = (Default::default(), Seen::default(), SystemClock::new());
        let secret = Secret::new("a secret of the crash test")?;
        let ledger = NonceLedger::new(NONCE_TTL, NonceLedger::CAPACITY);
        let (manager, recovered) = SeedManager::<B>::builder(TrainingRunId::new("crash-test")?)
            .settings(world::settings())
            .gatekeepers(AllowAll)
            .verifier(CommandVerifier::new(KeyRing::of("crash", secret.clone())).with_ledger(ledger))
            .kernels(DirectoryLibrary::open(args.dir.join("kernels"))?)
            .clock(clock)
            .journal(Recording::new(journal, seen.clone())?, blobs)
            .recover(&device)?;
        B::seed(&device, args.seed);
        let (model, optimizer) = (Grown::new(Host::init(&device)), AdamWConfig::new().init());
        let (sender, random) = (CommandSender::new(&secret, "crash")?, Rng::with_seed(args.seed));
        let mut child = Self { manager, model, optimizer, sender, clock, random, seen, answered };
        tell(&Line::Recovered { incarnation: recovered.incarnation, standing: child.standing()? })?;

        intend(Kind::Restore, &[])?;
        child.manager.restore_model(&mut child.model, &mut child.optimizer)?;
        child.done(Kind::Restore, Vec::new(), &[])?;
        let batch = child.batch();
        intend(Kind::Attach, &[])?;
        child.manager.attach_host(&child.model, |host, grafts| world::loss(host, &batch, grafts))?;
        child.done(Kind::Attach, Vec::new(), &[])?;
        for (name, slot, _) in SEEDS {
            let seed = SeedId::new(name)?;
            if child.manager.stage(&seed).is_none() {
                intend(Kind::Register, &[])?;
                child.manager.register_seed(seed, SlotId::new(slot)?)?;
                // The move is told with the next answer.
                child.done(Kind::Register, Vec::new(), &[])?;
            }
        }
        Ok(child)
    }

    fn live(&mut self) -> Result<Infallible, Box<dyn Error>> {
        loop {
            let dice = self.random.u64(..100);
            if self.manager.rollback_commanded().is_some() && dice < 80 {
                self.roll_back()?;
            } else if self.manager.rollback_commanded().is_some() || dice < 45 {
                let wire = self.fresh()?;
                self.submit(Kind::Submit, vec![wire])?;
            } else if dice < 55 {
                let wires = (0..2 + self.random.u64(..4)).map(|_| self.fresh()).collect::<Result<_, _>>()?;
                self.submit(Kind::Submit, wires)?;
            } else if dice < 62 {
                let again = self.random.choice(&self.answered).cloned();
                self.submit(Kind::Replay, again.into_iter().collect())?;
            } else if dice < 67 {
                intend(Kind::Checkpoint, &[])?;
                self.manager.end_epoch();
                self.manager.checkpoint(&self.model, &self.optimizer)?;
                self.done(Kind::Checkpoint, Vec::new(), &[])?;
            } else if dice < 69 {
                self.terminate()?;
            } else {
                self.step()?;
            }
        }
    }

    fn fresh(&mut self) -> Result<Vec<u8>, Box<dyn Error>> {
        let mut subject = self.subject()?;
        // Most of those that wait would find their slot taken.
        for _ in 0..4 {
            if subject.2 == SeedStageDormant {
                subject = self.subject()?;
            }
        }
        let (epochs, now) = (self.manager.epochs(), self.clock.unix());
        Ok(commands::next(&mut self.sender, &mut self.random, &subject, &epochs, now)?)
    }

    /// Any seed, the kernel that fits it, and its stage.
    fn subject(&mut self) -> Result<(SeedId, BlueprintId, SeedLifecycleStage), Box<dyn Error>> {
        let (name, _, blueprint) = self.random.choice(&SEEDS).copied().unwrap_or(SEEDS[0]);
        let (seed, blueprint) = (SeedId::new(name)?, BlueprintId::new(blueprint)?);
        let stage = self.manager.stage(&seed).unwrap_or_default();
        Ok((seed, blueprint, stage))
    }

    fn submit(&mut self, kind: Kind, wires: Vec<Vec<u8>>) -> Result<(), Box<dyn Error>> {
        intend(kind, &wires)?;
        let outcomes = match &wires[..] {
            [wire] => vec![self.manager.submit(wire)],
            wires => self.manager.submit_all(wires.iter().map(Vec::as_slice)),
        };
        let mut moves = Vec::new();
        let mut answers = Vec::new();
        for outcome in outcomes {
            let (answer, moved) = answer(outcome);
            if matches!(&answer, Answer::Refused { reason, .. } if reason == "not_durable") {
                return Err("a command could not be made durable".into());
            }
            answers.push(answer);
            moves.extend(moved);
        }
        self.done(kind, answers, &moves)?;
        if kind == Kind::Submit {
            self.answered.extend(wires);
        }
        Ok(())
    }

    /// Takes a fossil out again, if there is one.
    fn terminate(&mut self) -> Result<(), Box<dyn Error>> {
        let state = self.manager.state();
        let leaves = |seed: &Seed| state.terminated_fossils().any(|leaving| leaving.id == seed.id);
        let fossils = state.seeds.values().filter(|seed| seed.stage.leyline() == SeedStageFossilized && !leaves(seed));
        let fossils: Vec<_> = fossils.map(|seed| seed.id.clone()).collect();
        let Some(seed) = self.random.choice(fossils) else { return Ok(()) };
        intend(Kind::Terminate, &[])?;
        let moves = self.manager.order(Order::Terminate { seed })?;
        self.done(Kind::Terminate, Vec::new(), &moves)
    }

    fn step(&mut self) -> Result<(), Box<dyn Error>> {
        self.settle()?;
        intend(Kind::Step, &[])?;
        let batch = self.batch();
        let loss = |host: &Host<B>, grafts: &mut _| world::loss(host, &batch, grafts);
        let report = self.manager.train_batch(&mut self.model, &mut self.optimizer, 1e-3, loss)?;
        if !report.joined.is_empty() {
            return Err("a seed joined the model in a step, and it had been settled".into());
        }
        self.done(Kind::Step, Vec::new(), &report.transitions)
    }

    /// A step would do the same at its beginning. What joins and leaves must be told before the step.
    fn settle(&mut self) -> Result<(), Box<dyn Error>> {
        let state = self.manager.state();
        if state.joining().chain(state.terminated_fossils()).next().is_none() {
            return Ok(());
        }
        intend(Kind::Settle, &[])?;
        self.manager.settle(&mut self.model)?;
        // The moves are told with the next answer.
        self.done(Kind::Settle, Vec::new(), &[])
    }

    fn roll_back(&mut self) -> Result<(), Box<dyn Error>> {
        intend(Kind::RollBack, &[])?;
        self.manager.roll_back(&mut self.model, &mut self.optimizer)?;
        self.done(Kind::RollBack, Vec::new(), &[])
    }

    fn batch(&mut self) -> Vec<f32> {
        (0..world::numbers()).map(|_| self.random.f32() * 2.0 - 1.0).collect()
    }

    fn done(&self, kind: Kind, answers: Vec<Answer>, moves: &[Transition]) -> Result<(), Box<dyn Error>> {
        let moves = moves.iter().map(Move::of).collect();
        let standing = Standing { loss: Some(self.loss()?), ..self.standing()? };
        tell(&Line::Done { kind, answers, moves, standing })
    }

    /// The bits of the loss of the network that is committed: the host and its fossils, without seeds.
    fn loss(&self) -> Result<u32, Box<dyn Error>> {
        let batch = world::fixed_batch();
        let loss = self.model.valid().forward(|host, grafts| world::loss(host, &batch, grafts))?;
        Ok(loss.into_scalar().to_bits())
    }

    fn standing(&self) -> Result<Standing, Box<dyn Error>> {
        let mut standing =
            Standing { sequence: self.seen.sequence(), step: self.manager.step(), ..Standing::default() };
        for (name, _, _) in SEEDS {
            let seed = SeedId::new(name)?;
            if let Some(stage) = self.manager.stage(&seed) {
                standing.stages.insert(name.to_owned(), stage_name(stage));
            }
            if let Some(kernel) = self.manager.kernel(&seed) {
                let digest = Digest::of(&module_to_bytes(&kernel)?);
                standing.kernels.insert(name.to_owned(), digest.to_string());
            }
        }
        Ok(standing)
    }
}

/// Commands that have been answered: those that the journal holds, and those that whoever kills this process has kept.
fn answered(store: &mut Store, kept: &Path) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut answered = Vec::new();
    store.journal.visit(0..u64::MAX, &mut |record| {
        if let Entry::Accepted { wire, .. } = record.entry {
            answered.push(wire);
        }
        ControlFlow::Continue(())
    })?;
    if let Ok(text) = fs::read_to_string(kept) {
        for line in text.lines() {
            answered.push(STANDARD.decode(line)?);
        }
    }
    Ok(answered)
}

fn answer(outcome: Result<Receipt, CommandError>) -> (Answer, Vec<Transition>) {
    let error = match outcome {
        Ok(receipt) => return (Answer::Accepted { id: receipt.command.to_string() }, receipt.transitions),
        Err(error) => error,
    };
    let reason = error.reason().to_owned();
    if let CommandError::Refused { command, transitions, .. } = error {
        return (Answer::Refused { id: command.to_string(), reason }, transitions);
    }
    (Answer::Rejected { reason }, Vec::new())
}

fn intend(kind: Kind, wires: &[Vec<u8>]) -> Result<(), Box<dyn Error>> {
    let commands =
        if kind == Kind::Replay { Vec::new() } else { wires.iter().filter_map(|wire| Announced::of(wire)).collect() };
    tell(&Line::Intends { kind, commands })
}

/// One write a line, so that whoever reads has it whole or not at all.
fn tell(line: &Line) -> Result<(), Box<dyn Error>> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
