//! The model's moves of single seeds, and what their gates say.

use kasmina::leyline::v1::SeedLifecycleStage::{self as Stage, *};

use super::{
    breaker::Breaker,
    command::{Blend, Extra, Kernel, Schedule},
    prediction::{Answer, CACHED_FOR, Graft, Model, Seed},
    steps::{Gates, Valid},
};

impl Model {
    pub fn germinate(&mut self, index: usize, kernel: Kernel, extra: Extra) -> Answer {
        self.expect(index, SeedStageDormant)?;
        for (name, breaker) in [("isolation", &mut self.isolation), ("kernels", &mut self.kernels)] {
            let event = breaker.allow(self.now).ok_or("breaker_open")?;
            self.breaker_events.extend(event.map(|event| (name, event)));
        }
        let slot = self.seeds[index].slot;
        let trying = |seed: &Seed| seed.slot == slot && seed.graft.is_some() && seed.stage != SeedStageFossilized;
        if kernel == Kernel::Unknown {
            return self.gate_refuses(index, "unknown_blueprint");
        }
        if extra == Extra::UnknownParameter {
            return self.gate_refuses(index, "unknown_parameter");
        }
        if self.seeds.iter().any(trying) {
            return self.gate_refuses(index, "slot_taken");
        }
        self.enter(index, SeedStageGerminated)?;
        let cached = self.cached.get(&kernel).is_some_and(|since| self.now < since.after(CACHED_FOR));
        let loaded = cached || !self.failing.contains(&kernel);
        let event = if loaded { self.kernels.succeed() } else { self.kernels.fail(self.now) };
        self.breaker_events.extend(event.map(|event| ("kernels", event)));
        if !loaded {
            self.cull(index);
            return Err("library_file_missing");
        }
        if !cached {
            self.cached.insert(kernel, self.now);
        }
        if !kernel.fits(slot) {
            self.cull(index);
            return Err("slot_contract");
        }
        let number = self.number();
        self.seeds[index].graft = Some(Graft {
            number,
            kernel,
            paused: false,
            blend: Blend::Unsaid,
            schedule: Schedule::Unsaid,
            total: 1_000,
            blended: 0,
            fine_tune: 0,
            losses: 0,
            probes: 0,
            shared: None,
            nan: false,
        });
        if self.fast_path { self.start_training(index) } else { Ok(()) }
    }

    pub fn start_training(&mut self, index: usize) -> Answer {
        self.expect(index, SeedStageGerminated)?;
        if let Some(reason) = self.gradient_unhealthy(index) {
            return self.gate_refuses(index, reason);
        }
        self.enter(index, SeedStageTraining)
    }

    pub fn start_grafting(&mut self, index: usize, blend: Blend, schedule: Schedule, total: u64, told: &str) -> Answer {
        self.expect(index, SeedStageTraining)?;
        if blend == Blend::ChannelShort {
            return Err("malformed_command");
        }
        let seed = &self.seeds[index];
        if seed.graft.as_ref().is_none_or(|graft| graft.losses < Self::min_losses(self.gates)) {
            return Err("not_measured");
        }
        if seed.violations > 0 {
            return self.gate_refuses(index, "isolation_violations");
        }
        if let Some(reason) = self.measured(&["loss_rising", "loss_oscillating"], told) {
            return self.gate_refuses(index, reason);
        }
        if let Some(graft) = &mut self.seeds[index].graft {
            (graft.blend, graft.schedule, graft.total, graft.blended) = (blend, schedule, total, 0);
        }
        self.enter(index, SeedStageBlending)
    }

    pub fn stabilize(&mut self, index: usize) -> Answer {
        self.expect(index, SeedStageBlending)?;
        let graft = self.seeds[index].graft.as_ref();
        if graft.is_none_or(|graft| graft.blended < graft.total) {
            return Err("blending_incomplete");
        }
        if graft.is_some_and(|graft| graft.shared.is_some()) {
            return self.gate_refuses(index, "registry_coverage");
        }
        self.enter(index, SeedStageShadowing)
    }

