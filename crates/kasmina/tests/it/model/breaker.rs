//! A breaker as it should be.

use std::time::Duration;

use kasmina::leyline::{
    Monotonic,
    v1::CircuitBreakerState::{self, CircuitStateClosed, CircuitStateHalfOpen, CircuitStateOpen, CircuitStateUnknown},
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Breaker {
    Closed(u32),
    Open(Monotonic),
    HalfOpen(u32),
}

impl Breaker {
    pub const TIMEOUT: Duration = Duration::from_secs(30);

    /// `None` while it is open; else what it tells.
    pub fn allow(&mut self, now: Monotonic) -> Option<Option<&'static str>> {
        match *self {
            Self::Open(until) if now < until => None,
            Self::Open(_) => {
                *self = Self::HalfOpen(0);
                Some(Some("breaker_half_open"))
            }
            Self::Closed(_) | Self::HalfOpen(_) => Some(None),
        }
    }

    pub fn succeed(&mut self) -> Option<&'static str> {
        let (next, event) = match *self {
            Self::Closed(_) => (Self::Closed(0), None),
            Self::Open(until) => (Self::Open(until), None),
            Self::HalfOpen(0) => (Self::HalfOpen(1), Some("breaker_half_open")),
            Self::HalfOpen(_) => (Self::Closed(0), Some("breaker_closed")),
        };
        *self = next;
        event
    }

    pub fn fail(&mut self, now: Monotonic) -> Option<&'static str> {
        let open = (Self::Open(now.after(Self::TIMEOUT)), Some("breaker_open"));
        let (next, event) = match *self {
            Self::Closed(failures) if failures < 2 => (Self::Closed(failures + 1), None),
            Self::Closed(_) | Self::HalfOpen(_) => open,
            Self::Open(until) => (Self::Open(until), None),
        };
        *self = next;
        event
    }

    pub fn force(&mut self, state: CircuitBreakerState, now: Monotonic) -> Option<&'static str> {
        let (next, event) = match state {
            CircuitStateUnknown => return None,
            CircuitStateClosed => (Self::Closed(0), "breaker_closed"),
            CircuitStateOpen => (Self::Open(now.after(Self::TIMEOUT)), "breaker_open"),
            CircuitStateHalfOpen => (Self::HalfOpen(0), "breaker_half_open"),
        };
        *self = next;
        Some(event)
    }

    /// What is left of it when the process has died: its state, anew.
    pub fn restarted(self, now: Monotonic) -> Self {
        match self {
            Self::Closed(_) => Self::Closed(0),
            Self::Open(_) => Self::Open(now.after(Self::TIMEOUT)),
            Self::HalfOpen(_) => Self::HalfOpen(0),
        }
    }
}
