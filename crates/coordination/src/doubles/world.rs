//! The world that replicas live in: time, messages, orders, the lease, and what goes wrong.

mod faults;
mod lease;
mod outputs;
mod trainer;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use fastrand::Rng;
use kasmina_leyline::TrainingRunId;

use super::{
    chain::{Chain, Violation},
    liar::{Archive, Liar},
    network::Network,
    replica::{Replica, Skew, settings},
    simulation::{Simulated, Simulation},
};
use crate::{Isolation, Membership, Message, Order, SecretKey, Settings, Votes, WorkerId};

/// Microseconds.
const MS: u64 = 1_000;
const LEASE: u64 = 900 * MS;

/// Something that happens.
#[derive(Debug)]
pub(super) enum Happening {
    Arrives {
        to: usize,
        bytes: Arc<[u8]>,
    },
    /// A trainer takes a step. It does so in one life only: a process that died takes none.
    Step {
        replica: usize,
        life: u64,
    },
    Wake {
        replica: usize,
    },
    Lease {
        replica: usize,
        life: u64,
    },
    Order,
    Fault,
    Restart {
        replica: usize,
    },
    /// An operator looks after a replica that is out of lock-step.
    Restore {
        replica: usize,
    },
    Heal,
}

/// The world.
#[derive(Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) now: u64,
    pub(super) random: Rng,
    pub(super) settings: Settings,
    pub(super) members: Arc<Membership>,
    pub(super) replicas: Vec<Replica>,
    pub(super) liars: BTreeMap<usize, Liar>,
    pub(super) chain: Chain,
    pub(super) seen: Simulated,
    network: Network,
    archive: Archive,
    happenings: BTreeMap<(u64, u64), Happening>,
    numbers: u64,
    /// Token, holder, and when it ends.
    lease: (u64, usize, u64),
    pub(super) is_healed: bool,
    orders: u64,
    old_orders: VecDeque<Order>,
    faults: u32,
}

impl World {
    pub(super) fn new(seed: u64, simulation: &Simulation) -> Result<Self, String> {
        let mut random = Rng::with_seed(seed);
        let workers = simulation.workers.unwrap_or_else(|| *random.choice(&[4, 4, 4, 4, 7, 5, 3, 2, 1]).unwrap_or(&4));
        let votes = if random.bool() { Votes::ToAll } else { Votes::ToHolder };
        let settings = settings(random.u64(0..4), votes);
        let keys: Vec<_> = (0..workers as u64).map(SecretKey::double).collect();
        let run = TrainingRunId::new("simulated").map_err(|error| error.to_string())?;
        let members = Membership::new(&run, keys.iter().map(SecretKey::public).collect());
        let members = Arc::new(members.map_err(|error| error.to_string())?);
        let liars = if random.u8(0..4) == 0 { 0 } else { members.liars() };
        let mut places: Vec<usize> = (0..workers).collect();
        random.shuffle(&mut places);
        let liars = places.into_iter().take(liars).map(|place| (place, Liar::drawn(&mut random))).collect();
        let mut replicas = Vec::new();
        for key in keys {
            let skew = Skew { rate: random.u64(900..1_100), wall_ms: random.i64(-200..200) };
            replicas.push(Replica::new(key, skew, random.u64(MS / 2..4 * MS)));
        }
        let mut world = Self {
            seed,
            now: 0,
            settings,
            members,
            replicas,
            liars,
            chain: Chain::default(),
            seen: Simulated::default(),
            network: Network::drawn(&mut random, workers),
            archive: Archive::default(),
            happenings: BTreeMap::new(),
            numbers: 0,
            lease: (0, 0, 0),
            is_healed: false,
            orders: 0,
            old_orders: VecDeque::new(),
            faults: simulation.faults,
            random,
        };
        for replica in 0..workers {
            let from = world.replicas[replica].checkpoints[0].clone();
            world.begin(replica, from)?;
        }
        world.after(1, Happening::Order);
        world.after(5 * MS, Happening::Fault);
        Ok(world)
    }

    pub(super) fn after(&mut self, delay: u64, what: Happening) {
        self.numbers += 1;
        self.happenings.insert((self.now + delay, self.numbers), what);
    }

    fn is_honest(&self, replica: usize) -> bool {
        !self.liars.contains_key(&replica)
    }

    pub(super) fn violation(&self, what: String) -> Violation {
        Violation { seed: self.seed, at_ms: self.now / MS, what }
    }

    fn begin(&mut self, replica: usize, from: super::replica::Checkpoint) -> Result<(), String> {
        let (settings, members) = (self.settings.clone(), Arc::clone(&self.members));
        self.replicas[replica].begin(from, &settings, &members)?;
        let delay = self.random.u64(0..20 * MS);
        let life = self.replicas[replica].life;
        self.after(delay, Happening::Step { replica, life });
        self.after(delay + 1, Happening::Lease { replica, life });
        self.seen.waiting.remove(&replica);
        self.seen.armed.remove(&replica);
        self.carry_out(replica)
    }

