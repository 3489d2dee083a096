//! Where the networks grow, and when: one seed after another.
//!
//! 1. **Scout.** A seed germinates at every slot that has fewer than `fossils_per_slot` fossils, if there is one within the budget. They learn
//!    behind the host for some steps.
//! 2. **Choose.** The one with the largest gradient, as a share of the host's, is grafted: there the loss asks most for a change. The
//!    others are culled.
//! 3. **Grow.** It is put before each gate as soon as it can pass. If a gate postpones for too long, it is culled.
//! 4. **Stop** when the last seeds have lowered the loss by less than a threshold, when the budget is used up, or when too little of the
//!    run is left for a new seed to learn with the host.

use std::collections::{BTreeMap, BTreeSet};

use kasmina::{
    blending::{AlphaSchedule, BlendConfig},
    commands::Order,
    engine::{
        Observation, Policy, Seed, State,
        seed::{Graft, Probation, Stage},
    },
    leyline::{BlueprintId, SeedId},
};
use serde::{Deserialize, Serialize};

/// When the policy does what. Steps are of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Rules {
    /// The first seeds germinate after so many steps.
    pub(super) first_step: u64,
    /// And none after this one.
    pub(super) last_step: u64,
    /// Steps for which seeds are compared before one of them is grafted.
    pub(super) scout_steps: u64,
    /// Steps from alpha 0 to alpha 1, and all steps of BLENDING: after the rise of alpha, a seed learns what it is to do at full strength.
    pub(super) alpha_steps: u64,
    pub(super) blend_steps: u64,
    /// Steps in SHADOWING and in PROBATIONARY before their gate is asked.
    pub(super) shadowing_steps: u64,
    pub(super) probation_steps: u64,
    /// Steps in one stage after which a seed that has not moved on is culled.
    pub(super) patience: u64,
    /// Growth is over when each of the last `weak_seeds` seeds has lowered the loss by less than this share of it.
    pub(super) least_contribution: f64,
    pub(super) weak_seeds: usize,
    /// The most seeds that become part of one slot.
    pub(super) fossils_per_slot: usize,
    /// The most parameters of all fossils.
    pub(super) budget: u64,
}

/// A seed that may germinate. It must be registered. Those of a slot germinate in the order in which they are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) seed: SeedId,
    pub(super) slot: &'static str,
    pub(super) blueprint: BlueprintId,
    pub(super) parameters: u64,
}

/// What became of a seed that was chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Grown {
    pub(super) seed: String,
    /// The mean of its gradient norm over the host's while it was compared with others.
    pub(super) gradient_ratio: f64,
    /// Those of the others, by seed.
    pub(super) others: BTreeMap<String, f64>,
    /// The share by which it lowered the loss on probation; 0 for a seed that did not come so far.
    pub(super) contribution: f64,
    /// The step after which it was part of the network, if it ever was.
    pub(super) fossilised: Option<u64>,
    /// Why it was taken out, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) culled: Option<String>,
}

/// The policy. What it has done so far is in `history`.
#[derive(Debug)]
pub(super) struct GrowWhereItPulls {
    rules: Rules,
    candidates: Vec<Candidate>,
    /// Sums and counts of gradient ratios, by seed.
    ratios: BTreeMap<SeedId, (f64, u32)>,
    /// The seed that was chosen and is neither part of the host nor gone.
    chosen: Option<SeedId>,
    pub(super) history: Vec<Grown>,
}

impl Policy for GrowWhereItPulls {
    fn orders(&mut self, seen: &Observation<'_>) -> Vec<Order> {
        let state = seen.state;
        if let Some(chosen) = self.chosen.clone() {
            if let Some(order) = self.advance(&chosen, state) {
                return vec![order];
            }
            if self.chosen.is_some() {
                return Vec::new();
            }
        }
        let scouts: Vec<&Seed> = state.seeds.values().filter(|seed| is_scout(seed)).collect();
        if !scouts.is_empty() {
            return self.choose(&scouts, state.run.host_gradient_norm);
        }
        if self.is_over(state) { Vec::new() } else { self.scout(state) }
    }
}

impl GrowWhereItPulls {
    pub(super) const fn new(rules: Rules, candidates: Vec<Candidate>) -> Self {
        Self { rules, candidates, ratios: BTreeMap::new(), chosen: None, history: Vec::new() }
    }

    fn is_over(&self, state: &State) -> bool {
        let Rules { first_step, last_step, weak_seeds, least_contribution, .. } = self.rules;
        let weak = self.history.iter().rev().take_while(|grown| grown.contribution < least_contribution).count();
        !(first_step..=last_step).contains(&state.run.step) || weak >= weak_seeds
    }

