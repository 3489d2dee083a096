//! Every order in which messages can arrive, of small groups: also those in which some never do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
    sync::Arc,
    time::Duration,
};

use kasmina_leyline::{CommandId, Monotonic, TrainingRunId, UnixTime};

use crate::{
    Digest, Membership, Message, Order, Output, Phase, Prepare, Report, SecretKey, Settings, Signed, Statement, To,
    Votes, Worker, WorkerId, hash, statement::Hash,
};

/// A small group, and what may happen to it.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// How many workers. Each brings an order of its own to one round.
    pub workers: usize,
    /// Whether worker 0, the holder, lies: it signs two plans, votes for both and accepts both.
    pub holder_lies: bool,
    /// Whether worker 1 gets the lease at some time, of which each worker hears at some other.
    pub lease_changes: bool,
    /// How many states are looked at, at most.
    pub most_states: usize,
}

/// What an exploration has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explored {
    /// Different states.
    pub states: usize,
    /// Whether these are all that can be reached.
    pub is_complete: bool,
    /// Different plans that an honest worker has decided in some state: more than one, because several can be.
    pub plans: usize,
    /// The most messages that were under way at once.
    pub most_under_way: usize,
}

#[derive(Clone, Debug)]
struct State {
    workers: Vec<Worker>,
    under_way: Vec<(usize, Arc<[u8]>)>,
    heard: Vec<bool>,
    /// What each has decided.
    decided: BTreeMap<usize, Hash>,
}

const NOW: Monotonic = Monotonic::from_millis(1_000);

/// Looks at every state that can be reached, or at as many as it may.
///
/// # Errors
/// What does not hold, with the way there.
pub fn explore(scenario: Scenario) -> Result<Explored, String> {
    let mut first = begin(scenario)?;
    let mut explored = Explored { states: 0, is_complete: true, plans: 0, most_under_way: 0 };
    let (mut seen, mut plans) = (BTreeSet::new(), BTreeSet::new());
    first.under_way.sort();
    let mut open = vec![first];
    while let Some(state) = open.pop() {
        if !seen.insert(print(&state)) {
            continue;
        }
        explored.states += 1;
        explored.most_under_way = explored.most_under_way.max(state.under_way.len());
        if explored.states >= scenario.most_states {
            explored.is_complete = open.is_empty();
            break;
        }
        for at in 0..state.under_way.len() {
            let mut next = state.clone();
            let (to, bytes) = next.under_way.swap_remove(at);
            let _ = next.workers[to].receive(&bytes, NOW);
            settle(&mut next, to, scenario, &mut plans)?;
            open.push(next);
        }
        for to in 0..scenario.workers {
            let is_honest = to > 0 || !scenario.holder_lies;
            if scenario.lease_changes && is_honest && !state.heard[to] {
                let mut next = state.clone();
                next.heard[to] = true;
                if to == 1 {
                    next.workers[to].lease_held(2, NOW.after(Duration::from_secs(60)), NOW);
                } else {
                    next.workers[to].lease_seen(2, WorkerId(1), NOW);
                }
                settle(&mut next, to, scenario, &mut plans)?;
                open.push(next);
            }
        }
    }
    explored.plans = plans.len();
    Ok(explored)
}

/// Takes what a worker puts out, and checks that nobody has decided anything else.
fn settle(state: &mut State, from: usize, scenario: Scenario, plans: &mut BTreeSet<Hash>) -> Result<(), String> {
    let outputs: Vec<_> = state.workers[from].take_outputs().collect();
    let members = Arc::clone(state.workers[from].membership());
    for output in outputs {
        match output {
            Output::Send { to, message } => {
                let bytes: Arc<[u8]> = message.encode(&members).into();
                for to in targets(to, from, scenario) {
                    state.under_way.push((to, Arc::clone(&bytes)));
                }
            }
            Output::Decided(decided) => {
                plans.insert(decided.hash);
                state.decided.insert(from, decided.hash);
            }
            Output::Keep(_)
            | Output::CheckLease
            | Output::YieldLease
            | Output::NoDecision { .. }
            | Output::Promised { .. }
            | Output::Isolated { .. }
            | Output::Event(_) => {}
        }
    }
    state.under_way.sort();
    // The same message twice is no more than once: whoever gets it changes nothing the second time.
    state.under_way.dedup();
    let different: BTreeSet<_> = state.decided.values().collect();
    if different.len() > 1 { Err(format!("two plans are decided: {:?}", state.decided)) } else { Ok(()) }
}

