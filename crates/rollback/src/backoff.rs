//! When to try again.

use std::time::Duration;

use kasmina_leyline::Monotonic;

use crate::StoreError;

/// Doubles the wait between attempts while they fail. Time comes in as an argument.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failing: Option<Failing>,
}

#[derive(Clone, Debug)]
struct Failing {
    cause: &'static str,
    wait: Duration,
    until: Monotonic,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failing: None }
    }

    /// Whether an attempt may be made.
    pub(crate) fn ready(&self, now: Monotonic) -> Result<(), StoreError> {
        match &self.failing {
            Some(failing) if now < failing.until => {
                Err(StoreError::BackingOff { cause: failing.cause, wait: failing.until.since(now) })
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) fn failed(&mut self, cause: &'static str, now: Monotonic) {
        let wait = self.failing.as_ref().map_or(self.first, |failing| failing.wait.saturating_mul(2).min(self.longest));
        self.failing = Some(Failing { cause, wait, until: now.after(wait) });
    }

    pub(crate) fn succeeded(&mut self) {
        self.failing = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_doubles_to_the_cap_and_starts_anew_after_success() {
        let (mut backoff, mut now) = (Backoff::new(Duration::from_secs(1), Duration::from_secs(5)), Monotonic::ORIGIN);
        for seconds in [1, 2, 4, 5, 5] {
            assert_eq!(backoff.ready(now), Ok(()));
            backoff.failed("disk_full", now);
            let wait = Duration::from_secs(seconds);
            assert_eq!(backoff.ready(now), Err(StoreError::BackingOff { cause: "disk_full", wait }));
            now = now.after(wait);
        }
        backoff.succeeded();
        backoff.failed("io", now);
        assert_eq!(backoff.ready(now.after(Duration::from_secs(1))), Ok(()));
    }
}