    /// Lets the next thing happen. Returns false if there is none.
    pub(super) fn step(&mut self) -> Result<bool, Violation> {
        let Some(((at, _), what)) = self.happenings.pop_first() else { return Ok(false) };
        self.now = at;
        self.seen.events += 1;
        let happened = match what {
            Happening::Arrives { to, bytes } => self.arrives(to, bytes),
            Happening::Step { replica, life } => self.train(replica, life),
            Happening::Wake { replica } => self.wake(replica),
            Happening::Lease { replica, life } => self.look_after_lease(replica, life),
            Happening::Order => {
                self.order();
                Ok(())
            }
            Happening::Fault => {
                self.fault();
                Ok(())
            }
            Happening::Restart { replica } => self.restart(replica),
            Happening::Restore { replica } => self.operate(replica),
            Happening::Heal => {
                self.network.sides.fill(0);
                Ok(())
            }
        };
        happened.map_err(|what| self.violation(what))?;
        Ok(true)
    }

    /// A sleeping process does it when it wakes.
    fn is_asleep(&mut self, replica: usize, what: impl FnOnce() -> Happening) -> bool {
        let until = self.replicas[replica].asleep_until;
        let sleeps = self.now < until;
        if sleeps {
            self.after(until - self.now, what());
        }
        sleeps
    }

    fn arrives(&mut self, to: usize, bytes: Arc<[u8]>) -> Result<(), String> {
        if self.is_asleep(to, || Happening::Arrives { to, bytes: Arc::clone(&bytes) }) {
            return Ok(());
        }
        let now = self.replicas[to].skew.monotonic(self.now);
        if let Some(worker) = &mut self.replicas[to].worker {
            let rejected = worker.receive(&bytes, now).is_err();
            self.seen.rejected += u64::from(rejected);
        }
        self.react(to, &bytes)?;
        self.carry_out(to)
    }

    /// A liar says more than its worker.
    fn react(&mut self, to: usize, bytes: &[u8]) -> Result<(), String> {
        let Some(liar) = self.liars.get_mut(&to).filter(|_| !self.is_healed) else { return Ok(()) };
        let limits = self.settings.limits;
        if let Ok(message) = Message::decode(bytes, &self.members, &limits) {
            let me = WorkerId(u16::try_from(to).unwrap_or(u16::MAX));
            let said = liar.react(&message, me, &self.replicas[to].key, &self.members, &mut self.random);
            for (target, message) in said {
                self.seen.lies += 1;
                self.post(to, target, &message);
            }
        }
        Ok(())
    }

    fn wake(&mut self, replica: usize) -> Result<(), String> {
        if self.is_asleep(replica, || Happening::Wake { replica }) {
            return Ok(());
        }
        let now = self.replicas[replica].skew.monotonic(self.now);
        if let Some(worker) = &mut self.replicas[replica].worker {
            worker.tick(now);
        }
        self.carry_out(replica)
    }

    /// Whether all honest replicas have applied so many decisions.
    pub(super) fn all_have_applied(&self, decisions: usize) -> bool {
        let has = |it: usize| self.replicas[it].is_live() && self.replicas[it].applied.len() >= decisions;
        (0..self.replicas.len()).filter(|it| self.is_honest(*it)).all(has)
    }

    /// Whether no honest replica is in lock-step or can come back to it by itself.
    pub(super) fn is_lost(&self) -> bool {
        let can = |it: usize| {
            let is_lost = |cause| matches!(cause, Isolation::Missed | Isolation::Conflict);
            self.replicas[it].worker.is_some() && !self.replicas[it].isolated.is_some_and(is_lost)
        };
        !(0..self.replicas.len()).filter(|it| self.is_honest(*it)).any(can)
    }

    /// How the replicas stand.
    pub(super) fn describe(&self) -> String {
        let one = |(at, it): (usize, &Replica)| {
            let tip = it.worker.as_ref().and_then(|worker| worker.ledger().tip()).map(|(round, _)| round);
            let honest = if self.is_honest(at) { "" } else { " (liar)" };
            let (step, isolated, applied) = (it.step, it.isolated, it.applied.len());
            let waits = it.worker.as_ref().map(super::super::Worker::is_waiting);
            let (life, asleep) = (it.life, self.now < it.asleep_until);
            format!(
                "{at}{honest}: step {step}, tip {tip:?}, {isolated:?}, {applied} applied, waits {waits:?}, life {life}, asleep {asleep}"
            )
        };
        let all: Vec<_> = self.replicas.iter().enumerate().map(one).collect();
        format!("lease {:?}; {}", self.lease, all.join("; "))
    }
}
