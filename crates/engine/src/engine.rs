//! The door: what an input needs to be decided, what follows from it, and making that so.

use std::fmt;

use kasmina_gates::Gatekeepers;
use kasmina_leyline::Monotonic;
use smallvec::SmallVec;

use crate::{
    decision::Decision,
    draft::Draft,
    input::{Facts, Input, Want},
    overlay::{Keepers, Overlay},
    settings::EngineSettings,
    state::{Breakers, Delta, State},
};

/// Decides. It knows every seed, holds no tensor, reads no clock and touches no file.
///
/// The way through it has three steps. [`wants`](Self::wants) names the facts that only the shell can measure;
/// [`decide`](Self::decide) is pure; [`commit`](Self::commit) makes what was decided so. Several inputs that shall happen together
/// or not at all go through an [`Overlay`].
pub struct Engine {
    settings: EngineSettings,
    keepers: Box<Keepers>,
    state: State,
}

impl Engine {
    /// The engine of a run that begins.
    #[must_use]
    pub fn new(settings: EngineSettings, keepers: impl Gatekeepers + Send + Sync + 'static) -> Self {
        let mut state = State::default();
        state.run.breakers = Breakers::new(settings.breakers());
        Self { settings, keepers: Box::new(keepers), state }
    }

    /// Goes on from a state that another process left at `then` of its own monotonic clock; this one's reads `now`.
    pub fn restore(&mut self, state: State, then: Monotonic, now: Monotonic) {
        self.state = state.rebase(then, now, self.settings.breakers());
    }

    /// What is known.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// What it was made with.
    #[must_use]
    pub const fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// The facts that deciding this input needs.
    #[must_use]
    pub fn wants(&self, input: &Input, now: Monotonic) -> SmallVec<[Want; 4]> {
        self.overlay().wants(input, now)
    }

    /// What follows from this input. Nothing changes.
    #[must_use]
    pub fn decide(&self, input: Input, facts: &Facts, now: Monotonic) -> Decision {
        self.overlay().decide(input, facts, now)
    }

    /// Makes a change that was decided on this state.
    pub fn commit(&mut self, delta: Delta) {
        self.state.apply(delta);
    }

    /// A place to decide several inputs, each on top of those before it.
    #[must_use]
    pub fn overlay(&self) -> Overlay<'_> {
        self.overlay_on(Delta::default())
    }

    /// An overlay on which `delta` has been adopted: one that was taken apart to do something else in between.
    #[must_use]
    pub fn overlay_on(&self, delta: Delta) -> Overlay<'_> {
        Overlay::new(&self.settings, &*self.keepers, &self.state, delta)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("settings", &self.settings).field("state", &self.state).finish_non_exhaustive()
    }
}

impl Overlay<'_> {
    /// What follows from this input, on top of what was adopted so far. Nothing changes.
    #[must_use]
    pub fn decide(&self, input: Input, facts: &Facts, now: Monotonic) -> Decision {
        let mut draft = Draft::new(self, facts, now);
        let answer = draft.handle(input);
        draft.finish(answer)
    }
}
