//! What must survive a restart of the process: what a worker has signed and accepted.

use std::collections::BTreeMap;

use prost::Message as _;

use crate::{Ledger, Membership, Message, Proposal, Proven, Round, Settings, statement::Hash};

/// Something to make durable. Give all of it back to [`Worker::resume`](crate::Worker::resume).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// What the worker has promised. Each replaces the one before.
    Promises(Vec<u8>),
    /// A decision, for workers that come late, and for this one if it goes back to a checkpoint before it. The newest
    /// [`Settings::decisions`] are enough.
    Decision {
        /// Its round.
        round: Round,
        /// Its bytes.
        bytes: Vec<u8>,
    },
}

/// Kept bytes cannot be read. A worker that forgets its promises may help to decide two things: give it a new key and
/// group, or leave it out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what the worker has promised cannot be read: {detail}")]
pub struct BadKeep {
    /// What is wrong.
    pub detail: String,
}

/// What a worker has promised.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promises {
    /// No holder with a lower token is obeyed.
    pub(crate) token: u64,
    /// The newest round that it has come to, if any. In an older one that is not among `rounds` it signs nothing.
    pub(crate) newest: Option<Round>,
    /// Up to this round, what it has signed is forgotten: there it signs nothing any more.
    pub(crate) floor: Option<Round>,
    /// The newest decision that it has ever known, also in a former life whose checkpoint came after the present one's: it
    /// votes for no plan that follows another one.
    pub(crate) known: Option<(Round, Hash)>,
    /// Rounds that it has come to and that may still be decided.
    pub(crate) rounds: BTreeMap<Round, Given>,
}

/// What a worker has signed in one round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    /// Its proposal, under the highest token.
    pub(crate) proposal: Option<Proposal>,
    /// Its vote, under the highest token.
    pub(crate) voted: Option<Voted>,
    /// What it has accepted, under the highest token.
    pub(crate) lock: Option<Proven>,
}

/// A vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Voted {
    pub(crate) token: u64,
    pub(crate) hash: Hash,
    /// When the plan would be applied.
    pub(crate) apply_at: u64,
}

const VERSION: u32 = 1;

#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint64, tag = "2")]
    token: u64,
    #[prost(uint64, tag = "3")]
    era: u64,
    #[prost(uint64, tag = "4")]
    step: u64,
    #[prost(message, repeated, tag = "5")]
    rounds: Vec<StoredRound>,
    /// Whether `era` and `step` are those of a round.
    #[prost(bool, tag = "6")]
    has_come: bool,
    #[prost(uint64, optional, tag = "7")]
    floor_era: Option<u64>,
    #[prost(uint64, tag = "8")]
    floor_step: u64,
    #[prost(uint64, tag = "9")]
    known_era: u64,
    #[prost(uint64, tag = "10")]
    known_step: u64,
    #[prost(bytes = "vec", optional, tag = "11")]
    known_hash: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredRound {
    #[prost(uint64, tag = "1")]
    era: u64,
    #[prost(uint64, tag = "2")]
    step: u64,
    #[prost(bytes = "vec", optional, tag = "3")]
    proposal: Option<Vec<u8>>,
    #[prost(uint64, tag = "4")]
    voted_token: u64,
    #[prost(bytes = "vec", optional, tag = "5")]
    voted_hash: Option<Vec<u8>>,
    #[prost(uint64, tag = "6")]
    voted_apply_at: u64,
    #[prost(bytes = "vec", optional, tag = "7")]
    lock: Option<Vec<u8>>,
}

impl Promises {
    /// Forgets rounds that cannot be decided any more, because a later one was.
    pub(crate) fn close(&mut self, ledger: &Ledger) {
        self.known = self.known.max(ledger.tip());
        if let Some((tip, _)) = ledger.tip() {
            self.forget(tip);
        }
        // Those of later eras stay: it may have begun from a checkpoint before a rollback.
        let ended = self.rounds.keys().rev().find(|round| round.era < ledger.era()).copied();
        if let Some(ended) = ended {
            self.forget(ended);
        }
    }

    /// Forgets all rounds up to this one.
    pub(crate) fn forget(&mut self, round: Round) {
        self.floor = self.floor.max(Some(round));
        self.rounds.retain(|other, _| *other > round);
    }

    /// Whether it has signed nothing in this round, as far as it can know.
    pub(crate) fn is_new(&self, round: Round) -> bool {
        !self.rounds.contains_key(&round) && self.floor.is_none_or(|floor| round > floor)
    }

