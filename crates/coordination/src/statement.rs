//! What workers sign.

use crate::{
    Membership, Round, SecretKey, WorkerId,
    keys::{SIGNATURE_BYTES, Signature},
};

/// A SHA-256.
pub type Hash = [u8; 32];

/// What is said about a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// "I have come to this round, and obey no holder with a lower token." The hash is that of a
    /// [`Promise`](crate::Promise).
    Propose = 1,
    /// The holder: "this is the plan". The hash is that of a [`Plan`](crate::Plan), as in the phases after it.
    Prepare = 2,
    /// "The plan is in order, and I vote for no other of this token."
    Vote = 3,
    /// "A quorum has voted for it, and I go past its step only if I know whether it was decided."
    Accept = 4,
    /// "I am at this round, and ask for its decision." The hash and the token are zero.
    Ask = 5,
}

impl Phase {
    pub(crate) const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Propose),
            2 => Some(Self::Prepare),
            3 => Some(Self::Vote),
            4 => Some(Self::Accept),
            5 => Some(Self::Ask),
            _ => None,
        }
    }
}

/// One sentence of one worker. An honest worker never says two with the same phase, round and token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What kind of sentence.
    pub phase: Phase,
    /// About which round.
    pub round: Round,
    /// The fencing token of the lease under which it is said.
    pub token: u64,
    /// What it is about.
    pub hash: Hash,
    /// Who says it.
    pub worker: WorkerId,
}

const DOMAIN: &[u8; 24] = b"kasmina-coordination 1\0\0";
const BYTES: usize = DOMAIN.len() + 32 + 1 + 8 + 8 + 8 + 32 + 2;

impl Statement {
    /// The bytes that are signed: of one length, so that no two statements have the same.
    fn bytes(&self, group: &Hash) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let mut rest = bytes.as_mut_slice();
        let parts: [&[u8]; 8] = [
            DOMAIN,
            group,
            &[self.phase as u8],
            &self.round.era.to_le_bytes(),
            &self.round.step.to_le_bytes(),
            &self.token.to_le_bytes(),
            &self.hash,
            &self.worker.0.to_le_bytes(),
        ];
        for part in parts {
            if let Some((place, left)) = std::mem::take(&mut rest).split_at_mut_checked(part.len()) {
                place.copy_from_slice(part);
                rest = left;
            }
        }
        bytes
    }
}

/// A statement with its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// What is said.
    pub statement: Statement,
    /// By the worker that the statement names.
    pub signature: Signature,
}

impl Signed {
    pub(crate) fn new(statement: Statement, membership: &Membership, key: &SecretKey) -> Self {
        Self { statement, signature: key.sign(&statement.bytes(membership.group())) }
    }

    /// Whether the worker that it names has signed it.
    #[must_use]
    pub fn is_genuine(&self, membership: &Membership) -> bool {
        membership.made(self.statement.worker, &self.signature, &self.statement.bytes(membership.group()))
    }
}

/// A quorum's signatures of one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// [`Phase::Vote`]: the plan is the only one of its token. [`Phase::Accept`]: it is decided.
    pub phase: Phase,
    /// The round.
    pub round: Round,
    /// The token under which it was signed.
    pub token: u64,
    /// The plan's hash.
    pub hash: Hash,
    /// In ascending order of the workers.
    pub signatures: Vec<(WorkerId, [u8; SIGNATURE_BYTES])>,
}

impl Certificate {
    /// Whether a quorum has signed it. This costs a verification for each signature.
    #[must_use]
    pub fn is_genuine(&self, membership: &Membership) -> bool {
        let ascending = self.signatures.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let signed = |(worker, signature): &(WorkerId, Signature)| {
            let Self { phase, round, token, hash, .. } = *self;
            let statement = Statement { phase, round, token, hash, worker: *worker };
            Signed { statement, signature: *signature }.is_genuine(membership)
        };
        ascending && self.signatures.len() >= membership.quorum() && self.signatures.iter().all(signed)
    }
}
