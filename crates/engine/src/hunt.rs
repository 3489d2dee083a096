//! The hunt for the seed that makes the loss of the blend misbehave.
//!
//! All seeds in the blend learn from one loss. When its trend would fail G2, that does not say whose fault it is. So nobody is culled
//! yet: in the next step every live seed is probed, and the seed whose contribution on that batch is the most negative is culled, unless
//! its probes so far say that it helps. If
//! the loss is not worse with any seed than without it, by more than rounding explains, the trend is the host's or the data's, and all
//! stay. Either way the windows of losses start anew.

use std::collections::BTreeMap;

use kasmina_leyline::SeedId;
use kasmina_lifecycle::{Finding, GuardedMove, StartGrafting, Verdict};
use serde::{Deserialize, Serialize};

use crate::{decision::Event, draft::Draft, ending::Cause, refusal::Refusal};

/// A hunt that is on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hunt {
    /// What the loss does.
    pub trend: Trend,
    /// What each seed that was probed changes: the loss without it less the loss with it, on one batch.
    pub differences: BTreeMap<SeedId, f32>,
}

/// How the loss of the blend misbehaves. The names are those of G2's refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trend {
    /// It rises.
    Rising,
    /// It swings.
    Oscillating,
}

impl Trend {
    const ALL: [Self; 2] = [Self::Rising, Self::Oscillating];

    /// The machine-readable name, stable across versions.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Rising => "loss_rising",
            Self::Oscillating => "loss_oscillating",
        }
    }

    /// The trend that a gate's refusal is about, if it is about one.
    pub(crate) fn of(verdict: &Verdict) -> Option<Self> {
        Self::ALL.into_iter().find(|trend| trend.reason() == verdict.reason)
    }
}

/// How much worse than without it the loss must be with a seed that is culled, as a share of the loss. Our choice: far above the rounding
/// of two passes, and far below the rise by a half that G2 refuses by default.
const LEAST_SHARE: f32 = 0.01;

/// A seed that has helped so significantly in its stage so far is not culled for one batch. That of G4's default policy.
const SIGNIFICANCE: f64 = 0.05;

impl Draft<'_> {
    /// Remembers that the loss misbehaves. One hunt is on at a time.
    pub(crate) fn begin_hunt(&mut self, id: &SeedId, trend: Trend) {
        if self.run().hunt.is_some() {
            return;
        }
        self.run_mut().hunt = Some(Hunt { trend, differences: BTreeMap::new() });
        self.emit(Event::HuntBegan { seed: id.clone(), reason: trend.reason() });
    }

    /// What a probe showed, if a hunt is on and the seed is live. Next to nothing counts as nothing.
    pub(crate) fn record_in_hunt(&mut self, id: &SeedId, without: f32, difference: f32) {
        let matters = difference.abs() > LEAST_SHARE * without.abs();
        let difference = if matters { difference } else { 0.0 };
        let live = self.seed(id).is_ok_and(|seed| seed.stage.is_live());
        if live
            && self.run().hunt.is_some()
            && let Some(hunt) = &mut self.run_mut().hunt
        {
            hunt.differences.insert(id.clone(), difference);
        }
    }

    /// Ends the hunt that was on in this step, once something has been measured, or nobody is left who could be.
    pub(crate) fn end_hunt(&mut self) -> Result<(), Refusal> {
        let Some(hunt) = self.run().hunt.clone() else { return Ok(()) };
        let live: Vec<_> = self.ids().filter(|id| self.seed(id).is_ok_and(|seed| seed.stage.is_live())).collect();
        if hunt.differences.is_empty() && !live.is_empty() {
            return Ok(());
        }
        // One batch does not outweigh what many have shown.
        let helps = |id: &SeedId| {
            let contribution = self.seed(id).ok().and_then(|seed| seed.stage.contribution());
            contribution.is_some_and(|it| it.mean() > 0.0 && it.is_significant(SIGNIFICANCE))
        };
        let measured = live.iter().filter(|id| !helps(id)).filter_map(|id| Some((*id, *hunt.differences.get(*id)?)));
        let worst =
            measured.filter(|(_, difference)| *difference < 0.0).min_by(|(_, one), (_, other)| one.total_cmp(other));
        self.run_mut().hunt = None;
        for id in &live {
            self.graft_mut(id)?.vitals.losses.clear();
        }
        if let Some((id, difference)) = worst {
            let finding = Finding::refuse(hunt.trend.reason()).with("contribution", difference);
            self.emit(Event::Judged(finding.into_verdict(id, StartGrafting::GATE)));
            self.cull(id, hunt.trend.reason(), Cause::Verdict)?;
        }
        self.emit(Event::HuntEnded { culled: worst.map(|(id, _)| id.clone()) });
        Ok(())
    }
}
