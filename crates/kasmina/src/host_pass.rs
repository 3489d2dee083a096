//! The host's pass, and what follows from it for the seeds.

use burn::{module::AutodiffModule, tensor::Tensor};
use kasmina_isolation::{Cast, Grafts, HostPass, HostPassCause, HostPassError, host_pass};

use crate::{
    GraftBackend, SeedManager, StepError, StepReport,
    views::{participants, rng},
};

impl<B: GraftBackend> SeedManager<B> {
    /// Runs the pass, reports and culls what it found at fault, and remembers what the slots showed.
    pub(crate) fn host_pass<H: AutodiffModule<B>>(
        &mut self,
        host: &H,
        forward: &impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
        report: &mut StepReport,
    ) -> Result<HostPass<B>, StepError> {
        let rng = rng(&self.settings.training, &self.device, self.step);
        let cast = Cast::new(participants(&self.seeds, &self.fossils), self.clock.clone());
        let mut pass = match host_pass(host, forward, &cast, &mut self.registry, &rng) {
            Ok(pass) => pass,
            Err(HostPassError { cause, faults }) => {
                faults.iter().for_each(|fault| self.faulted(fault));
                return Err(StepError::of(cause, report.step));
            }
        };
        (report.timing.host, report.timing.verify) = (pass.pass_time, pass.verify_time);
        pass.trace.faults.iter().for_each(|fault| self.faulted(fault));
        self.remember_shapes(&pass.trace);
        for violation in std::mem::take(&mut pass.violations) {
            self.violated(violation, report);
        }
        Ok(pass)
    }
}

impl StepError {
    fn of(cause: HostPassCause, step: u64) -> Self {
        match cause {
            HostPassCause::LossShape { got } => Self::LossShape { got },
            HostPassCause::NonFiniteLoss { loss } => Self::NonFiniteLoss { loss, step },
            HostPassCause::Fossil(fault) => Self::Fossil(fault),
            HostPassCause::Host(error) => Self::Host(error),
            HostPassCause::Update(refusal) => Self::Update(refusal),
        }
    }
}
