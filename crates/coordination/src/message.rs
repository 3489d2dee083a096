//! What workers send each other.

mod wire;

use crate::{
    Certificate, Plan, Report, Round, Signed, SignedPromise, WorkerId, limits::Limits, membership::Membership,
};

/// A plan with the signatures of a quorum that speak for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The plan.
    pub plan: Plan,
    /// The signatures, of the plan's hash.
    pub certificate: Certificate,
}

impl Proven {
    /// Whether the certificate is of this plan and genuine.
    #[must_use]
    pub fn is_genuine(&self, membership: &Membership) -> bool {
        self.certificate.hash == self.plan.hash() && self.certificate.is_genuine(membership)
    }
}

/// A message between workers.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// A worker has come to a round, and promises to obey a holder.
    Propose(Box<Proposal>),
    /// The holder's plan.
    Prepare(Box<Prepare>),
    /// A vote for it.
    Vote(Signed),
    /// A quorum has voted for it: the certificate is of [`Phase::Vote`](crate::Phase::Vote).
    Lock(Box<Proven>),
    /// A worker has accepted it.
    Accept(Signed),
    /// It is decided: the certificate is of [`Phase::Accept`](crate::Phase::Accept).
    Commit(Box<Proven>),
    /// Who knows the decision of this round?
    Query(Signed),
}

/// A worker has come to a round.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// What it promises.
    pub promise: SignedPromise,
    /// What it brings.
    pub report: Report,
    /// The plan that the promise says it has accepted, with the votes for it.
    pub locked: Option<Proven>,
}

/// A holder's plan, with what shows that it may be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepare {
    /// The holder's signature of the plan's hash.
    pub signed: Signed,
    /// The plan.
    pub plan: Plan,
    /// The promises of a quorum, in ascending order of the workers.
    pub promises: Vec<SignedPromise>,
    /// If one of them names an accepted plan: the votes for the one of the highest token, which this plan repeats.
    pub locked: Option<Certificate>,
}

/// Why bytes are not a message of this group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// It has too many bytes to be looked at.
    #[error("the message has {got} bytes, at most {limit} are allowed")]
    TooLong {
        /// Its bytes.
        got: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// It is not protobuf, or a field has another type.
    #[error("the message cannot be decoded: {detail}")]
    Malformed {
        /// What the decoder says.
        detail: String,
    },
    /// It is from another version of this crate.
    #[error("the message has version {got}, and this is version {known}")]
    Version {
        /// Its version.
        got: u32,
        /// The only one that can be read.
        known: u32,
    },
    /// It is from another training run, or from one with other workers.
    #[error("the message is of another group")]
    OtherGroup,
    /// A field is missing or has a value that cannot be meant.
    #[error("the field `{field}` is missing or cannot be meant")]
    Field {
        /// The field.
        field: &'static str,
    },
    /// A list is longer than allowed.
    #[error("`{field}` has {got} entries, at most {limit} are allowed")]
    TooMany {
        /// The list.
        field: &'static str,
        /// Its length.
        got: usize,
        /// How many are allowed.
        limit: usize,
    },
}

impl Plan {
    pub(crate) fn encode(&self) -> Vec<u8> {
        wire::encode_plan(self)
    }

    pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, Unreadable> {
        wire::decode_plan(bytes, limits)
    }
}

impl Message {
    /// The bytes to send.
    #[must_use]
    pub fn encode(&self, membership: &Membership) -> Vec<u8> {
        wire::encode(self, membership)
    }

    /// Reads a message. Signatures are not checked.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn decode(bytes: &[u8], membership: &Membership, limits: &Limits) -> Result<Self, Unreadable> {
        wire::decode(bytes, membership, limits)
    }

    /// Who says that it has sent it. Of a proven plan nobody needs to know.
    #[must_use]
    pub fn sender(&self) -> Option<WorkerId> {
        match self {
            Self::Propose(proposal) => Some(proposal.promise.worker()),
            Self::Prepare(prepare) => Some(prepare.signed.statement.worker),
            Self::Vote(signed) | Self::Accept(signed) | Self::Query(signed) => Some(signed.statement.worker),
            Self::Lock(_) | Self::Commit(_) => None,
        }
    }

    /// The round that it is about.
    #[must_use]
    pub fn round(&self) -> Round {
        match self {
            Self::Propose(proposal) => proposal.promise.signed.statement.round,
            Self::Prepare(prepare) => prepare.signed.statement.round,
            Self::Vote(signed) | Self::Accept(signed) | Self::Query(signed) => signed.statement.round,
            Self::Lock(proven) | Self::Commit(proven) => proven.certificate.round,
        }
    }

    /// What it is called, for logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Propose(_) => "propose",
            Self::Prepare(_) => "prepare",
            Self::Vote(_) => "vote",
            Self::Lock(_) => "lock",
            Self::Accept(_) => "accept",
            Self::Commit(_) => "commit",
            Self::Query(_) => "query",
        }
    }

    /// The sender's signed statement, whose hash is that of the content: a reader computes it.
    #[must_use]
    pub fn signed(&self) -> Option<&Signed> {
        match self {
            Self::Propose(proposal) => Some(&proposal.promise.signed),
            Self::Prepare(prepare) => Some(&prepare.signed),
            Self::Vote(signed) | Self::Accept(signed) | Self::Query(signed) => Some(signed),
            Self::Lock(_) | Self::Commit(_) => None,
        }
    }
}
