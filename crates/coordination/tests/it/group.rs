//! A group of workers for tests, and messages that a test carries between them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kasmina_coordination::{
    Digest, Event, Kept, Membership, Message, Order, Output, Report, SecretKey, Settings, To, Worker, WorkerId, hash,
};
use kasmina_leyline::{CommandId, Monotonic, TrainingRunId, UnixTime};

pub(crate) fn run() -> TrainingRunId {
    TrainingRunId::new("run-7").unwrap()
}

pub(crate) fn keys(workers: u8) -> Vec<SecretKey> {
    (1..=workers).map(|number| SecretKey::from_seed(&[number; 32])).collect()
}

pub(crate) fn members(keys: &[SecretKey]) -> Arc<Membership> {
    Arc::new(Membership::new(&run(), keys.iter().map(SecretKey::public).collect()).unwrap())
}

pub(crate) fn order(name: &str, issued_ms: i64) -> Order {
    let issued_at = UnixTime::from_millis(1_700_000_000_000 + issued_ms);
    Order::new(CommandId::new(name).unwrap(), issued_at, format!("bytes of {name}").into_bytes())
}

pub(crate) fn report(pending: &[Order]) -> Report {
    Report {
        digest: Digest { state: hash(b"state"), parameters: hash(b"parameters"), sketch: Vec::new() },
        pending: pending.to_vec(),
        checkpoints: vec![0],
        at: UnixTime::from_millis(1_700_000_000_000),
    }
}

pub(crate) fn ids(orders: &[Order]) -> Vec<&str> {
    orders.iter().map(|order| order.id.as_str()).collect()
}

/// Workers whose messages a test carries, in the order in which they were sent.
pub(crate) struct Group {
    pub(crate) keys: Vec<SecretKey>,
    pub(crate) members: Arc<Membership>,
    pub(crate) settings: Settings,
    pub(crate) workers: BTreeMap<u16, Worker>,
    pub(crate) now: Monotonic,
    pub(crate) kept: BTreeMap<u16, Kept>,
    /// What each has put out, but for what it sent and kept.
    pub(crate) outputs: BTreeMap<u16, Vec<Output>>,
    /// Sent and not delivered.
    pub(crate) sent: Vec<(WorkerId, To, Arc<Message>)>,
    /// Nothing reaches these, and nothing comes from them.
    pub(crate) away: Vec<u16>,
}

impl Group {
    pub(crate) fn of(workers: u8, settings: Settings) -> Self {
        let keys = keys(workers);
        let members = members(&keys);
        let worker = |key: &SecretKey| Worker::new(settings.clone(), Arc::clone(&members), key.clone()).unwrap();
        let workers = (0..).zip(keys.iter().map(worker)).collect();
        Self {
            keys,
            members,
            settings,
            workers,
            now: Monotonic::from_millis(1_000),
            kept: BTreeMap::new(),
            outputs: BTreeMap::new(),
            sent: Vec::new(),
            away: Vec::new(),
        }
    }

    /// The holder has the lease for a minute, and all know it.
    pub(crate) fn lease(&mut self, token: u64, holder: u16) {
        for (id, worker) in &mut self.workers {
            if *id == holder {
                worker.lease_held(token, self.now.after(Duration::from_secs(60)), self.now);
            } else {
                worker.lease_seen(token, WorkerId(holder), self.now);
            }
        }
        self.collect();
    }

    pub(crate) fn arrive(&mut self, worker: u16, step: u64, pending: &[Order]) {
        let now = self.now;
        self.worker(worker).arrive(step, report(pending), now).unwrap();
        self.collect();
    }

    pub(crate) fn arrive_all(&mut self, step: u64, pending: &[Order]) {
        for worker in self.workers.keys().copied().collect::<Vec<_>>() {
            self.arrive(worker, step, pending);
        }
    }

    pub(crate) fn worker(&mut self, worker: u16) -> &mut Worker {
        self.workers.get_mut(&worker).unwrap()
    }

    /// Takes what the workers want to be done.
    pub(crate) fn collect(&mut self) {
        for (id, worker) in &mut self.workers {
            for output in worker.take_outputs() {
                match output {
                    Output::Send { to, message } => self.sent.push((WorkerId(*id), to, message)),
                    Output::Keep(kept @ Kept::Promises(_)) => drop(self.kept.insert(*id, kept)),
                    Output::Keep(Kept::Decision { .. }) | Output::CheckLease => {}
                    other => self.outputs.entry(*id).or_default().push(other),
                }
            }
        }
    }

    /// Delivers everything that `passes`, and what follows from it; the rest is lost.
    pub(crate) fn deliver(&mut self, mut passes: impl FnMut(WorkerId, WorkerId, &Message) -> bool) {
        while !self.sent.is_empty() {
            for (from, to, message) in std::mem::take(&mut self.sent) {
                let bytes = message.encode(&self.members);
                for (id, worker) in &mut self.workers {
                    let is_meant = match to {
                        To::All => WorkerId(*id) != from,
                        To::One(one) => one == WorkerId(*id),
                    };
                    let is_away = self.away.contains(id) || self.away.contains(&from.0);
                    if is_meant && !is_away && passes(from, WorkerId(*id), &message) {
                        worker.receive(&bytes, self.now).unwrap();
                    }
                }
            }
            self.collect();
        }
    }

    pub(crate) fn deliver_all(&mut self) {
        self.deliver(|_, _, _| true);
    }

    /// Lets time pass in small steps, and delivers what is sent in it.
    pub(crate) fn pass(&mut self, by: Duration) {
        let until = self.now.after(by);
        while self.now < until {
            self.now = self.now.after(Duration::from_millis(50));
            let now = self.now;
            self.workers.values_mut().for_each(|worker| worker.tick(now));
            self.collect();
            self.deliver_all();
        }
    }

    /// What a worker has decided, as ids and the step.
    pub(crate) fn decided(&self, worker: u16) -> Vec<(Vec<String>, u64)> {
        let decided = |output: &Output| match output {
            Output::Decided(decided) => {
                let orders = ids(&decided.plan.orders).into_iter().map(str::to_owned).collect();
                Some((orders, decided.plan.apply_at))
            }
            _ => None,
        };
        self.outputs.get(&worker).into_iter().flatten().filter_map(decided).collect()
    }

    pub(crate) fn events(&self, worker: u16) -> Vec<&Event> {
        let mut events = Vec::new();
        for output in self.outputs.get(&worker).into_iter().flatten() {
            if let Output::Event(event) = output {
                events.push(event);
            }
        }
        events
    }

    pub(crate) fn event_names(&self, worker: u16) -> Vec<&'static str> {
        self.events(worker).into_iter().map(Event::name).collect()
    }
}
