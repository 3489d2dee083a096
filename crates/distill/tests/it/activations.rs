//! The side channel, and the losses on what comes through it.

use burn::{
    backend::Flex,
    tensor::{Distribution, Tensor},
};
use kasmina_distill::{Activations, DistillSettings, Projection, matching_loss};

use crate::common::{B, Network, ROWS, batch, bits, distillation, reason, teach, vec};

#[test]
fn what_a_pass_records_is_read_after_it_with_its_graph() {
    let (student, activations) = (Network::<B>::new(6), Activations::new());
    student.recorded(batch(1), &activations);
    assert_eq!(activations.names(), ["mid"]);
    let h = activations.read::<2>("mid").unwrap();
    assert_eq!(h.dims(), [ROWS, 6]);
    let gradients = h.sum().backward();
    assert!(student.stem.weight.grad(&gradients).is_some() && student.head.weight.grad(&gradients).is_none());

    assert_eq!(reason(activations.read::<2>("late")), "unknown_activation");
    assert_eq!(reason(activations.read::<4>("mid")), "unknown_activation");
    activations.clear();
    assert_eq!(reason(activations.read::<2>("mid")), "unknown_activation");
}

#[test]
fn matching_loss_is_the_mean_squared_difference() {
    let tensor = |rows: [[f32; 2]; 2]| Tensor::<B, 2>::from_floats(rows, &Default::default());
    let (student, teacher) = (tensor([[1.0, 2.0], [3.0, 4.0]]), tensor([[1.0, 0.0], [0.0, 4.0]]));
    assert_eq!(vec(matching_loss(student.clone(), teacher, None).unwrap()), [(4.0 + 9.0) / 4.0]);
    let wide = Tensor::<B, 2>::zeros([2, 3], &Default::default());
    assert_eq!(reason(matching_loss(student, wide, None)), "distill_shape");
}

#[test]
fn projection_maps_channels_in_every_rank() {
    let device = Default::default();
    let projection = Projection::<B>::new(3, 5, &device);
    let flat = Tensor::<B, 2>::random([4, 3], Distribution::Default, &device);
    let expected = projection.forward(flat.clone());
    let tokens = projection.forward(flat.clone().reshape([2, 2, 3]));
    assert_eq!(bits(tokens.reshape([4, 5])), bits(expected.clone()));
    // Channels behind the batch: the four places are the pixels of one image.
    let image = flat.clone().transpose().reshape([1, 3, 2, 2]);
    let image = projection.forward(image).reshape([5, 4]).transpose();
    let close = (image - expected).abs().max();
    assert!(vec(close)[0] < 1e-6);

    let teacher = Tensor::<B, 2>::zeros([4, 5], &device);
    assert!(matching_loss(flat.clone(), teacher.clone(), Some(&projection)).is_ok());
    assert_eq!(reason(matching_loss(teacher.clone(), teacher, Some(&projection))), "distill_shape");
}

#[test]
fn student_and_projection_learn_from_a_teachers_activation_and_the_teacher_does_not() {
    let mut distillation = distillation(DistillSettings::default(), &Default::default());
    let (student, activations) = (Network::<B>::new(6), Activations::new());
    let projection = Projection::<B>::new(6, 32, &Default::default());
    let lesson = teach(&mut distillation, 3);
    student.recorded(batch(3), &activations);
    let h = activations.read::<2>("mid").unwrap();
    let loss = lesson.matching("mid", h.clone(), Some(&projection)).unwrap();
    let theirs = lesson.activation::<2>("mid").unwrap();
    let by_hand = (projection.forward(h.clone()).inner() - theirs).square().mean();
    assert_eq!(bits(loss.clone()), bits::<Flex, 1>(by_hand));
    let gradients = loss.backward();
    assert!(student.stem.weight.grad(&gradients).is_some());
    assert_eq!(reason(lesson.matching("mid", h.clone(), None)), "distill_shape");
    assert_eq!(reason(lesson.matching("late", h, Some(&projection))), "unknown_activation");
}
