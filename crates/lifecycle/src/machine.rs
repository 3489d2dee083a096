//! The state machine of one seed.

use std::{marker::PhantomData, time::Duration};

use kasmina_leyline::{
    Monotonic, SeedId,
    v1::{
        SeedLifecycleGate,
        SeedLifecycleStage::{self, SeedStageEmbargoed, SeedStageResetting, SeedStageUnknown},
    },
};

use serde::{Deserialize, Serialize};

use crate::{Gatekeeper, GuardedMove, Subject, Verdict, stored, table};

/// The stage of one seed, and how long it is embargoed. A clone copies a pointer and four words.
///
/// To store it, keep [`seed_id`](Self::seed_id), [`stage`](Self::stage) and [`embargo_left`](Self::embargo_left):
/// [`resumed`](Self::resumed) takes them back on a clock that has started again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    seed_id: SeedId,
    stage: SeedLifecycleStage,
    embargo: Duration,
    /// When the embargo ends, in EMBARGOED.
    embargo_until: Option<Monotonic>,
}

/// A move that was made.
///
/// Serialized, stages and gate are their numbers in the contract and `at` is in nanoseconds of the clock that was injected:
/// it cannot be compared with the clock of another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Transition {
    #[serde(with = "stored::seed_id")]
    pub seed_id: SeedId,
    #[serde(with = "stored::number")]
    pub from: SeedLifecycleStage,
    #[serde(with = "stored::number")]
    pub to: SeedLifecycleStage,
    /// The gate that let the seed pass; `None` for a move that no gate guards.
    #[serde(with = "stored::optional_number")]
    pub gate: Option<SeedLifecycleGate>,
    #[serde(with = "stored::nanos")]
    pub at: Monotonic,
}

/// Why a move was not made. The seed stays in its stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say it")]
pub enum IllegalTransition {
    /// The table has no such move.
    #[strum(serialize = "illegal_transition")]
    #[error("{seed_id} cannot go from {} to {}", .from.as_str_name(), .to.as_str_name())]
    NotInTable {
        #[serde(with = "stored::seed_id")]
        seed_id: SeedId,
        #[serde(with = "stored::number")]
        from: SeedLifecycleStage,
        #[serde(with = "stored::number")]
        to: SeedLifecycleStage,
    },
    /// The move needs a gate's verdict: use [`Lifecycle::approach`].
    #[strum(serialize = "gate_required")]
    #[error("{seed_id} goes from {} to {} only past {}", .from.as_str_name(), .to.as_str_name(), .gate.as_str_name())]
    Guarded {
        #[serde(with = "stored::seed_id")]
        seed_id: SeedId,
        #[serde(with = "stored::number")]
        from: SeedLifecycleStage,
        #[serde(with = "stored::number")]
        to: SeedLifecycleStage,
        #[serde(with = "stored::number")]
        gate: SeedLifecycleGate,
    },
    /// The gate has let another seed pass.
    #[strum(serialize = "grant_of_another_seed")]
    #[error("{seed_id} cannot use what was granted to {granted}")]
    OtherSeed {
        #[serde(with = "stored::seed_id")]
        seed_id: SeedId,
        #[serde(with = "stored::seed_id")]
        granted: SeedId,
    },
    /// The embargo has not run out.
    #[strum(serialize = "embargoed")]
    #[error("{seed_id} is embargoed for another {:?}", .until.since(*.now))]
    Embargoed {
        #[serde(with = "stored::seed_id")]
        seed_id: SeedId,
        /// When the move was asked for.
        #[serde(with = "stored::nanos")]
        now: Monotonic,
        /// When the embargo ends.
        #[serde(with = "stored::nanos")]
        until: Monotonic,
    },
}

impl IllegalTransition {
    /// The machine-readable name, stable across versions.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.into()
    }
}

impl Lifecycle {
    /// A seed in UNKNOWN that will be embargoed for `embargo` after each cull.
    #[must_use]
    pub const fn new(seed_id: SeedId, embargo: Duration) -> Self {
        Self { seed_id, stage: SeedStageUnknown, embargo, embargo_until: None }
    }