fn targets(to: To, from: usize, scenario: Scenario) -> Vec<usize> {
    let first = usize::from(scenario.holder_lies);
    match to {
        To::All => (first..scenario.workers).filter(|worker| *worker != from).collect(),
        To::One(worker) => Some(usize::from(worker.0)).filter(|worker| *worker >= first).into_iter().collect(),
    }
}

fn begin(scenario: Scenario) -> Result<State, String> {
    let text = |error: &dyn ToString| error.to_string();
    let keys: Vec<_> = (0..scenario.workers as u64).map(SecretKey::double).collect();
    let run = TrainingRunId::new("explored").map_err(|error| text(&error))?;
    let members = Membership::new(&run, keys.iter().map(SecretKey::public).collect()).map_err(|error| text(&error))?;
    let members = Arc::new(members);
    let settings = Settings { every: 10, lead: 3, grace: Duration::ZERO, votes: Votes::ToAll, ..Settings::default() };
    let mut workers = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        let mut worker =
            Worker::new(settings.clone(), Arc::clone(&members), key.clone()).map_err(|error| text(&error))?;
        if number == 0 {
            worker.lease_held(1, NOW.after(Duration::from_secs(60)), NOW);
        } else {
            worker.lease_seen(1, WorkerId(0), NOW);
        }
        let id = CommandId::new(format!("order-{number}")).map_err(|error| text(&error))?;
        let at = UnixTime::from_millis(1_800_000_000_000 + number as i64);
        let digest = Digest { state: hash(b"state"), parameters: hash(b"parameters"), sketch: Vec::new() };
        let pending = vec![Order::new(id, at, Vec::new())];
        worker
            .arrive(10, Report { digest, pending, checkpoints: Vec::new(), at }, NOW)
            .map_err(|error| text(&error))?;
        workers.push(worker);
    }
    let heard = vec![false; scenario.workers];
    let mut state = State { workers, under_way: Vec::new(), heard, decided: BTreeMap::new() };
    let mut none = BTreeSet::new();
    let honest = Scenario { holder_lies: false, ..scenario };
    for worker in 0..scenario.workers {
        settle(&mut state, worker, honest, &mut none)?;
    }
    if scenario.holder_lies {
        lie(&mut state, &keys[0], &members, scenario)?;
    }
    Ok(state)
}

/// Worker 0 takes the proposals, and says everything that it can about two plans.
fn lie(state: &mut State, key: &SecretKey, members: &Membership, scenario: Scenario) -> Result<(), String> {
    for (to, bytes) in std::mem::take(&mut state.under_way) {
        if to == 0 {
            let _ = state.workers[0].receive(&bytes, NOW);
        }
    }
    let mut prepare = None;
    for output in state.workers[0].take_outputs() {
        if let Output::Send { message, .. } = output
            && let Message::Prepare(made) = &*message
        {
            prepare = Some((**made).clone());
        }
    }
    let one = prepare.ok_or("the holder has made no plan")?;
    let mut plan = one.plan.clone();
    plan.orders.pop();
    let other = Statement { hash: plan.hash(), ..one.signed.statement };
    let other = Prepare { signed: Signed::new(other, members, key), plan, ..one.clone() };
    for prepare in [one, other] {
        let statement = prepare.signed.statement;
        let sign = |phase| Signed::new(Statement { phase, ..statement }, members, key);
        let said = [
            Message::Prepare(Box::new(prepare)),
            Message::Vote(sign(Phase::Vote)),
            Message::Accept(sign(Phase::Accept)),
        ];
        for message in said {
            let bytes: Arc<[u8]> = message.encode(members).into();
            state.under_way.extend((1..scenario.workers).map(|to| (to, Arc::clone(&bytes))));
        }
    }
    Ok(())
}

/// A hash of everything that a state consists of.
fn print(state: &State) -> u64 {
    struct Fnv(u64);
    impl Write for Fnv {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for byte in text.bytes() {
                self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
            Ok(())
        }
    }
    let mut fnv = Fnv(0xcbf2_9ce4_8422_2325);
    // Writing to it does not fail.
    let _ = write!(fnv, "{state:?}");
    fnv.0
}