    pub fn evaluate(&mut self, index: usize, told: &str) -> Answer {
        self.expect(index, SeedStageShadowing)?;
        self.impact(index, told, None)?;
        self.enter(index, SeedStageProbationary)
    }

    pub fn fossilize(&mut self, index: usize, told: &str) -> Answer {
        self.expect(index, SeedStageProbationary)?;
        let graft = self.seeds[index].graft.as_ref();
        if graft.is_some_and(|graft| graft.blend == Blend::Confidence) {
            return Err("unsupported");
        }
        if graft.is_some_and(|graft| graft.fine_tune > 0) {
            return Err("not_measured");
        }
        self.impact(index, told, self.validation)?;
        self.enter(index, SeedStageFossilized)
    }

    /// G4.
    pub fn impact(&mut self, index: usize, told: &str, validation: Option<Valid>) -> Answer {
        let seed = &self.seeds[index];
        seed.graft.as_ref().filter(|graft| graft.probes > 0).ok_or("not_measured")?;
        if [self.isolation, self.kernels].iter().any(|breaker| matches!(breaker, Breaker::Open(_))) {
            return Err("breaker_open");
        }
        if seed.violations > 0 {
            return self.gate_refuses(index, "isolation_violations");
        }
        if let Some(reason) = self.measured(&["metric_regressed"], told) {
            return self.gate_refuses(index, reason);
        }
        match validation {
            Some(Valid::Nan) => self.gate_refuses(index, "metric_not_finite"),
            Some(Valid::Worse) if self.gates == Gates::Strict => self.gate_refuses(index, "metric_regressed"),
            Some(Valid::Worse | Valid::Same | Valid::None) | None => Ok(()),
        }
    }

    pub fn pause(&mut self, index: usize) -> Answer {
        let seed = &mut self.seeds[index];
        let graft = seed.graft.as_mut().filter(|_| seed.stage != SeedStageFossilized).ok_or("wrong_stage")?;
        graft.paused = true;
        Ok(())
    }

    pub fn resume(&mut self, index: usize) -> Answer {
        self.seeds[index].graft.as_ref().filter(|graft| graft.paused).ok_or("wrong_stage")?;
        if let Some(reason) = self.gradient_unhealthy(index) {
            let fossil = self.seeds[index].stage == SeedStageFossilized;
            let refused = self.gate_refuses(index, reason);
            // A fossil cannot be culled, and that is what the sender is told.
            return if fossil { Err("illegal_transition") } else { refused };
        }
        if let Some(graft) = &mut self.seeds[index].graft {
            graft.paused = false;
        }
        Ok(())
    }

    /// G1.
    pub fn gradient_unhealthy(&self, index: usize) -> Option<&'static str> {
        let seed = &self.seeds[index];
        if seed.violations > 0 {
            Some("isolation_violations")
        } else if seed.graft.as_ref().is_some_and(|graft| graft.nan) {
            Some("loss_not_finite")
        } else {
            (self.gates == Gates::Deaf).then_some("gradient_exploded")
        }
    }

    /// What a gate may find in numbers, under strict settings alone.
    pub fn measured(&self, reasons: &[&'static str], told: &str) -> Option<&'static str> {
        reasons.iter().copied().find(|reason| self.gates == Gates::Strict && *reason == told)
    }

    pub fn gate_refuses(&mut self, index: usize, reason: &'static str) -> Answer {
        self.gate_failures.push(index);
        self.cull(index);
        Err(reason)
    }

    pub fn expect(&self, index: usize, stage: Stage) -> Answer {
        let seed = &self.seeds[index];
        if seed.stage != stage {
            return Err("illegal_transition");
        }
        if seed.graft.as_ref().is_some_and(|graft| graft.paused) { Err("wrong_stage") } else { Ok(()) }
    }

    pub fn enter(&mut self, index: usize, stage: Stage) -> Answer {
        self.validation = None;
        self.disk.unsaved = true;
        let seed = &mut self.seeds[index];
        seed.stage = stage;
        if let Some(graft) = &mut seed.graft {
            graft.probes = 0;
        }
        Ok(())
    }
}
