//! A signed command: beside its verification, durable beside one synced append of the bytes that it writes, and 256 together.
//!
//! The host has two layers of 320, or of 1600 with large parameters, with as many slots as there are seeds. Each seed is a bottleneck of 100,000
//! parameters, or of 5 million, with the moments of its optimizer.

use std::{borrow::BorrowMut, fs, path::Path};

use burn::tensor::{Distribution, Tensor};
use kasmina::{
    Grafts, SeedManagerBuilder, Settings,
    doubles::{Act, B, Host, Stack, Trainee, World},
    rollback::Store,
    safety::SystemClock,
    security::{CommandVerifier, KeyRing, NonceLedger, Secret, Verifier, doubles::AcceptAll},
};
use kasmina_measure::{Limit, Meter, Row, Samples, Side};
use tempfile::TempDir;

use super::journal::{plain_file, synced_writes};
use crate::case::Case;

const SEED: &str = "seed-1";
pub(crate) const SMALL: Size = Size { width: 320, hidden: 156 };
const LARGE: Size = Size { width: 1_600, hidden: 1_562 };

/// The shape of a host and its seeds.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    width: usize,
    hidden: usize,
}

/// A manager with seeds in TRAINING.
pub(crate) struct Run {
    pub(crate) world: World<SystemClock>,
    pub(crate) trainee: Trainee<Stack<B>>,
    size: Size,
    /// Last, so that it outlives what writes into it.
    store: Option<TempDir>,
}

pub(crate) fn cases(quick: bool) -> Vec<Case> {
    let mut cases = vec![volatile(), allocations()];
    for (name, title, seeds, size, fossils) in [
        ("1", "1 seed of 100k", 1, SMALL, 0),
        ("8", "8 seeds of 100k", 8, SMALL, 0),
        ("64", "64 seeds of 100k", 64, SMALL, 0),
        ("1_large", "1 seed of 5M", 1, LARGE, 0),
    ] {
        let is_large = size.width > SMALL.width || seeds > 8;
        if quick && is_large {
            continue;
        }
        let row = Row::new(format!("command/durable/{name}"), format!("a durable command, {title}"));
        let row =
            row.beside("one synced append of its bytes").budget(Limit::RatioAtMost(1.5)).aim(Limit::RatioAtMost(1.2));
        cases.push(Case::new(row, move |meter| durable(meter, seeds, size, fossils)));
    }
    let row = Row::new("command/durable/fossils_8", "a durable command, 1 seed of 100k, 8 fossils");
    let row = row.beside("one synced append of its bytes").budget(Limit::RatioAtMost(1.5)).aim(Limit::RatioAtMost(1.2));
    if !quick {
        cases.push(Case::new(row, |meter| durable(meter, 9, SMALL, 8)));
    }
    for together in [16, 256] {
        let row =
            Row::new(format!("command/durable_together_{together}"), format!("{together} commands, durable together"));
        let row = row.beside("one durable command");
        let row =
            if together == 256 { row.budget(Limit::RatioAtMost(4.0)).aim(Limit::AtMost(256.0 * 5_000.0)) } else { row };
        cases.push(Case::new(row, move |meter| {
            let (mut many, mut one) = (Run::new(1, SMALL, true), Run::new(1, SMALL, true));
            meter.pair(submitting(&mut many, together), submitting(&mut one, 1))
        }));
    }
    cases
}

/// A verified command, beside one whose verification costs nothing.
fn volatile() -> Case {
    let row =
        Row::new("command/volatile", "a verified command, nothing durable").beside("the same, verification apart");
    Case::new(row, |meter| {
        let mut verified = Run::new(1, SMALL, false);
        let mut unverified = Run::with(1, SMALL, false, AcceptAll::default());
        meter.pair(submitting(&mut verified, 1), submitting(&mut unverified, 1))
    })
}

fn allocations() -> Case {
    let row = Row::new("command/allocations", "a verified command, nothing durable, allocations");
    Case::new(row.in_unit(kasmina_measure::Unit::Count), |_| {
        let mut run = Run::new(1, SMALL, false);
        let one = |_| {
            let wire = run.world.wire(SEED, Act::Scale(0.5));
            let submit = || drop(run.world.manager.submit(&wire).expect("accepted"));
            allocation_counter::measure(submit).count_total as f64
        };
        Samples { ours: (0..500).map(one).collect(), yardstick: Vec::new() }
    })
}

fn durable(meter: Meter<'_>, seeds: usize, size: Size, fossils: usize) -> Samples {
    let mut run = Run::new(seeds, size, true);
    run.fossilize(fossils);
    let _ = run.written();
    let bytes = run.written();
    let directory = run.store.as_ref().expect("it is durable").path().to_owned();
    let plain = synced_writes(plain_file(&directory), vec![7; bytes as usize]);
    meter.pair(submitting(&mut run, 1), plain)
}

