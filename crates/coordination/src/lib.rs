//! Replicas of one growing network in lock-step, although messages are lost, workers die, and some of them lie.
//!
//! The engines of replicas are deterministic. What can differ is which *orders* of the policy each has received when. So
//! before every hundredth step they hold a [round](Round) that agrees on one list of orders and on the step at which
//! every replica applies it. Nothing else is voted on: not a gate, not a move of a seed.
//!
//! A [`Worker`] is one replica's part, without thread, clock or I/O. A [`Member`] is a worker with a bus, a [`Lease`], a
//! clock and a [`Keeper`]: what a trainer's loop calls. Four workers in one process agree on an order:
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use kasmina_coordination::{
//!     Digest, LocalLease, Member, Membership, MemoryKeeper, Order, Outcome, Report, SecretKey, Settings, Worker, WorkerId,
//!     hash, subscription,
//! };
//! use kasmina_leyline::{CommandId, TrainingRunId};
//! use kasmina_oona::{BusSettings, LocalBroker};
//! use kasmina_safety::{Clock, SystemClock};
//!
//! let (run, clock) = (TrainingRunId::new("run-7")?, SystemClock::new());
//! // Each worker has a secret key of its own; the public ones are known to all.
//! let keys: Vec<_> = (1..=4).map(|number| SecretKey::from_seed(&[number; 32])).collect();
//! let members = Arc::new(Membership::new(&run, keys.iter().map(SecretKey::public).collect())?);
//! let broker = LocalBroker::new(BusSettings::default(), clock)?;
//! let ttl = Duration::from_secs(3);
//! let lease = LocalLease::new(ttl, clock);
//!
//! let mut threads = Vec::new();
//! for key in keys {
//!     let worker = Worker::new(Settings::default(), Arc::clone(&members), key)?;
//!     let id = worker.id();
//!     let bus = broker.join(subscription(&run, id))?;
//!     let mut member = Member::new(worker, bus, lease.of(id), MemoryKeeper, clock, ttl);
//!     // One of them has received an order.
//!     let order = Order::new(CommandId::new("cmd-1")?, clock.unix(), b"signed bytes".to_vec());
//!     let report = Report {
//!         digest: Digest { state: hash(b"the engine's bytes"), parameters: hash(b"names and shapes"), sketch: vec![] },
//!         pending: if id == WorkerId(2) { vec![order] } else { vec![] },
//!         checkpoints: vec![],
//!         at: clock.unix(),
//!     };
//!     threads.push(std::thread::spawn(move || member.barrier(100, report)));
//! }
//! for thread in threads {
//!     let outcomes = thread.join().map_err(|_| "a worker panicked")??;
//!     let [Outcome::Decided(decided)] = outcomes.as_slice() else { return Err("nothing was decided".into()) };
//!     assert_eq!(decided.plan.orders[0].id.as_str(), "cmd-1");
//!     assert_eq!(decided.plan.apply_at, 110);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is promised
//!
//! Of `n` workers, `f = (n - 1) / 3` may lie, forget, or be away.
//!
//! - No two honest replicas apply different decisions, or the same ones in another order or at other steps. Every plan
//!   names the decision before it, so a replica that has missed one neither votes nor applies any more.
//! - An order that was decided is applied once, even if a straggler proposes it again: see [`Ledger`].
//! - Nobody has to trust the holder of the lease. Its plan has to follow from the signed promises of a quorum, and what is
//!   decided has the signatures of a quorum: whoever has the public keys can check them. Lease, clocks and bus only
//!   decide whether something is decided, never what.
//! - If too few come, nobody promises anything, and the host trains on. Once faults end, and a quorum of honest workers
//!   and the holder among them can talk, rounds are decided again.
//! - Who lies is told, with both statements as [`Evidence`], and is never expelled.
//!
//! `docs/COORDINATION.md` has the protocol, what is not promised, and what was measured.

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
pub use justify::Unfounded;
pub use keep::{BadKeep, Kept};
pub use keeper::{DirectoryKeeper, Keeper, MemoryKeeper, NoKeeper};
pub use keys::{InvalidKey, PublicKey, SIGNATURE_BYTES, SecretKey, Signature};
pub use lease::{Lease, LeaseError, LocalLease, NoLease, Tenancy, Tenure};
#[cfg(feature = "redis")]
pub use lease::{RedisLease, RedisLeaseSettings};
pub use ledger::{BadLedger, Ledger};
pub use limits::Limits;
pub use member::{Member, MemberCounts, MemberError, Outcome, subscription};
pub use membership::{MAX_WORKERS, Membership, MembershipError, WorkerId};
pub use message::{Message, Prepare, Proposal, Proven, Unreadable};
pub use output::{Decided, Isolation, Misuse, Output, Pace, To, Undecided};
pub use plan::{Order, Plan, Rollback};
pub use report::{Digest, Promise, Report, SignedPromise, hash};
pub use round::Round;
pub use settings::{Settings, SettingsError, Votes};
pub use sketch::Sketch;
pub use statement::{Certificate, Hash, Phase, Signed, Statement};
pub use worker::{Rejected, StartError, Worker};
