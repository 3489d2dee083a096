//! The machine that a seed's life runs on.

use std::{marker::PhantomData, time::Duration};

use kasmina_leyline::{
    Monotonic, SeedId,
    v1::{
        SeedLifecycleGate,
        SeedLifecycleStage::{self, SeedStageEmbargoed, SeedStageResetting, SeedStageUnknown},
    },
};

use crate::{Gatekeeper, GuardedMove, Subject, Verdict, table};

/// Where one seed stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    seed_id: SeedId,
    stage: SeedLifecycleStage,
    since: Monotonic,
    embargo: Duration,
    /// When the embargo ends, in EMBARGOED.
    embargo_until: Option<Monotonic>,
}

/// A move that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// By which seed.
    pub seed_id: SeedId,
    /// The stage it left.
    pub from: SeedLifecycleStage,
    /// The stage it entered.
    pub to: SeedLifecycleStage,
    /// The gate that let it pass.
    pub gate: Option<SeedLifecycleGate>,
    /// When.
    pub at: Monotonic,
}

/// Why a move was not made. The seed is where it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IllegalTransition {
    /// The table has no such move.
    #[error("{seed_id} cannot go from {} to {}", .from.as_str_name(), .to.as_str_name())]
    NotInTable {
        /// Which seed.
        seed_id: SeedId,
        /// Where it stands.
        from: SeedLifecycleStage,
        /// Where it should have gone.
        to: SeedLifecycleStage,
    },
    /// The move needs a gate's verdict: use [`Lifecycle::approach`].
    #[error("{seed_id} goes from {} to {} only past {}", .from.as_str_name(), .to.as_str_name(), .gate.as_str_name())]
    Guarded {
        /// Which seed.
        seed_id: SeedId,
        /// Where it stands.
        from: SeedLifecycleStage,
        /// Where it should have gone.
        to: SeedLifecycleStage,
        /// The gate on the way.
        gate: SeedLifecycleGate,
    },
    /// The embargo has not run out.
    #[error("{seed_id} is embargoed for another {:?}", .until.since(*.now))]
    Embargoed {
        /// Which seed.
        seed_id: SeedId,
        /// When it was asked to move.
        now: Monotonic,
        /// When the embargo ends.
        until: Monotonic,
    },
}

impl IllegalTransition {
    /// The machine-readable name.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotInTable { .. } => "illegal_transition",
            Self::Guarded { .. } => "gate_required",
            Self::Embargoed { .. } => "embargoed",
        }
    }
}

impl Lifecycle {
    /// A seed in UNKNOWN that will be embargoed for `embargo` after each cull.
    #[must_use]
    pub const fn new(seed_id: SeedId, embargo: Duration) -> Self {
        Self { seed_id, stage: SeedStageUnknown, since: Monotonic::ORIGIN, embargo, embargo_until: None }
    }

    /// A seed that comes back after a restart in the stage that had been acknowledged, entered `now` by a clock that has begun
    /// anew. An embargo ends `embargo_left` from now, where that is known, and in full otherwise.
    ///
    /// This passes every gate by: it is for what a journal says, and for nothing else.
    #[must_use]
    pub fn resumed(
        seed_id: SeedId,
        stage: SeedLifecycleStage,
        embargo: Duration,
        embargo_left: Option<Duration>,
        now: Monotonic,
    ) -> Self {
        let left = embargo_left.map_or(embargo, |left| left.min(embargo));
        let embargo_until = (stage == SeedStageEmbargoed).then(|| now.after(left));
        Self { seed_id, stage, since: now, embargo, embargo_until }
    }

    /// Whose life it is.
    #[must_use]
    pub const fn seed_id(&self) -> &SeedId {
        &self.seed_id
    }

    /// The stage the seed is in.
    #[must_use]
    pub const fn stage(&self) -> SeedLifecycleStage {
        self.stage
    }

    /// When it entered that stage; the clock's origin for UNKNOWN.
    #[must_use]
    pub const fn since(&self) -> Monotonic {
        self.since
    }

    /// When the embargo ends, for a seed in EMBARGOED.
    #[must_use]
    pub const fn embargo_until(&self) -> Option<Monotonic> {
        self.embargo_until
    }

    /// What a gate sees of the seed.
    #[must_use]
    pub const fn subject(&self) -> Subject<'_> {
        Subject { seed_id: &self.seed_id, stage: self.stage }
    }

    /// Makes a move that no gate guards.
    ///
    /// # Errors
    /// [`IllegalTransition`]; the seed stays where it is.
    pub fn advance(&mut self, to: SeedLifecycleStage, now: Monotonic) -> Result<Transition, IllegalTransition> {
        let (from, seed_id) = (self.stage, &self.seed_id);
        let entry = table::find(from, to).ok_or_else(|| IllegalTransition::NotInTable {
            seed_id: seed_id.clone(),
            from,
            to,
        })?;
        if let Some(gate) = entry.gate {
            return Err(IllegalTransition::Guarded { seed_id: seed_id.clone(), from, to, gate });
        }
        if let (SeedStageResetting, Some(until)) = (to, self.embargo_until().filter(|until| now < *until)) {
            return Err(IllegalTransition::Embargoed { seed_id: seed_id.clone(), now, until });
        }
        Ok(self.enter(to, None, now))
    }

    /// Brings the seed before the gate of the move `M`.
    ///
    /// # Errors
    /// [`IllegalTransition::NotInTable`] where the seed is not in the stage that `M` leaves.
    pub fn approach<M: GuardedMove>(&mut self) -> Result<Approach<'_, M>, IllegalTransition> {
        if self.stage == M::FROM {
            return Ok(Approach { seed: self, guarded_move: PhantomData });
        }
        Err(IllegalTransition::NotInTable { seed_id: self.seed_id.clone(), from: self.stage, to: M::TO })
    }

    fn enter(&mut self, to: SeedLifecycleStage, gate: Option<SeedLifecycleGate>, at: Monotonic) -> Transition {
        let from = self.stage;
        (self.stage, self.since) = (to, at);
        self.embargo_until = (to == SeedStageEmbargoed).then(|| at.after(self.embargo));
        Transition { seed_id: self.seed_id.clone(), from, to, gate, at }
    }
}

/// A seed before the gate of the move `M`, which alone can be made from here.
#[derive(Debug)]
#[must_use]
pub struct Approach<'a, M: GuardedMove> {
    seed: &'a mut Lifecycle,
    guarded_move: PhantomData<M>,
}

impl<M: GuardedMove> Approach<'_, M> {
    /// Lets `keeper` judge and, where it finds nothing against it, makes the move.
    ///
    /// # Errors
    /// The verdict that refuses; the seed stays where it is.
    pub fn judge<G: Gatekeeper<M>>(
        self,
        keeper: &G,
        evidence: &G::Evidence,
        now: Monotonic,
    ) -> Result<(Transition, Verdict), Verdict> {
        let verdict = keeper.judge(&self.seed.subject(), evidence).into_verdict(&self.seed.seed_id, M::GATE);
        if verdict.passed { Ok((self.seed.enter(M::TO, Some(M::GATE), now), verdict)) } else { Err(verdict) }
    }
}
