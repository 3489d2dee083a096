//! The model's batches: who learns, who is probed, who is caught.

use kasmina::leyline::v1::SeedLifecycleStage::*;

use super::{
    breaker::Breaker,
    command::Blend,
    prediction::{Model, PROBE_EVERY, Seed, Told},
    steps::Gates,
};

impl Model {
    /// A batch, with logits for CONFIDENCE or without. Whether it was stepped.
    pub fn batch(&mut self, logits: bool, told: &Told<'_>) -> bool {
        if self.commanded.is_some() {
            return false;
        }
        self.tick();
        let active = |seed: &Seed| seed.graft.as_ref().is_some_and(|graft| !graft.paused);
        let fossil_nan = |seed: &Seed| {
            seed.stage == SeedStageFossilized && active(seed) && seed.graft.as_ref().is_some_and(|graft| graft.nan)
        };
        // A fossil of NaN is the host's own NaN.
        if self.seeds.iter().any(fossil_nan) && told.not_finite {
            let _ = self.commit(false);
            return false;
        }
        self.step += 1;
        let mut violated = false;
        for index in 0..3 {
            let seed = &self.seeds[index];
            let shares = active(seed) && seed.graft.as_ref().is_some_and(|graft| graft.shared.is_some());
            let caught = shares
                && (seed.stage == SeedStageTraining
                    || seed.stage == SeedStageFossilized && told.blamed.contains(&index));
            if caught {
                violated = true;
                self.violated(index);
            }
        }
        let mut learning = Vec::new();
        for (index, seed) in self.seeds.iter_mut().enumerate() {
            let Some(graft) = seed.graft.as_mut().filter(|graft| !graft.paused) else { continue };
            if seed.stage == SeedStageBlending {
                graft.blended += 1;
                learning.push(index);
            } else if seed.stage == SeedStageProbationary && graft.fine_tune > 0 {
                learning.push(index);
            }
        }
        let mut poisoned = [false; 3];
        for index in learning {
            let Some(nan) = self.pass(index, logits) else { continue };
            poisoned[index] = nan;
            let Some(graft) = &mut self.seeds[index].graft else { continue };
            graft.losses += 1;
            graft.fine_tune = graft.fine_tune.saturating_sub(1);
            if nan && self.seeds[index].stage == SeedStageProbationary {
                self.cull(index);
            } else if graft.shared.is_some() && !nan {
                violated = true;
                self.violated(index);
            }
        }
        if self.step.is_multiple_of(PROBE_EVERY) {
            let probed = |index: &usize| {
                let seed = &self.seeds[*index];
                let idle = seed.graft.as_ref().is_some_and(|graft| !graft.paused && graft.fine_tune == 0);
                idle && [SeedStageShadowing, SeedStageProbationary].contains(&seed.stage)
            };
            for index in (0..3).filter(probed).collect::<Vec<_>>() {
                let Some(nan) = self.pass(index, logits) else { continue };
                let Some(graft) = &mut self.seeds[index].graft else { continue };
                graft.probes += 1;
                if nan {
                    self.cull(index);
                }
            }
        }
        self.settle(violated, poisoned, told);
        let _ = self.commit(self.step.is_multiple_of(self.every));
        true
    }

    /// The pass of a seed: culls those whose blend is a fault. Whether its loss is NaN; `None` where it took no part.
    fn pass(&mut self, index: usize, logits: bool) -> Option<bool> {
        self.seeds[index].graft.as_ref()?;
        let mut nan = false;
        for other in 0..3 {
            let seed = &self.seeds[other];
            let in_view = [SeedStageBlending, SeedStageProbationary, SeedStageFossilized].contains(&seed.stage)
                || seed.stage == SeedStageShadowing && other == index;
            let Some(graft) = seed.graft.as_ref().filter(|graft| in_view && !graft.paused) else { continue };
            if graft.blend == Blend::Confidence && !logits {
                self.cull(other);
            } else {
                nan |= graft.nan && (other == index || seed.stage == SeedStageFossilized);
            }
        }
        self.seeds[index].graft.as_ref().map(|_| nan)
    }

    fn settle(&mut self, violated: bool, poisoned: [bool; 3], told: &Told<'_>) {
        let mut verified = false;
        for (index, poisoned) in poisoned.into_iter().enumerate() {
            let seed = &mut self.seeds[index];
            let Some(graft) = seed.graft.as_mut().filter(|graft| !graft.paused) else { continue };
            verified = true;
            if [SeedStageTraining, SeedStageFossilized].contains(&seed.stage) {
                graft.losses += 1;
            }
            let unstable = seed.violations > 0
                || poisoned
                || (self.gates == Gates::Strict && told.stages[index] == SeedStageEmbargoed);
            if seed.stage == SeedStageBlending && unstable {
                let _ = self.gate_refuses(index, "G2");
            }
        }
        if verified && !violated {
            self.breaker_events.extend(self.isolation.succeed().map(|event| ("isolation", event)));
        }
    }

    fn violated(&mut self, index: usize) {
        let event = self.isolation.fail(self.now);
        self.breaker_events.extend(event.map(|event| ("isolation", event)));
        self.seeds[index].violations += 1;
        if self.seeds[index].violations >= 3 {
            self.cull(index);
            if let Breaker::Closed(_) = self.isolation {
                self.isolation = Breaker::Open(self.now.after(Breaker::TIMEOUT));
                self.breaker_events.push(("isolation", "breaker_open"));
            }
        }
    }
}
