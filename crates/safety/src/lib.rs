//! What keeps a seed manager safe in time: a clock that can be swapped, a circuit breaker, and deadlines.
//!
//! Only [`SystemClock`] reads the machine's clocks. [`Breaker`] and [`Deadlines`] are plain state: whoever drives them
//! passes `now` in and acts on what comes back, so hours of timeouts run in a test within a microsecond.
//!
//! ```
//! use std::time::Duration;
//!
//! use kasmina_leyline::{Monotonic, v1::CircuitBreakerState};
//! use kasmina_safety::{Breaker, BreakerSettings, Deadlines};
//!
//! let timeout = Duration::from_secs(30);
//! let mut breaker = Breaker::new(BreakerSettings { failure_threshold: 2, timeout, success_threshold: 1 });
//! let now = Monotonic::ORIGIN;
//!
//! breaker.record_failure(now);
//! let event = breaker.record_failure(now).ok_or("the second failure opens the breaker")?;
//! assert_eq!(event.to, CircuitBreakerState::CircuitStateOpen);
//!
//! let refused = breaker.allow(now).err().ok_or("an open breaker refuses")?;
//! assert_eq!(refused.retry_at, now.after(timeout));
//!
//! // Whoever was refused arms a deadline and tries again when it has passed.
//! let mut deadlines = Deadlines::default();
//! deadlines.arm("retry", refused.retry_at);
//! let later = now.after(timeout);
//! assert_eq!(deadlines.expired(later).count(), 1);
//!
//! assert!(breaker.allow(later).is_ok());
//! breaker.record_success(later);
//! assert_eq!(breaker.state(), CircuitBreakerState::CircuitStateClosed);
//! # Ok::<(), &'static str>(())
//! ```

mod breaker;
mod clock;
mod deadlines;
mod settings;

#[cfg(any(test, feature = "doubles"))]
pub mod doubles;

pub use breaker::{Breaker, BreakerCause, BreakerEvent, BreakerOpen, UnknownState};
pub use clock::{Clock, SystemClock};
pub use deadlines::Deadlines;
pub use settings::BreakerSettings;
