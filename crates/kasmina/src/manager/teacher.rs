//! The teacher of a distillation, as far as the manager knows of it: what is promised to it, and which parameters are its own.

use burn::module::ParamId;
use kasmina_blending::GraftBackend;
use kasmina_memory::{OverBudget, Pool, Reservation};
use kasmina_registry::{RegistryError, UpdateRefusal};
use kasmina_telemetry::{Event, names};

use crate::{events, manager::SeedManager, report::StepReport};

impl<B: GraftBackend> SeedManager<B> {
    /// Promises memory for a teacher: ask before it is loaded, and keep the reservation as long as it is. A purge does not free it. It is
    /// withdrawn ([`Reservation::is_withdrawn`]) by EMERGENCY with `include_teacher`, by [`reset`](Self::reset) and by
    /// [`drop_teacher`](Self::drop_teacher): then its owner drops the teacher, and with it the reservation.
    ///
    /// # Errors
    /// [`OverBudget`]: `memory.teacher_bytes`, `memory.total_bytes` or `memory.resident_bytes` does not allow it.
    pub fn reserve_teacher(&mut self, bytes: u64) -> Result<Reservation, OverBudget> {
        self.assess_own_memory();
        self.memory.reserve(Pool::Teacher, bytes)
    }

    /// Registers parameters of a teacher, which nobody may update: a gradient that reaches one in the model is taken out of the step
    /// ([`StepReport::withheld`](crate::StepReport::withheld)), and one that reaches it in a seed is that seed's violation.
    ///
    /// # Errors
    /// [`RegistryError::Owned`] if one belongs to the model or a seed; then none is registered.
    pub fn register_teacher(&mut self, parameters: impl IntoIterator<Item = ParamId>) -> Result<(), RegistryError> {
        let parameters: Vec<ParamId> = parameters.into_iter().collect();
        let count = parameters.len() as u64;
        let registered = self.tensors.registry_mut().register_teacher(parameters);
        let event = match &registered {
            Ok(()) => Event::new(names::TEACHER_REGISTERED).with("parameters", count),
            Err(error) => events::not_registered(error),
        };
        self.reporter.emit(None, event);
        registered
    }

    /// Forgets the teacher's parameters and withdraws what is promised to it. Returns how many parameters there were.
    pub fn drop_teacher(&mut self) -> usize {
        let parameters = self.tensors.registry_mut().drop_teacher();
        let reserved = self.memory.withdraw(Pool::Teacher);
        if parameters > 0 || reserved > 0 {
            let event = Event::new(names::TEACHER_DROPPED).with("parameters", parameters).with("bytes", reserved);
            self.reporter.emit(None, event);
        }
        parameters
    }

    /// Tells of gradients that have reached the teacher's parameters: an event for each parameter, once a step.
    pub(super) fn report_withheld(&mut self, withheld: &[UpdateRefusal], report: &mut StepReport) {
        for refusal in withheld {
            if !report.withheld.contains(refusal) {
                self.reporter.emit(None, events::not_updated(refusal));
                report.withheld.push(refusal.clone());
            }
        }
    }

    /// Puts an event into the telemetry of the run. It is for what works beside the manager, such as a distillation.
    pub fn emit(&mut self, event: Event) {
        self.reporter.emit(None, event);
    }
}