    /// Whether it may vote in this round, and accept what was voted for: it has come to it, and has accepted nothing in
    /// another round of which it does not know the end. So of two plans that follow the same decision, in whatever
    /// rounds, no quorum accepts both.
    pub(crate) fn allow(&self, round: Round) -> bool {
        let is_free = |(other, given): (&Round, &Given)| *other == round || given.lock.is_none();
        self.rounds.contains_key(&round) && self.rounds.iter().all(is_free)
    }

    pub(crate) fn to_bytes(&self, membership: &Membership) -> Vec<u8> {
        let encode = |message: Message| message.encode(membership);
        let stored = |(round, given): (&Round, &Given)| StoredRound {
            era: round.era,
            step: round.step,
            proposal: given.proposal.clone().map(|it| encode(Message::Propose(Box::new(it)))),
            voted_token: given.voted.map_or(0, |voted| voted.token),
            voted_hash: given.voted.map(|voted| voted.hash.to_vec()),
            voted_apply_at: given.voted.map_or(0, |voted| voted.apply_at),
            lock: given.lock.clone().map(|it| encode(Message::Lock(Box::new(it)))),
        };
        Stored {
            version: VERSION,
            token: self.token,
            era: self.newest.map_or(0, |round| round.era),
            step: self.newest.map_or(0, |round| round.step),
            has_come: self.newest.is_some(),
            floor_era: self.floor.map(|round| round.era),
            floor_step: self.floor.map_or(0, |round| round.step),
            known_era: self.known.map_or(0, |(round, _)| round.era),
            known_step: self.known.map_or(0, |(round, _)| round.step),
            known_hash: self.known.map(|(_, hash)| hash.to_vec()),
            rounds: self.rounds.iter().map(stored).collect(),
        }
        .encode_to_vec()
    }

    pub(crate) fn from_bytes(bytes: &[u8], membership: &Membership, settings: &Settings) -> Result<Self, BadKeep> {
        let stored = Stored::decode(bytes).map_err(|error| bad(&error))?;
        if stored.version != VERSION {
            return Err(bad(&format!("version {}, and this is version {VERSION}", stored.version)));
        }
        let newest = stored.has_come.then_some(Round { era: stored.era, step: stored.step });
        let floor = stored.floor_era.map(|era| Round { era, step: stored.floor_step });
        let known = match stored.known_hash {
            None => None,
            Some(hash) => {
                let hash = hash.try_into().map_err(|_| bad(&"a hash of another length"))?;
                Some((Round { era: stored.known_era, step: stored.known_step }, hash))
            }
        };
        let mut promises = Self { token: stored.token, newest, floor, known, rounds: BTreeMap::new() };
        for stored in stored.rounds {
            let round = Round { era: stored.era, step: stored.step };
            promises.rounds.insert(round, given(stored, membership, settings)?);
        }
        Ok(promises)
    }
}

fn given(stored: StoredRound, membership: &Membership, settings: &Settings) -> Result<Given, BadKeep> {
    let decode = |bytes: Vec<u8>| Message::decode(&bytes, membership, &settings.limits).map_err(|error| bad(&error));
    let proposal = match stored.proposal.map(decode).transpose()? {
        None => None,
        Some(Message::Propose(proposal)) => Some(*proposal),
        Some(other) => return Err(bad(&format!("a {} in place of a proposal", other.name()))),
    };
    let lock = match stored.lock.map(decode).transpose()? {
        None => None,
        Some(Message::Lock(lock)) => Some(*lock),
        Some(other) => return Err(bad(&format!("a {} in place of a lock", other.name()))),
    };
    let voted = match stored.voted_hash {
        None => None,
        Some(hash) => {
            let hash = hash.try_into().map_err(|_| bad(&"a hash of another length"))?;
            Some(Voted { token: stored.voted_token, hash, apply_at: stored.voted_apply_at })
        }
    };
    Ok(Given { proposal, voted, lock })
}

fn bad(detail: &dyn ToString) -> BadKeep {
    BadKeep { detail: detail.to_string() }
}

/// Reads a decision that was kept.
pub(crate) fn decision(bytes: &[u8], membership: &Membership, settings: &Settings) -> Result<Proven, BadKeep> {
    match Message::decode(bytes, membership, &settings.limits) {
        Ok(Message::Commit(proven)) if proven.is_genuine(membership) => Ok(*proven),
        Ok(Message::Commit(_)) => Err(BadKeep { detail: "a decision whose signatures are wrong".to_owned() }),
        Ok(other) => Err(BadKeep { detail: format!("a {} in place of a decision", other.name()) }),
        Err(error) => Err(BadKeep { detail: error.to_string() }),
    }
}
