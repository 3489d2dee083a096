//! What a teacher says about one batch.

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Tensor, backend::AutodiffBackend, backend::Backend};

use crate::{Activations, DistillError, DistillSettings, Projection, Softened, matching_loss};

/// A teacher's answer on a batch, detached.
#[derive(Debug)]
pub(crate) struct Answer<B: Backend> {
    pub(crate) logits: Tensor<B, 2>,
    pub(crate) softened: Softened<B>,
    pub(crate) activations: Activations<B>,
}

impl<B: Backend> Answer<B> {
    /// What it takes in memory: the logits, as many probabilities, and the activations.
    pub(crate) fn bytes(&self) -> u64 {
        let logits = self.logits.shape().num_elements() * self.logits.dtype().size();
        (2 * logits) as u64 + self.activations.bytes()
    }
}

/// The first thing that went wrong in a lesson.
pub(crate) type Note = Arc<Mutex<Option<DistillError>>>;

/// What a teacher says about one batch. It is made once, before the step, and used in every pass of it: the host's, the one in which seeds
/// learn, and those that only measure. So all of them have the same loss.
#[derive(Debug)]
pub struct Lesson<B: AutodiffBackend> {
    pub(crate) answer: Result<Arc<Answer<B::InnerBackend>>, DistillError>,
    pub(crate) settings: DistillSettings,
    pub(crate) cached: bool,
    pub(crate) note: Note,
}

impl<B: AutodiffBackend> Lesson<B> {
    /// `(1 - weight) * task + weight * divergence`, of shape `[1]`, with the weight of the settings. `student` has the shape of the
    /// teacher's logits, `[batch, classes]`.
    ///
    /// If there is nothing to learn from the teacher, it is `task` itself, unchanged. The same if the shapes differ, which the distillation
    /// counts as a failure of the batch, and tells of when it teaches the next one.
    pub fn loss(&self, student: Tensor<B, 2>, task: Tensor<B, 1>) -> Tensor<B, 1> {
        let weight = self.settings.weight;
        match self.divergence(student) {
            Ok(divergence) => task * (1.0 - weight) + divergence * weight,
            Err(error) => {
                if self.answer.is_ok() {
                    self.note.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
                task
            }
        }
    }

    /// The divergence alone, `[1]`: [`Softened::divergence`], times the square of the temperature if the settings say so.
    ///
    /// # Errors
    /// [`DistillError::Shape`], or why there is no answer of the teacher.
    pub fn divergence(&self, student: Tensor<B, 2>) -> Result<Tensor<B, 1>, DistillError> {
        let divergence = self.answer()?.softened.divergence(student)?;
        let DistillSettings { temperature, temperature_squared, .. } = self.settings;
        Ok(if temperature_squared { divergence * (temperature * temperature) } else { divergence })
    }

    /// The mean squared difference of a student's activation and the teacher's of this name, `[1]`: [`matching_loss`].
    ///
    /// # Errors
    /// [`DistillError::UnknownActivation`], [`DistillError::Shape`], or why there is no answer of the teacher.
    pub fn matching<const D: usize>(
        &self,
        name: &str,
        student: Tensor<B, D>,
        projection: Option<&Projection<B>>,
    ) -> Result<Tensor<B, 1>, DistillError> {
        matching_loss(student, Tensor::from_inner(self.activation(name)?), projection)
    }

    /// The teacher's activation of this name.
    ///
    /// # Errors
    /// [`DistillError::UnknownActivation`], or why there is no answer of the teacher.
    pub fn activation<const D: usize>(&self, name: &str) -> Result<Tensor<B::InnerBackend, D>, DistillError> {
        self.answer()?.activations.read(name)
    }

    /// The teacher's logits, `[batch, classes]`.
    ///
    /// # Errors
    /// Why there is no answer of the teacher.
    pub fn logits(&self) -> Result<Tensor<B::InnerBackend, 2>, DistillError> {
        Ok(self.answer()?.logits.clone())
    }

    /// Whether the teacher's answer came from the cache.
    #[must_use]
    pub const fn is_cached(&self) -> bool {
        self.cached
    }

    /// Why there is nothing to learn from the teacher; `None` if there is.
    #[must_use]
    pub fn untaught(&self) -> Option<&DistillError> {
        self.answer.as_ref().err()
    }

    fn answer(&self) -> Result<&Answer<B::InnerBackend>, DistillError> {
        self.answer.as_deref().map_err(Clone::clone)
    }
}
