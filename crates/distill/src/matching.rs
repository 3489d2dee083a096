//! Losses that pull a student's activations towards a teacher's.

use burn::{
    module::Module,
    nn::{Linear, LinearConfig},
    tensor::{Tensor, backend::Backend},
};

use crate::DistillError;

/// Maps a student's channels to a teacher's, where the two have different numbers of them: one linear map for all places.
///
/// It learns as part of whatever module it is a field of. In the passes of seeds that module is frozen, and so is the projection.
#[derive(Module, Debug)]
pub struct Projection<B: Backend> {
    linear: Linear<B>,
}

impl<B: Backend> Projection<B> {
    /// A projection with new weights and without a bias.
    #[must_use]
    pub fn new(student_channels: usize, teacher_channels: usize, device: &B::Device) -> Self {
        Self { linear: LinearConfig::new(student_channels, teacher_channels).with_bias(false).init(device) }
    }

    /// `[batch, channels]`, `[batch, tokens, channels]` or `[batch, channels, height, width]`, with the teacher's channels.
    pub fn forward<const D: usize>(&self, h: Tensor<B, D>) -> Tensor<B, D> {
        if D == 4 {
            return self.linear.forward(h.swap_dims(1, 3)).swap_dims(1, 3);
        }
        self.linear.forward(h)
    }

    /// The channels that it takes.
    fn channels(&self) -> usize {
        self.linear.weight.val().dims()[0]
    }
}

/// The mean squared difference of two activations, the student's after the projection if there is one: `[1]`. The gradient goes to the
/// student, and to the projection; detach the teacher's if it has a graph.
///
/// # Errors
/// [`DistillError::Shape`] if the shapes differ after the projection, or the projection takes another number of channels.
pub fn matching_loss<B: Backend, const D: usize>(
    student: Tensor<B, D>,
    teacher: Tensor<B, D>,
    projection: Option<&Projection<B>>,
) -> Result<Tensor<B, 1>, DistillError> {
    let shapes = |student: &Tensor<B, D>, teacher: &Tensor<B, D>| DistillError::Shape {
        what: "activations".to_owned(),
        student: student.dims().to_vec(),
        teacher: teacher.dims().to_vec(),
    };
    let projected = match projection {
        None => student,
        Some(projection) => {
            let axis = if D == 4 { 1 } else { D - 1 };
            if student.dims()[axis] != projection.channels() {
                return Err(shapes(&student, &teacher));
            }
            projection.forward(student)
        }
    };
    if projected.dims() != teacher.dims() || projected.dims().contains(&0) {
        return Err(shapes(&projected, &teacher));
    }
    Ok((projected - teacher).square().mean())
}