    /// Restores a seed after a restart, in the stage that had been acknowledged. `now` is a reading of the new clock. An
    /// embargo ends `embargo_left` from now, or a whole `embargo` from now if that is not known or longer.
    ///
    /// This bypasses every gate. Use it only for what a journal holds.
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
        Self { seed_id, stage, embargo, embargo_until }
    }

    #[allow(missing_docs, reason = "the name says it")]
    #[must_use]
    pub const fn seed_id(&self) -> &SeedId {
        &self.seed_id
    }

    #[allow(missing_docs, reason = "the name says it")]
    #[must_use]
    pub const fn stage(&self) -> SeedLifecycleStage {
        self.stage
    }

    /// When the embargo ends, for a seed in EMBARGOED.
    #[must_use]
    pub const fn embargo_until(&self) -> Option<Monotonic> {
        self.embargo_until
    }

    /// How much of the embargo is left at `now`, for a seed in EMBARGOED; zero when it has run out.
    #[must_use]
    pub fn embargo_left(&self, now: Monotonic) -> Option<Duration> {
        self.embargo_until.map(|until| until.since(now))
    }

    /// What a gatekeeper sees of the seed.
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
    /// [`IllegalTransition::NotInTable`] if the seed is not in the stage that `M` leaves.
    pub fn approach<M: GuardedMove>(&mut self) -> Result<Approach<'_, M>, IllegalTransition> {
        if self.stage == M::FROM {
            return Ok(Approach { seed: self, guarded_move: PhantomData });
        }
        Err(IllegalTransition::NotInTable { seed_id: self.seed_id.clone(), from: self.stage, to: M::TO })
    }

    /// Makes a move that its gate has [granted](Approach::grant).
    ///
    /// # Errors
    /// [`IllegalTransition::OtherSeed`] if it was granted to another seed; [`IllegalTransition::NotInTable`] if the seed is not in the
    /// stage that `M` leaves. It stays where it is.
    pub fn complete<M: GuardedMove>(
        &mut self,
        grant: Grant<M>,
        now: Monotonic,
    ) -> Result<Transition, IllegalTransition> {
        if grant.seed_id != self.seed_id {
            return Err(IllegalTransition::OtherSeed { seed_id: self.seed_id.clone(), granted: grant.seed_id });
        }
        let _ = self.approach::<M>()?;
        Ok(self.enter(M::TO, Some(M::GATE), now))
    }

    fn enter(&mut self, to: SeedLifecycleStage, gate: Option<SeedLifecycleGate>, at: Monotonic) -> Transition {
        let from = self.stage;
        self.stage = to;
        self.embargo_until = (to == SeedStageEmbargoed).then(|| at.after(self.embargo));
        Transition { seed_id: self.seed_id.clone(), from, to, gate, at }
    }
}

/// A seed before the gate of the move `M`. No other move can be made from here.
#[derive(Debug)]
#[must_use]
pub struct Approach<'a, M: GuardedMove> {
    seed: &'a mut Lifecycle,
    guarded_move: PhantomData<M>,
}

impl<M: GuardedMove> Approach<'_, M> {
    /// Lets `keeper` judge, and makes the move if it passes.
    ///
    /// # Errors
    /// The verdict that refuses or postpones; the seed stays where it is.
    #[expect(
        clippy::result_large_err,
        reason = "a verdict lies in place, so that a gate that passes allocates nothing"
    )]
    pub fn judge<G: Gatekeeper<M> + ?Sized>(
        self,
        keeper: &G,
        evidence: &G::Evidence,
        now: Monotonic,
    ) -> Result<(Transition, Verdict), Verdict> {
        let verdict = keeper.judge(&self.seed.subject(), evidence).into_verdict(&self.seed.seed_id, M::GATE);
        if verdict.passed() { Ok((self.seed.enter(M::TO, Some(M::GATE), now), verdict)) } else { Err(verdict) }
    }

    /// Lets `keeper` judge. If it passes, the move can be made later: [`Lifecycle::complete`]. The seed stays where it is.
    ///
    /// # Errors
    /// The verdict that refuses or postpones.
    #[expect(
        clippy::result_large_err,
        reason = "a verdict lies in place, so that a gate that passes allocates nothing"
    )]
    pub fn grant<G: Gatekeeper<M> + ?Sized>(
        self,
        keeper: &G,
        evidence: &G::Evidence,
    ) -> Result<(Grant<M>, Verdict), Verdict> {
        let verdict = keeper.judge(&self.seed.subject(), evidence).into_verdict(&self.seed.seed_id, M::GATE);
        if verdict.passed() { Ok((Grant::resumed(self.seed.seed_id.clone()), verdict)) } else { Err(verdict) }
    }
}

/// What a gate gives a seed that it lets pass, for a move that takes effect later. It is used up by the move.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Grant<M: GuardedMove> {
    seed_id: SeedId,
    guarded_move: PhantomData<M>,
}

impl<M: GuardedMove> Grant<M> {
    /// Restores what was granted to the seed.
    ///
    /// This bypasses the gate. Use it only for what a journal holds.
    pub const fn resumed(seed_id: SeedId) -> Self {
        Self { seed_id, guarded_move: PhantomData }
    }
}
