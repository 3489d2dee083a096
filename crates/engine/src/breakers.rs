//! The breakers. They are used through a draft, so that every change of state is an event.

use kasmina_commands::BreakerName;
use kasmina_leyline::v1::CircuitBreakerState::{self, CircuitStateOpen};

use crate::{decision::Event, draft::Draft, refusal::Refusal};

impl Draft<'_> {
    /// Whether the breaker lets an operation through. One whose time-out is over admits trials from now on.
    pub(crate) fn breaker_allows(&mut self, breaker: BreakerName) -> Result<(), Refusal> {
        let mut asked = self.run().breakers.get(breaker).clone();
        match asked.allow(self.now) {
            Ok(None) => Ok(()),
            Ok(Some(event)) => {
                *self.run_mut().breakers.get_mut(breaker) = asked;
                self.emit(Event::Breaker(breaker, event));
                Ok(())
            }
            Err(_) => Err(Refusal::BreakerOpen { breaker }),
        }
    }

    pub(crate) fn breaker_succeeded(&mut self, breaker: BreakerName) {
        self.breaker_saw(breaker, false);
    }

    pub(crate) fn breaker_failed(&mut self, breaker: BreakerName) {
        self.breaker_saw(breaker, true);
    }

    /// Records an outcome. What changes nothing leaves no trace in the decision.
    pub(crate) fn breaker_saw(&mut self, breaker: BreakerName, failed: bool) {
        let before = self.run().breakers.get(breaker);
        let mut after = before.clone();
        let event = if failed { after.record_failure(self.now) } else { after.record_success(self.now) };
        if after != *before {
            *self.run_mut().breakers.get_mut(breaker) = after;
        }
        event.into_iter().for_each(|event| self.emit(Event::Breaker(breaker, event)));
    }

    pub(crate) fn breaker_is_open(&self, breaker: BreakerName) -> bool {
        self.run().breakers.get(breaker).state() == CircuitStateOpen
    }

    pub(crate) fn force_breaker(&mut self, breaker: BreakerName, state: CircuitBreakerState) -> Result<(), Refusal> {
        let mut forced = self.run().breakers.get(breaker).clone();
        let malformed = |error: kasmina_safety::UnknownState| Refusal::Malformed {
            field: "circuit_breaker.desired_state",
            cause: error.to_string(),
        };
        let event = forced.force(state, self.now).map_err(malformed)?;
        *self.run_mut().breakers.get_mut(breaker) = forced;
        self.emit(Event::Breaker(breaker, event));
        Ok(())
    }
}
