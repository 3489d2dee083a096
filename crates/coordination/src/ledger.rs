//! What has been decided, as far as a replica has come: a part of its state, like its weights.

use std::collections::{BTreeMap, VecDeque};

use kasmina_leyline::{CommandId, UnixTime};
use prost::Message as _;

use crate::{Decided, Limits, Order, Plan, Round, Settings, statement::Hash};

/// How many rounds a ledger remembers: some more than the decisions that are kept for latecomers.
const ROUNDS: usize = 64;

/// The commands and rounds that a replica has heard the decision of. It follows from the decisions alone, so that all
/// replicas have the same after the same rounds. It is saved and restored with the replica's checkpoint.
///
/// A command id is remembered for [`Settings::remember`] after its round, by the time of the rounds, and at most
/// [`Settings::remember_most`] of them are. When one is forgotten, nothing that was issued at its time or before is
/// applied any more. So an order is applied at most once, whenever it is proposed again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    era: u64,
    /// Rounds before this are not known here.
    since: Option<Round>,
    rounds: VecDeque<(Round, Hash)>,
    /// The last decision.
    tip: Option<(Round, Hash)>,
    /// A plan whose step has not begun.
    due: Option<Decided>,
    /// In the order in which they were decided.
    order: VecDeque<(CommandId, UnixTime, UnixTime)>,
    seen: BTreeMap<CommandId, ()>,
    watermark: Option<UnixTime>,
    /// The latest time of a round.
    at: Option<UnixTime>,
}

/// The bytes are not a ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a ledger of coordination: {detail}")]
pub struct BadLedger {
    /// What is wrong.
    pub detail: String,
}

impl Ledger {
    /// How often the group has gone back.
    #[must_use]
    pub const fn era(&self) -> u64 {
        self.era
    }

    /// Whether this order may still be applied.
    #[must_use]
    pub fn admits(&self, order: &Order) -> bool {
        !self.seen.contains_key(&order.id) && self.watermark.is_none_or(|mark| order.issued_at > mark)
    }

    /// A plan that was decided and whose step has not begun: a replica that begins from this checkpoint applies it then.
    #[must_use]
    pub const fn due(&self) -> Option<&Decided> {
        self.due.as_ref()
    }

    /// A step begins.
    pub(crate) fn advance(&mut self, step: u64) {
        self.due = self.due.take().filter(|due| due.plan.apply_at > step);
    }

    /// Takes a decision. Gives it with the time of its orders, which never goes back, and without those that were decided
    /// before.
    pub(crate) fn decide(&mut self, round: Round, hash: Hash, plan: &Plan, settings: &Settings) -> Decided {
        self.note(round, hash);
        let at = self.at.map_or(plan.at, |at| at.max(plan.at));
        self.at = Some(at);
        self.forget(at, settings);
        let mut taken = Plan { orders: Vec::new(), rollback: None, at, ..*plan };
        for order in &plan.orders {
            if self.admits(order) {
                self.seen.insert(order.id.clone(), ());
                self.order.push_back((order.id.clone(), order.issued_at, at));
                taken.orders.push(order.clone());
            }
        }
        let is_new = |id: &CommandId| taken.orders.iter().any(|order| order.id == *id);
        taken.rollback = plan.rollback.clone().filter(|rollback| is_new(rollback.id()));
        self.forget(at, settings);
        let decided = Decided { round, plan: taken, hash };
        self.due = Some(decided.clone());
        decided
    }

    /// The last decision.
    #[must_use]
    pub const fn tip(&self) -> Option<(Round, Hash)> {
        self.tip
    }

    /// The hash that was decided in a round, if it is remembered.
    pub(crate) fn decided(&self, round: Round) -> Option<Hash> {
        self.rounds.iter().find(|(other, _)| *other == round).map(|(_, hash)| *hash)
    }

    /// Whether the ledger would know of a decision of this round.
    pub(crate) fn covers(&self, round: Round) -> bool {
        let since = self.since.is_none_or(|since| round >= since);
        let kept = self.rounds.len() < ROUNDS || self.rounds.front().is_some_and(|(first, _)| round >= *first);
        round.era == self.era && since && kept
    }

    pub(crate) fn begin(&mut self, round: Round) {
        self.since.get_or_insert(round);
    }

    pub(crate) fn go_back(&mut self, round: Round) {
        self.era = round.era.saturating_add(1);
        self.due = None;
        self.rounds.clear();
        self.since = None;
    }

