//! Replicas of one growing network in lock-step.

#[cfg(feature = "doubles")]
pub mod doubles;
mod event;
mod evidence;
mod judge;
mod justify;
mod keep;
mod keeper;
mod keys;
mod lease;
mod ledger;
mod limits;
mod member;
mod membership;
mod message;
mod output;
mod plan;
mod report;
mod round;
mod settings;
mod sketch;
mod statement;
mod worker;

pub use event::{Event, Part, Severity};
pub use evidence::Evidence;
pub use keep::{BadKeep, Kept};
pub use keeper::{DirectoryKeeper, Keeper, MemoryKeeper, NoKeeper};
pub use keys::{InvalidKey, PublicKey, SIGNATURE_BYTES, SecretKey, Signature};
pub use lease::{Lease, LeaseError, LocalLease, NoLease, Tenancy, Tenure};
#[cfg(feature = "redis")]
pub use lease::{RedisLease, RedisLeaseSettings};
pub use ledger::{BadLedger, Ledger};
pub use limits::Limits;
pub use member::{Member, MemberCounts, MemberError, Outcome};
pub use membership::{MAX_WORKERS, Membership, MembershipError, WorkerId};
pub use message::{Message, Prepare, Proposal, Proven, Unreadable};
pub use output::{Decided, Isolation, Misuse, Output, Pace, To};
pub use plan::{Order, Plan, Rollback};
pub use report::{Digest, Promise, Report, SignedPromise, hash};
pub use round::Round;
pub use settings::{Settings, SettingsError, Votes};
pub use sketch::Sketch;
pub use statement::{Certificate, Hash, Phase, Signed, Statement};
pub use worker::{Rejected, StartError, Worker};