    /// One seed for each slot, if it is within the budget.
    fn scout(&mut self, state: &State) -> Vec<Order> {
        let fossil = |candidate: &&Candidate| state.run.fossils.contains(&candidate.seed);
        let fossils: Vec<_> = self.candidates.iter().filter(fossil).collect();
        let used: u64 = fossils.iter().map(|candidate| candidate.parameters).sum();
        let is_full = |slot| fossils.iter().filter(|it| it.slot == slot).count() >= self.rules.fossils_per_slot;
        let mut slots: BTreeSet<_> = self.candidates.iter().map(|it| it.slot).filter(|slot| is_full(*slot)).collect();
        self.ratios.clear();
        let fresh = self.candidates.iter().filter(|it| state.seeds.get(&it.seed).is_some_and(|seed| seed.lives == 0));
        let next = fresh.filter(|it| slots.insert(it.slot) && used + it.parameters <= self.rules.budget);
        let germinate = |it: &Candidate| Order::Germinate {
            seed: it.seed.clone(),
            blueprint: it.blueprint.clone(),
            tier: None,
            parameters: BTreeMap::new(),
            lr_scale: 1.0,
        };
        next.map(germinate).collect()
    }

    /// Compares the seeds in TRAINING, and after some steps grafts one and culls the others.
    fn choose(&mut self, scouts: &[&Seed], host: Option<f32>) -> Vec<Order> {
        for (seed, graft) in scouts.iter().filter_map(|seed| Some((&seed.id, seed.stage.graft()?))) {
            let ratio = graft.vitals.gradient_norm.zip(host).map(|(norm, host)| f64::from(norm / host));
            if let Some(ratio) = ratio.filter(|ratio| ratio.is_finite()) {
                let (sum, count) = self.ratios.entry(seed.clone()).or_default();
                (*sum, *count) = (*sum + ratio, *count + 1);
            }
        }
        let steps = |seed: &Seed| seed.stage.graft().map_or(0, |graft| graft.vitals.steps);
        if scouts.iter().any(|seed| steps(seed) < self.rules.scout_steps) {
            return Vec::new();
        }
        let ratio = |seed: &SeedId| self.ratios.get(seed).map_or(0.0, |(sum, count)| sum / f64::from(*count));
        let best = scouts.iter().max_by(|one, other| ratio(&one.id).total_cmp(&ratio(&other.id)));
        let Some(best) = best.map(|best| best.id.clone()) else { return Vec::new() };
        let others: Vec<&SeedId> = scouts.iter().map(|seed| &seed.id).filter(|seed| **seed != best).collect();
        let grown = Grown {
            seed: best.to_string(),
            gradient_ratio: ratio(&best),
            others: others.iter().map(|seed| (seed.to_string(), ratio(seed))).collect(),
            contribution: 0.0,
            fossilised: None,
            culled: None,
        };
        let cull = others.into_iter().map(|seed| Order::Cull { seed: seed.clone(), blend_out_steps: 0 });
        let orders = cull.chain([self.graft(best.clone())]).collect();
        self.history.push(grown);
        self.chosen = Some(best);
        orders
    }

    fn graft(&self, seed: SeedId) -> Order {
        let schedule = AlphaSchedule::Linear { total_steps: self.rules.alpha_steps };
        Order::StartGrafting { seed, blend: BlendConfig::residual(), schedule }
    }

    /// The next order for the seed that was chosen. If it has come to its end, the next one can be chosen.
    fn advance(&mut self, id: &SeedId, state: &State) -> Option<Order> {
        let stage = state.seeds.get(id).map(|seed| &seed.stage);
        let Some(Graft { vitals, .. }) = stage.and_then(Stage::graft) else {
            self.chosen = None;
            if let Some(grown) = self.history.last_mut().filter(|_| state.run.fossils.contains(id)) {
                grown.fossilised = Some(state.run.step);
            } else if let Some(grown) = self.history.last_mut() {
                grown.contribution = 0.0;
            }
            return None;
        };
        let (seed, rules) = (id.clone(), &self.rules);
        if vitals.steps > rules.patience && stage.is_some_and(|stage| stage.joining().is_none()) {
            return Some(Order::Cull { seed, blend_out_steps: 0 });
        }
        match stage? {
            Stage::Training(_) => Some(self.graft(seed)),
            Stage::Blending(_, blend) => {
                let due = blend.is_complete() && vitals.steps >= rules.blend_steps;
                due.then_some(Order::Stabilize { seed })
            }
            Stage::Shadowing(..) => (vitals.steps >= rules.shadowing_steps).then_some(Order::Evaluate { seed }),
            Stage::Probationary(_, trial, probation) => {
                let contribution = trial.contribution.mean() / trial.contribution.baseline();
                if let Some(grown) = self.history.last_mut().filter(|_| contribution.is_finite()) {
                    grown.contribution = contribution;
                }
                let due = *probation == Probation::OnTrial && vitals.steps >= rules.probation_steps;
                due.then_some(Order::Fossilize { seed })
            }
            Stage::Dormant
            | Stage::Germinated(_)
            | Stage::Fossilized(_)
            | Stage::Culled
            | Stage::Embargoed(_)
            | Stage::Resetting
            | Stage::Terminated => None,
        }
    }
}

fn is_scout(seed: &Seed) -> bool {
    matches!(seed.stage, Stage::Germinated(_) | Stage::Training(_))
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