    fn note(&mut self, round: Round, hash: Hash) {
        self.tip = Some((round, hash));
        self.rounds.push_back((round, hash));
        if self.rounds.len() > ROUNDS {
            self.rounds.pop_front();
        }
    }

    fn forget(&mut self, at: UnixTime, settings: &Settings) {
        while let Some((id, issued_at, decided_at)) = self.order.front() {
            if self.order.len() <= settings.remember_most && at.since(*decided_at) < settings.remember {
                break;
            }
            self.watermark = self.watermark.max(Some(*issued_at));
            self.seen.remove(id);
            self.order.pop_front();
        }
    }

    /// The bytes for a checkpoint.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let round = |round: &Round, hash: &[u8]| Entry { era: round.era, step: round.step, hash: hash.to_vec() };
        let seen = |(id, issued, decided): &(CommandId, UnixTime, UnixTime)| Seen {
            id: id.as_str().to_owned(),
            issued_at_ns: issued.as_nanos(),
            decided_at_ns: decided.as_nanos(),
        };
        Stored {
            version: VERSION,
            era: self.era,
            since: self.since.as_ref().map(|it| round(it, &[])),
            rounds: self.rounds.iter().map(|(it, hash)| round(it, hash)).collect(),
            seen: self.order.iter().map(seen).collect(),
            watermark_ns: self.watermark.map(UnixTime::as_nanos),
            at_ns: self.at.map(UnixTime::as_nanos),
            tip: self.tip.as_ref().map(|(it, hash)| round(it, hash)),
            due: self.due.as_ref().map(|due| round(&due.round, &due.hash)),
            due_plan: self.due.as_ref().map(|due| due.plan.encode()),
        }
        .encode_to_vec()
    }

    /// Reads the bytes of [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// [`BadLedger`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadLedger> {
        let bad = |detail: String| BadLedger { detail };
        let stored = Stored::decode(bytes).map_err(|error| bad(error.to_string()))?;
        if stored.version != VERSION {
            return Err(bad(format!("version {}, and this is version {VERSION}", stored.version)));
        }
        let mut ledger = Self {
            era: stored.era,
            since: stored.since.map(|it| Round { era: it.era, step: it.step }),
            watermark: stored.watermark_ns.map(UnixTime::from_nanos),
            at: stored.at_ns.map(UnixTime::from_nanos),
            ..Self::default()
        };
        let read = |entry: Entry| match entry.hash.try_into() {
            Ok(hash) => Ok((Round { era: entry.era, step: entry.step }, hash)),
            Err(_) => Err(bad("a hash of another length".to_owned())),
        };
        ledger.rounds = stored.rounds.into_iter().map(read).collect::<Result<_, _>>()?;
        ledger.tip = stored.tip.map(read).transpose()?;
        if let (Some(due), Some(plan)) = (stored.due, stored.due_plan) {
            let (round, hash) = read(due)?;
            let plan = Plan::decode(&plan, &Limits::default()).map_err(|error| bad(error.to_string()))?;
            ledger.due = Some(Decided { round, plan, hash });
        }
        for seen in stored.seen {
            let id = CommandId::new(&seen.id).map_err(|error| bad(error.to_string()))?;
            ledger.seen.insert(id.clone(), ());
            let times = (UnixTime::from_nanos(seen.issued_at_ns), UnixTime::from_nanos(seen.decided_at_ns));
            ledger.order.push_back((id, times.0, times.1));
        }
        Ok(ledger)
    }
}

const VERSION: u32 = 1;

#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint64, tag = "2")]
    era: u64,
    #[prost(message, optional, tag = "3")]
    since: Option<Entry>,
    #[prost(message, repeated, tag = "4")]
    rounds: Vec<Entry>,
    #[prost(message, repeated, tag = "5")]
    seen: Vec<Seen>,
    #[prost(sfixed64, optional, tag = "6")]
    watermark_ns: Option<i64>,
    #[prost(sfixed64, optional, tag = "7")]
    at_ns: Option<i64>,
    #[prost(message, optional, tag = "8")]
    tip: Option<Entry>,
    #[prost(message, optional, tag = "9")]
    due: Option<Entry>,
    #[prost(bytes = "vec", optional, tag = "10")]
    due_plan: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    #[prost(uint64, tag = "1")]
    era: u64,
    #[prost(uint64, tag = "2")]
    step: u64,
    #[prost(bytes = "vec", tag = "3")]
    hash: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Seen {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(sfixed64, tag = "2")]
    issued_at_ns: i64,
    #[prost(sfixed64, tag = "3")]
    decided_at_ns: i64,
}
