//! How the system does, whatever happens to be in a packet.

use kasmina_leyline::v1::HealthStatus;

/// The state of the system between events: [`Reporter::set_health`](crate::Reporter::set_health). It lasts until it is set again.
///
/// A packet's `system_health.status` is the worse of this and of what its gravest event says. So a breaker that stands open is
/// UNHEALTHY in every packet, also in those without an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Nothing is wrong.
    #[default]
    Healthy,
    /// It works, but not as it should: a latency budget is broken. The text says which, for a reader.
    Degraded(String),
    /// A protection has tripped: a breaker is open, or isolation violations count. The text says which, for a reader.
    Unhealthy(String),
}

impl Health {
    /// The status in the contract.
    #[must_use]
    pub const fn status(&self) -> HealthStatus {
        match self {
            Self::Healthy => HealthStatus::Healthy,
            Self::Degraded(_) => HealthStatus::Degraded,
            Self::Unhealthy(_) => HealthStatus::Unhealthy,
        }
    }

    /// What is wrong; empty if nothing is.
    #[must_use]
    pub fn cause(&self) -> &str {
        match self {
            Self::Healthy => "",
            Self::Degraded(cause) | Self::Unhealthy(cause) => cause,
        }
    }
}
