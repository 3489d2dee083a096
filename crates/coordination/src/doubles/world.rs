//! The world that replicas live in: time, messages, orders, the lease, and what goes wrong.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use fastrand::Rng;
use kasmina_leyline::{CommandId, TrainingRunId};

use super::{
    chain::{Applied, Chain, Violation},
    liar::{Archive, Liar},
    network::Network,
    replica::{Replica, Skew, settings},
    simulation::{Simulated, Simulation},
};
use crate::{Event, Isolation, Membership, Message, Order, Output, Pace, SecretKey, Settings, To, Votes, WorkerId};

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

    fn train(&mut self, replica: usize, life: u64) -> Result<(), String> {
        let is_over = self.replicas[replica].life != life;
        if is_over || self.is_asleep(replica, || Happening::Step { replica, life }) {
            return Ok(());
        }
        let lies = !self.is_honest(replica) && self.random.bool();
        let (every, it) = (self.settings.every, &mut self.replicas[replica]);
        let (now, step) = (it.skew.monotonic(self.now), it.step);
        let Some(worker) = &mut it.worker else { return Ok(()) };
        if it.isolated.is_some() {
            return Ok(());
        }
        let era = worker.ledger().era();
        if step.is_multiple_of(every) && it.arrived != Some(crate::Round { era, step }) {
            it.arrived = Some(crate::Round { era, step });
            it.save();
            let report = it.report(self.now, lies);
            if let Some(worker) = &mut it.worker {
                worker.arrive(step, report, now).map_err(|error| error.to_string())?;
            }
            self.carry_out(replica)?;
        }
        let it = &mut self.replicas[replica];
        if it.isolated.is_some() || it.step != step {
            return Ok(());
        }
        let Some(worker) = &mut it.worker else { return Ok(()) };
        let pace = worker.advance(step, now).map_err(|error| error.to_string())?;
        match pace {
            Pace::Wait => {}
            Pace::Isolated(cause) => it.isolated = Some(cause),
            Pace::GoBack { epoch } => return self.go_back(replica, step, epoch),
            Pace::Go => {
                self.apply(replica, step)?;
                let it = &mut self.replicas[replica];
                it.train();
                let takes = it.step_takes;
                self.after(takes, Happening::Step { replica, life });
            }
        }
        self.carry_out(replica)
    }

    fn apply(&mut self, replica: usize, step: u64) -> Result<(), String> {
        let honest = self.is_honest(replica);
        let it = &mut self.replicas[replica];
        let Some(decided) = it.due.remove(&step) else { return Ok(()) };
        let applied = Applied::new(&decided, step);
        if honest {
            let worker = WorkerId(u16::try_from(replica).unwrap_or(u16::MAX));
            self.chain.apply(worker, it.applied.len(), &applied)?;
        }
        it.apply(applied);
        Ok(())
    }

    fn go_back(&mut self, replica: usize, step: u64, epoch: u64) -> Result<(), String> {
        self.apply(replica, step)?;
        self.seen.rollbacks += u64::from(self.is_honest(replica));
        let it = &mut self.replicas[replica];
        let held = it.checkpoints.iter().rev().find(|checkpoint| checkpoint.step == epoch);
        let to = held.cloned().ok_or_else(|| format!("replica {replica} does not hold epoch {epoch}"))?;
        // The history of decisions goes on; weights and step go back.
        (it.step, it.weights) = (to.step, to.weights);
        if let Some(worker) = &mut it.worker {
            worker.went_back(to.step).map_err(|error| error.to_string())?;
        }
        it.arrived = None;
        it.checkpoints.retain(|checkpoint| checkpoint.step < epoch);
        it.save();
        let life = self.replicas[replica].life;
        self.after(MS, Happening::Step { replica, life });
        self.carry_out(replica)
    }

    fn restart(&mut self, replica: usize) -> Result<(), String> {
        if self.replicas[replica].worker.is_some() {
            return Ok(());
        }
        let held = self.replicas[replica].checkpoints.len();
        let back = if self.random.u8(0..4) == 0 { self.random.usize(0..held) } else { 0 };
        let from = self.replicas[replica].checkpoints[held - 1 - back].clone();
        self.seen.restarts += 1;
        self.begin(replica, from)
    }

    /// The replica that has heard of most decisions, for those that begin from it.
    pub(super) fn foremost(&self) -> Option<usize> {
        let live = (0..self.replicas.len()).filter(|it| self.is_honest(*it) && self.replicas[*it].is_live());
        live.max_by_key(|it| (self.replicas[*it].applied.len(), self.replicas[*it].step))
    }

    /// Restores a replica from the foremost live one.
    pub(super) fn restore(&mut self, replica: usize) -> Result<bool, String> {
        let from = self.foremost().and_then(|foremost| {
            let foremost = &self.replicas[foremost];
            Some((foremost.present()?, foremost.checkpoints.clone()))
        });
        let Some((from, checkpoints)) = from else { return Ok(false) };
        self.seen.restored += 1;
        self.replicas[replica].checkpoints = checkpoints;
        self.begin(replica, from)?;
        Ok(true)
    }

    fn look_after_lease(&mut self, replica: usize, life: u64) -> Result<(), String> {
        let is_over = self.replicas[replica].life != life;
        if is_over || self.is_asleep(replica, || Happening::Lease { replica, life }) {
            return Ok(());
        }
        let Some(worker) = &self.replicas[replica].worker else { return Ok(()) };
        let (token, holder, until) = self.lease;
        let is_mine = holder == replica && self.replicas[replica].lease_until > 0 && token > 0;
        let is_silent = self.is_healed && self.liars.contains_key(&replica);
        let is_lost = matches!(worker.isolation(), Some(Isolation::Missed | Isolation::Conflict));
        let may = !is_silent && !is_lost;
        let now = self.now;
        // The answer may be lost or late.
        let reached = self.is_healed || self.random.u32(0..10) > 0;
        if is_mine && now < until && may && reached {
            self.lease.2 = now + LEASE;
            self.hold(replica);
        } else if now >= until && may && reached {
            self.lease = (token + 1, replica, now + LEASE);
            self.seen.leases += 1;
            self.hold(replica);
        }
        let next = self.random.u64(LEASE / 4..LEASE / 2);
        self.after(next, Happening::Lease { replica, life });
        self.carry_out(replica)
    }

    fn hold(&mut self, replica: usize) {
        let token = self.lease.0;
        let it = &mut self.replicas[replica];
        it.lease_until = self.now + LEASE;
        let (now, until) = (it.skew.monotonic(self.now), it.skew.monotonic(self.now + LEASE * 9 / 10));
        if let Some(worker) = &mut it.worker {
            worker.lease_held(token, until, now);
        }
    }

    fn order(&mut self) {
        if self.is_healed && self.orders > 0 && self.random.bool() {
            self.after(20 * MS, Happening::Order);
            return;
        }
        self.orders += 1;
        let skew = Skew { rate: 1_000, wall_ms: self.random.i64(-50..0) };
        let issued_at = skew.unix(self.now);
        let rollback_to = (self.random.u8(0..12) == 0 && !self.is_healed).then(|| {
            let steps = self.replicas.iter().map(|it| it.step).max().unwrap_or(0);
            let every = self.settings.every;
            (steps / every).saturating_sub(self.random.u64(0..4)) * every
        });
        let Ok(id) = CommandId::new(format!("order-{}", self.orders)) else { return };
        let order = Order { id, issued_at, bytes: vec![0; 8], rollback_to };
        // Each replica gets it, or does not; some get old ones again.
        let old = self.old_orders.get(self.random.usize(0..32)).cloned();
        for it in &mut self.replicas {
            if it.worker.is_some() && self.random.u8(0..4) > 0 {
                it.pending.push(order.clone());
            }
            if self.random.u8(0..8) == 0 {
                it.pending.extend(old.clone());
            }
            let surplus = it.pending.len().saturating_sub(40);
            it.pending.drain(..surplus);
        }
        self.old_orders.push_front(order);
        self.old_orders.truncate(32);
        let next = self.random.u64(MS..20 * MS);
        self.after(next, Happening::Order);
    }

    fn fault(&mut self) {
        if self.faults == 0 || self.is_healed {
            return;
        }
        self.faults -= 1;
        let workers = self.replicas.len();
        let replica = self.random.usize(0..workers);
        match self.random.u8(0..6) {
            0 => {
                self.replicas[replica].die();
                let back = self.random.u64(MS..3_000 * MS);
                self.after(back, Happening::Restart { replica });
            }
            1 => {
                let sleep = self.random.u64(MS..2_500 * MS);
                self.replicas[replica].asleep_until = self.now + sleep;
            }
            // A holder that sleeps past its lease, or dies.
            2 => self.replicas[self.lease.1].asleep_until = self.now + self.random.u64(LEASE / 2..3 * LEASE),
            3 => {
                let holder = self.lease.1;
                self.replicas[holder].die();
                let back = self.random.u64(MS..2_000 * MS);
                self.after(back, Happening::Restart { replica: holder });
            }
            _ => {
                for side in &mut self.network.sides {
                    *side = self.random.u8(0..2);
                }
                let heals = self.random.u64(MS..2_500 * MS);
                self.after(heals, Happening::Heal);
            }
        }
        let next = self.random.u64(MS..800 * MS);
        self.after(next, Happening::Fault);
    }

    /// Nothing goes wrong any more, and liars are silent.
    pub(super) fn heal(&mut self) -> Result<(), String> {
        self.is_healed = true;
        self.network.heal();
        for replica in 0..self.replicas.len() {
            self.replicas[replica].asleep_until = self.now;
            self.restart(replica)?;
        }
        Ok(())
    }

    /// Sends what a worker sends, or what a liar makes of it.
    fn send(&mut self, from: usize, to: To, message: &Message) {
        let me = WorkerId(u16::try_from(from).unwrap_or(u16::MAX));
        if let Some(liar) = self.liars.get_mut(&from) {
            if self.is_healed {
                return;
            }
            let said = liar.say(to, message, me, &self.replicas[from].key, &self.members, &mut self.random);
            for (to, message) in said {
                self.post(from, to, &message);
            }
            if let Some(bytes) = self.archive.replay(&mut self.random) {
                self.deliver(from, To::All, &bytes);
            }
            return;
        }
        self.post(from, to, message);
    }

    fn post(&mut self, from: usize, to: To, message: &Message) {
        let bytes: Arc<[u8]> = message.encode(&self.members).into();
        self.archive.note(&bytes, &mut self.random);
        self.deliver(from, to, &bytes);
    }

    fn deliver(&mut self, from: usize, to: To, bytes: &Arc<[u8]>) {
        let me = WorkerId(u16::try_from(from).unwrap_or(u16::MAX));
        self.seen.messages += 1;
        for worker in self.members.ids() {
            let is_meant = match to {
                To::All => worker != me,
                To::One(one) => worker == one,
            };
            if is_meant {
                for delay in self.network.copies(&mut self.random, me, worker) {
                    let to = usize::from(worker.0);
                    self.after(delay, Happening::Arrives { to, bytes: Arc::clone(bytes) });
                }
            }
        }
    }

    /// Does what a worker asks for.
    fn carry_out(&mut self, replica: usize) -> Result<(), String> {
        let honest = self.is_honest(replica);
        loop {
            let it = &mut self.replicas[replica];
            let Some(worker) = &mut it.worker else { return Ok(()) };
            let outputs: Vec<_> = worker.take_outputs().collect();
            if outputs.is_empty() {
                break;
            }
            for output in outputs {
                match output {
                    Output::Keep(kept) => {
                        let most = self.settings.decisions;
                        self.replicas[replica].keep(kept, most);
                        // Kill -9 between two system calls.
                        if !self.is_healed && self.random.u32(0..2_000) == 0 {
                            self.replicas[replica].die();
                            self.after(300 * MS, Happening::Restart { replica });
                            return Ok(());
                        }
                    }
                    Output::Send { to, message } => self.send(replica, to, &message),
                    Output::CheckLease => self.check_lease(replica),
                    Output::Decided(decided) => {
                        self.seen.decided += u64::from(honest);
                        self.replicas[replica].isolated = None;
                        self.replicas[replica].due.insert(decided.plan.apply_at, decided);
                    }
                    Output::NoDecision { .. } => {
                        self.seen.undecided += u64::from(honest);
                        self.replicas[replica].isolated = None;
                    }
                    Output::Promised { .. } => self.seen.promised += u64::from(honest),
                    Output::Isolated { cause, .. } => {
                        self.seen.isolated += u64::from(honest);
                        self.replicas[replica].isolated = Some(cause);
                        let notices = self.random.u64(10 * MS..1_000 * MS);
                        self.after(notices, Happening::Restore { replica });
                    }
                    Output::YieldLease => {
                        if self.lease.1 == replica {
                            self.lease.2 = self.now;
                            self.replicas[replica].lease_until = 0;
                        }
                    }
                    Output::Event(event) => self.hear(replica, &event)?,
                }
            }
        }
        self.arm(replica);
        Ok(())
    }

    fn check_lease(&mut self, replica: usize) {
        let (token, holder, _) = self.lease;
        let it = &mut self.replicas[replica];
        let now = it.skew.monotonic(self.now);
        if let Some(worker) = it.worker.as_mut().filter(|_| token > 0) {
            worker.lease_seen(token, WorkerId(u16::try_from(holder).unwrap_or(u16::MAX)), now);
        }
    }

    /// Restores a replica that cannot come back by itself. One that waits for a decision is restored once a later one is
    /// known.
    fn operate(&mut self, replica: usize) -> Result<(), String> {
        let it = &self.replicas[replica];
        let Some(cause) = it.isolated.filter(|_| it.worker.is_some()) else { return Ok(()) };
        let tip = |at: usize| self.replicas[at].worker.as_ref().and_then(|worker| worker.ledger().tip());
        let foremost = self.foremost().and_then(tip).map(|(round, _)| round);
        let is_behind = it.arrived.is_some_and(|round| foremost.is_some_and(|tip| tip >= round));
        // Sometimes an operator does not wait.
        let may = cause != Isolation::Undecided || is_behind || (!self.is_healed && self.random.u8(0..8) == 0);
        if !(may && self.restore(replica)?) {
            self.after(300 * MS, Happening::Restore { replica });
        }
        Ok(())
    }

    fn hear(&mut self, replica: usize, event: &Event) -> Result<(), String> {
        if !self.is_honest(replica) {
            return Ok(());
        }
        let lies = |worker: WorkerId| self.liars.contains_key(&usize::from(worker.0));
        match event {
            Event::Equivocation(evidence) => {
                self.seen.equivocations += 1;
                if !evidence.convicts(&self.members) || !lies(evidence.worker()) {
                    return Err(format!("an honest worker is accused: {evidence:?}"));
                }
            }
            Event::Unjustified { worker, cause, .. } => {
                self.seen.unjustified += 1;
                if !lies(*worker) {
                    return Err(format!("honest {worker} is accused: {}", cause.reason()));
                }
            }
            Event::AgreementBroken { round } => return Err(format!("two decisions at {round}")),
            Event::Forged { .. } => self.seen.forged += 1,
            Event::DigestMismatch { .. } => self.seen.mismatches += 1,
            Event::Straggler { .. }
            | Event::SketchOutlier { .. }
            | Event::GerminationPaused { .. }
            | Event::GerminationResumed { .. }
            | Event::Isolated { .. } => {}
        }
        Ok(())
    }

    /// Sees to it that the worker is woken, and its trainer goes on.
    fn arm(&mut self, replica: usize) {
        let it = &self.replicas[replica];
        let Some(worker) = &it.worker else { return };
        let (now, life) = (it.skew.monotonic(self.now), it.life);
        let at = worker.wake(now).map(|at| it.skew.when(at).max(self.now + 1));
        let waits = worker.is_waiting() || worker.isolation().is_some();
        if waits {
            self.seen.waiting.insert(replica);
        } else if self.seen.waiting.remove(&replica) {
            self.after(1, Happening::Step { replica, life });
        }
        if let Some(at) = at {
            let is_armed = self.seen.armed.get(&replica).is_some_and(|armed| *armed > self.now && *armed <= at);
            if !is_armed {
                self.seen.armed.insert(replica, at);
                self.after(at - self.now, Happening::Wake { replica });
            }
        }
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
