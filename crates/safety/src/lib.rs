//! A clock that can be swapped, a circuit breaker that takes time as an argument, and a monitor of kernels that is made of breakers.
//!
//! Only [`SystemClock`] reads the machine's clocks. [`Breaker`] is plain state: the caller passes `now` and acts on the
//! result, so a test runs through hours of timeouts in a microsecond. With the feature `doubles` there is a clock for tests
//! (`doubles::ManualClock`) and the suite `conformance::run` for your own.
//!
//! ```
//! use std::time::Duration;
//!
//! use kasmina_leyline::{Monotonic, v1::CircuitBreakerState};
//! use kasmina_safety::{Breaker, BreakerSettings};
//!
//! let timeout = Duration::from_secs(30);
//! let mut breaker = Breaker::new(BreakerSettings { failure_threshold: 2, timeout, success_threshold: 1, ..BreakerSettings::default() });
//! let now = Monotonic::ORIGIN;
//!
//! breaker.record_failure(now);
//! let event = breaker.record_failure(now).ok_or("the second failure opens the breaker")?;
//! assert_eq!(event.to, CircuitBreakerState::CircuitStateOpen);
//!
//! let refused = breaker.allow(now).err().ok_or("an open breaker refuses")?;
//! assert_eq!(refused.retry_at, now.after(timeout));
//!
//! // A restart keeps what is left of the timeout.
//! let stored = breaker.snapshot(now.after(timeout / 2));
//! let mut breaker = Breaker::resumed(breaker.settings(), stored, now.after(timeout / 2));
//! let later = refused.retry_at;
//! assert!(breaker.allow(later).is_ok());
//! breaker.record_success(later);
//! assert_eq!(breaker.state(), CircuitBreakerState::CircuitStateClosed);
//! # Ok::<(), &'static str>(())
//! ```

mod breaker;
mod clock;
mod compile_monitor;
#[cfg(any(test, feature = "doubles"))]
pub mod conformance;
#[cfg(any(test, feature = "doubles"))]
pub mod doubles;
mod settings;

pub use breaker::{Breaker, BreakerCause, BreakerEvent, BreakerOpen, BreakerSnapshot, UnknownState};
pub use clock::{Clock, SystemClock};
pub use compile_monitor::{CompileMonitor, Execution, KernelPath, Outcome, PathChange, PathReason, Watched};
pub use settings::{BreakerSettings, CompileMonitorSettings};