impl Run {
    pub(crate) fn new(seeds: usize, size: Size, is_durable: bool) -> Self {
        Self::with(seeds, size, is_durable, verifier())
    }

    fn with(seeds: usize, size: Size, is_durable: bool, verifier: impl Verifier + 'static) -> Self {
        let store = is_durable.then(|| tempfile::tempdir().expect("a directory"));
        let mut settings = Settings::default();
        // What is measured is commands, not what steps write now and then.
        settings.rollback.checkpoint_every = 1_000_000;
        let world = World::with_clock(settings, SystemClock::new(), |builder| {
            storage(builder.verifier(verifier).gatekeepers(kasmina::gates::doubles::AllowAll), store.as_ref())
                .build(&Default::default())
                .expect("an empty store")
        });
        world.add(&Stack::<B>::kernel(size.width, size.hidden));
        let trainee = Trainee::new(Stack::<B>::init(size.width, 2, seeds));
        let mut run = Self { world, trainee, size, store };
        let forward = |host: &Stack<B>, grafts: &mut Grafts<B>| loss(host, size.width, grafts);
        run.world.manager.attach_host(&run.trainee.model, forward).expect("a host alone");
        run.world.register(&run.trainee.model.host);
        let wires: Vec<_> = (1..=seeds).map(|at| run.world.wire(&format!("seed-{at}"), Act::Germinate)).collect();
        run.submit(&wires);
        (0..2).for_each(|_| run.step());
        run
    }

    pub(crate) fn step(&mut self) {
        let (width, Trainee { model, optimizer, .. }) = (self.size.width, &mut self.trainee);
        let forward = |host: &Stack<B>, grafts: &mut Grafts<B>| loss(host, width, grafts);
        self.world.manager.train_batch(model, optimizer, 1e-4, forward).expect("the loss is finite");
    }

    fn submit(&mut self, wires: &[Vec<u8>]) {
        let answers = self.world.manager.submit_all(wires.iter().map(Vec::as_slice));
        assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find(|answer| answer.is_err()));
    }

    /// Obeys so many commands.
    pub(crate) fn obey(&mut self, commands: usize) {
        let mut left = commands;
        while left > 0 {
            let together = left.min(1_000);
            let wires: Vec<_> = (0..together).map(|_| self.world.wire(SEED, Act::Scale(0.5))).collect();
            self.submit(&wires);
            left -= together;
        }
    }

    /// Makes the last so many seeds part of the host.
    fn fossilize(&mut self, count: usize) {
        let seeds = self.trainee.model.host.seats().len();
        for at in (seeds + 1 - count)..=seeds {
            let name = format!("seed-{at}");
            for act in [Act::Graft(1), Act::Stabilize, Act::Evaluate, Act::Fossilize] {
                self.world.act(&name, act).expect("every gate is open");
                (0..3).for_each(|_| self.step());
            }
        }
    }

    /// The bytes that one command writes.
    fn written(&mut self) -> u64 {
        let path = self.store.as_ref().expect("it is durable").path().to_owned();
        let before = stored(&path);
        self.world.act(SEED, Act::Scale(0.5)).expect("accepted");
        stored(&path) - before
    }
}

/// Commands that change a number and nothing else, so many together.
pub(crate) fn submitting<'a>(run: impl BorrowMut<Run> + 'a, together: usize) -> Side<'a> {
    Side::on(
        run,
        move |run, count| {
            let world = &mut run.borrow_mut().world;
            let round = |_| (0..together).map(|_| world.wire(SEED, Act::Scale(0.5))).collect::<Vec<_>>();
            (0..count).map(round).collect::<Vec<_>>()
        },
        |run, rounds, _| rounds.iter().for_each(|wires| run.borrow_mut().submit(wires)),
    )
}

fn storage(builder: SeedManagerBuilder, store: Option<&TempDir>) -> SeedManagerBuilder {
    match store {
        Some(directory) => builder.store(Store::open(directory.path()).expect("a store")),
        None => builder.volatile(),
    }
}

/// A verifier whose ledger never fills.
pub(crate) fn verifier() -> CommandVerifier {
    let secret = Secret::new(kasmina::doubles::SECRET).expect("not empty");
    CommandVerifier::new(KeyRing::of("k1", secret)).with_ledger(NonceLedger::new(NonceLedger::TTL, 1 << 24))
}

/// The mean squared error of a batch of four.
fn loss(host: &Stack<B>, width: usize, grafts: &mut Grafts<B>) -> Tensor<B, 1> {
    let x = Tensor::<B, 2>::random([4, width], Distribution::Default, &Default::default());
    (host.forward(x.clone(), grafts) - x).square().mean()
}

/// The bytes of all files below a directory.
fn stored(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).expect("readable").map(|entry| entry.expect("readable"));
    let size = |entry: fs::DirEntry| match entry.metadata().expect("there").is_dir() {
        true => stored(&entry.path()),
        false => entry.metadata().expect("there").len(),
    };
    entries.map(size).sum()
}
