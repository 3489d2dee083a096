//! The life of a seed: eleven stages, the moves between them, and the gates on the way.
//!
//! [`TABLE`] lists every move and the gate that guards it. [`Lifecycle::advance`] makes a move without a gate. A guarded
//! move is one of the [move types](GuardedMove), and the only way to make it is to let a [`Gatekeeper`] judge *this* seed
//! for *this* move: [`Approach::judge`] asks for the finding, records the verdict and moves the seed in one call that
//! borrows the seed exclusively. A verdict on another seed or of another gate cannot be used. A move that takes effect later
//! than its verdict is granted first ([`Approach::grant`]) and made with the [`Grant`], once.
//!
//! A gate has three answers ([`Outcome`]). It passes; it refuses, because the evidence speaks against the seed; or it postpones,
//! because too little is known or what is wrong is not the seed's fault. A refusal and a postponement leave the seed where it is.
//! What follows from a refusal (a cull, as a rule) is the caller's to decide; nothing follows from a postponement.
//!
//! ```
//! use std::time::Duration;
//!
//! use kasmina_leyline::{Monotonic, SeedId, v1::SeedLifecycleStage};
//! use kasmina_lifecycle::{Finding, Gatekeeper, Germinate, Lifecycle, Subject};
//!
//! struct Budget(u64);
//!
//! impl Gatekeeper<Germinate> for Budget {
//!     type Evidence = u64;
//!     fn judge(&self, _: &Subject<'_>, wanted: &u64) -> Finding {
//!         if *wanted <= self.0 { Finding::pass() } else { Finding::refuse("over_budget").with("wanted", wanted) }
//!     }
//! }
//!
//! let now = Monotonic::ORIGIN;
//! let mut seed = Lifecycle::new(SeedId::new("seed-1")?, Duration::from_secs(30));
//! seed.advance(SeedLifecycleStage::SeedStageDormant, now)?;
//!
//! let refused = seed.approach::<Germinate>()?.judge(&Budget(10), &20, now);
//! assert!(refused.is_err_and(|verdict| verdict.reason == "over_budget"));
//! assert_eq!(seed.stage(), SeedLifecycleStage::SeedStageDormant);
//!
//! let passed = seed.approach::<Germinate>()?.judge(&Budget(10), &5, now);
//! assert!(passed.is_ok());
//! assert_eq!(seed.stage(), SeedLifecycleStage::SeedStageGerminated);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A gatekeeper for one move cannot judge another:
//!
//! ```compile_fail,E0277
//! # use kasmina_leyline::Monotonic;
//! # use kasmina_lifecycle::{Finding, Fossilize, Gatekeeper, Germinate, Lifecycle, Subject};
//! # struct Lenient;
//! # impl Gatekeeper<Germinate> for Lenient {
//! #     type Evidence = ();
//! #     fn judge(&self, _: &Subject<'_>, (): &()) -> Finding { Finding::pass() }
//! # }
//! # fn grow(mut seed: Lifecycle) -> Result<(), Box<dyn std::error::Error>> {
//! seed.approach::<Fossilize>()?.judge(&Lenient, &(), Monotonic::ORIGIN);
//! # Ok(())
//! # }
//! ```

mod attributes;
mod gatekeeper;
mod machine;
mod moves;
mod stored;
mod table;
mod verdict;

pub use attributes::Attributes;
pub use gatekeeper::{Gatekeeper, Subject};
pub use machine::{Approach, Grant, IllegalTransition, Lifecycle, Transition};
pub use moves::{Evaluate, Fossilize, Germinate, GuardedMove, Reset, Stabilize, StartGrafting, StartTraining};
pub use table::{Move, TABLE};
pub use verdict::{Finding, Outcome, Verdict};
