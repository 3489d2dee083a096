//! Orders that reach one worker by the bus, and are carried out by all before the same step.

use std::{collections::BTreeMap, error::Error, sync::Arc, time::Duration};

use kasmina::{
    SeedManager,
    leyline::{
        CommandId, TrainingRunId, UnixTime,
        v1::{AdaptationCommand, adaptation_command::Payload},
    },
    reduce::Place,
    safety::{Clock, SystemClock},
};
use kasmina_coordination::{
    Decided, Digest, Member, Membership, MemoryKeeper, Order, Outcome, Pace, RedisLease, RedisLeaseSettings, Report,
    SecretKey, Settings, Severity, Worker, hash, subscription,
};
use kasmina_dispatch::Inbox;
use kasmina_oona::{Bus, DeliveryId, RedisBus};
use prost::Message as _;
use prost_types::value::Kind;

use crate::demo::{
    processes::{Story, join},
    task::B,
};

/// Steps from a round to the step before which its orders are carried out.
const LEAD: u64 = 5;
/// How long the lease lasts of the worker that makes the plans.
const LEASE: Duration = Duration::from_secs(3);

/// Why a worker cannot go on with these rounds: it has to meet the others again.
#[derive(Debug, thiserror::Error)]
#[error("worker is out of the rounds: {0}")]
pub(super) struct OutOfRounds(&'static str);

/// What comes before the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Step,
    /// All go back: the manager has been told to which epoch.
    GoBack,
}

/// The rounds of one group. A group that meets anew begins with rounds of its own: what was undone is ordered again.
pub(super) struct Rounds {
    member: Member<Arc<RedisBus>, RedisLease, MemoryKeeper>,
    /// Brings commands, each to one of the workers.
    commands: Arc<RedisBus>,
    pending: BTreeMap<CommandId, (Order, DeliveryId)>,
    due: Vec<Decided>,
    every: u64,
}

impl Rounds {
    /// The rounds of a group, before the step that comes after `steps`; one is held every `every` steps.
    pub(super) fn new(
        story: &Story,
        place: Place,
        address: &str,
        generation: u64,
        (every, steps): (u64, u64),
    ) -> Result<Self, Box<dyn Error>> {
        let run = TrainingRunId::new(format!("{}-{generation}", story.run))?;
        // A demo has nothing to hide: each key follows from the worker's rank.
        let key = |rank: usize| SecretKey::from_seed(&hash(format!("worker {rank} of the demo").as_bytes()));
        let members = Membership::new(&run, (0..place.workers).map(|rank| key(rank).public()).collect())?;
        let settings = Settings { every, lead: LEAD, ..Settings::default() };
        let worker = Worker::resume(settings, Arc::new(members), key(place.rank), [], Default::default(), steps)?;
        let id = worker.id();
        let process = format!("{}-{}", std::process::id(), place.rank);
        let lease =
            RedisLease::new(RedisLeaseSettings { ttl: LEASE, ..RedisLeaseSettings::new(address, &run) }, id, process)?;
        let bus = join(address, Some(subscription(&run, id)))?;
        Ok(Self {
            member: Member::new(worker, bus, lease, MemoryKeeper, SystemClock::new(), LEASE),
            commands: join(address, Some(Inbox::subscription(&story.run, &format!("worker-{}", place.rank))))?,
            pending: BTreeMap::new(),
            due: Vec::new(),
            every,
        })
    }

    /// Holds the round that is due before the next step, and carries out what has been decided for it. `parameters` and `sketch` are
    /// what the workers compare beside the seeds.
    pub(super) fn before_step(
        &mut self,
        manager: &mut SeedManager<B>,
        parameters: [u8; 32],
        sketch: &[f32],
    ) -> Result<Next, Box<dyn Error>> {
        let step = manager.step();
        let mut outcomes = if step.is_multiple_of(self.every) {
            self.take_commands()?;
            let digest = Digest { state: *manager.digest().as_bytes(), parameters, sketch: sketch.to_vec() };
            let pending = self.pending.values().map(|(order, _)| order.clone()).collect();
            let checkpoints = manager.epochs().into_iter().rev().collect();
            let report = Report { digest, pending, checkpoints, at: SystemClock::new().unix() };
            self.member.barrier(step, report)?
        } else {
            self.member.poll()?
        };
        let next = match self.member.advance(step)? {
            Pace::Go => Next::Step,
            Pace::GoBack { .. } => Next::GoBack,
            Pace::Wait => return Err(OutOfRounds("it waits for a decision").into()),
            Pace::Isolated(cause) => return Err(OutOfRounds(cause.reason()).into()),
        };
        outcomes.extend(self.member.take_outcomes());
        for outcome in outcomes {
            if let Outcome::Decided(decided) = outcome {
                self.due.push(decided);
            }
        }
        self.check_events()?;
        self.carry_out(manager)?;
        Ok(next)
    }

    /// The replica has gone back, and comes to the step that follows the checkpoint.
    pub(super) fn went_back(&mut self, step: u64) -> Result<(), Box<dyn Error>> {
        Ok(self.member.went_back(step)?)
    }

    /// Carries out what is due, on all workers before the same step.
    fn carry_out(&mut self, manager: &mut SeedManager<B>) -> Result<(), Box<dyn Error>> {
        let step = manager.step();
        let (now, later) = std::mem::take(&mut self.due).into_iter().partition(|due| due.plan.apply_at <= step);
        self.due = later;
        let now: Vec<Decided> = now;
        for (at, order) in
            now.into_iter().flat_map(|due| due.plan.orders.into_iter().map(move |order| (due.plan.at, order)))
        {
            // A refusal is part of the story.
            manager.agree_on_time(at);
            let _ = manager.submit(&order.bytes);
            if let Some((_, delivery)) = self.pending.remove(&order.id) {
                self.commands.acknowledge(delivery)?;
            }
        }
        Ok(())
    }

    /// Commands that have come to this worker. They are acknowledged when they have been carried out.
    fn take_commands(&mut self) -> Result<(), Box<dyn Error>> {
        for delivery in self.commands.poll(64)? {
            let bytes = delivery.envelope.payload.clone();
            let command = AdaptationCommand::decode(bytes.as_slice()).unwrap_or_default();
            let issued_at = command.issued_at.map(UnixTime::from);
            match (CommandId::new(command.command_id.clone()), issued_at) {
                (Ok(id), Some(at)) => {
                    let rollback_to = epoch(command.payload.as_ref());
                    let order = Order { rollback_to, ..Order::new(id.clone(), at, bytes) };
                    self.pending.insert(id, (order, delivery.id));
                }
                // The manager would reject it, too.
                _ => self.commands.acknowledge(delivery.id)?,
            }
        }
        Ok(())
    }

    /// Replicas of one run on one machine have nothing to accuse each other of.
    fn check_events(&mut self) -> Result<(), Box<dyn Error>> {
        let events = self.member.take_events();
        match events.into_iter().find(|event| event.severity() == Severity::Critical) {
            Some(event) => Err(format!("{}: {event:?}", event.name()).into()),
            None => Ok(()),
        }
    }
}

/// The epoch that a COMMAND_ROLLBACK names.
fn epoch(payload: Option<&Payload>) -> Option<u64> {
    let Some(Payload::RollbackPayload(payload)) = payload else { return None };
    match payload.fields.get("target_epoch")?.kind {
        Some(Kind::NumberValue(epoch)) => Some(epoch as u64),
        _ => None,
    }
}
