//! The divergence of a student's logits from a teacher's.

use burn::tensor::{
    DType, Tensor,
    activation::log_softmax,
    backend::{AutodiffBackend, Backend},
};

use crate::{DistillError, settings::check_temperature};

/// A teacher's logits on a batch, softened: what the divergence needs of them, computed once for all passes.
#[derive(Clone, Debug)]
pub struct Softened<B: Backend> {
    temperature: f32,
    /// `[batch, classes]`; every row sums to 1.
    probabilities: Tensor<B, 2>,
    /// The mean over the batch of `sum p log p`, in nats; at most 0.
    negative_entropy: Tensor<B, 1>,
}

impl<B: Backend> Softened<B> {
    /// Softens logits `[batch, classes]`. It reads one number from the device.
    ///
    /// # Errors
    /// [`DistillError::Setting`] for a temperature that is not finite or not above 0; [`DistillError::Shape`] without a row or a class;
    /// [`DistillError::NotFinite`] if a logit is not.
    pub fn new(logits: Tensor<B, 2>, temperature: f32) -> Result<Self, DistillError> {
        check_temperature(temperature)?;
        let dims = logits.dims();
        if dims.contains(&0) {
            return Err(shape(&dims, &dims));
        }
        if !is_finite(logits.clone()) {
            return Err(DistillError::NotFinite { what: "logits" });
        }
        let logs = log_probabilities(logits, temperature);
        let probabilities = logs.clone().exp();
        let negative_entropy = (probabilities.clone() * logs).sum() / dims[0] as f32;
        Ok(Self { temperature, probabilities, negative_entropy })
    }

    /// The Kullback-Leibler divergence of the student's softened distribution from the teacher's, summed over the classes and averaged over
    /// the rows (`batchmean`), in nats: `[1]`. The gradient goes to the student alone. `student` is `[batch, classes]`; a sequence is
    /// flattened, one row for each position.
    ///
    /// The maximum of each row is subtracted first, so large logits do not overflow.
    ///
    /// # Errors
    /// [`DistillError::Shape`] if the shapes differ.
    pub fn divergence<A>(&self, student: Tensor<A, 2>) -> Result<Tensor<A, 1>, DistillError>
    where
        A: AutodiffBackend<InnerBackend = B>,
    {
        let (theirs, ours) = (student.dims(), self.probabilities.dims());
        if theirs != ours {
            return Err(shape(&theirs, &ours));
        }
        let logs = log_probabilities(student, self.temperature);
        let cross = (Tensor::from_inner(self.probabilities.clone()) * logs).sum() / ours[0] as f32;
        Ok(Tensor::from_inner(self.negative_entropy.clone()) - cross)
    }
}

/// `log softmax(logits / temperature)`, finite for all finite logits.
fn log_probabilities<B: Backend>(logits: Tensor<B, 2>, temperature: f32) -> Tensor<B, 2> {
    // A product of a probability of 0 and a logarithm of it must be 0, not NaN.
    let least = if logits.dtype() == DType::F16 { -6e4 } else { -1e30 };
    let largest = logits.clone().detach().max_dim(1);
    log_softmax((logits - largest).clamp_min(least) / temperature, 1).clamp_min(least)
}

/// Whether all numbers are finite. It reads one number from the device.
pub(crate) fn is_finite<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> bool {
    // Zero, or NaN.
    let zero = tensor.mul_scalar(0.0).sum().into_data();
    zero.iter::<f32>().all(f32::is_finite)
}

fn shape(student: &[usize], teacher: &[usize]) -> DistillError {
    DistillError::Shape { what: "logits".to_owned(), student: student.to_vec(), teacher: teacher.to_vec() }
}
