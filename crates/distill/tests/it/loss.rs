//! The divergence, beside numbers computed by hand and by another formula.

use burn::{backend::Flex, tensor::Tensor};
use kasmina_distill::{DistillError, DistillSettings, Softened};

use crate::common::{B, CLASSES, ROWS, batch, bits, distillation, numbers, reason, spoil, task, teach, vec};

fn logits<const C: usize>(rows: &[[f32; C]]) -> Tensor<Flex, 2> {
    Tensor::from_data(burn::tensor::TensorData::new(rows.concat(), [rows.len(), C]), &Default::default())
}

fn divergence<const C: usize>(teacher: &[[f32; C]], student: &[[f32; C]], temperature: f32) -> f32 {
    let student = Tensor::<B, 2>::from_inner(logits(student));
    vec(Softened::new(logits(teacher), temperature).unwrap().divergence(student).unwrap())[0]
}

/// The mean over the rows of `sum p (ln p - ln q)`, in 64 bits, without the trick of the maximum.
fn by_formula(teacher: &[f32], student: &[f32], temperature: f64) -> f64 {
    let soften = |logits: &[f32]| {
        let powers: Vec<f64> = logits.iter().map(|logit| (f64::from(*logit) / temperature).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.into_iter().map(|power| power / sum).collect::<Vec<_>>()
    };
    let rows = teacher.chunks(CLASSES).zip(student.chunks(CLASSES));
    let each = rows.map(|(teacher, student)| {
        let (p, q) = (soften(teacher), soften(student));
        p.iter().zip(&q).map(|(p, q)| p * (p.ln() - q.ln())).sum::<f64>()
    });
    each.sum::<f64>() / (teacher.len() / CLASSES) as f64
}

#[test]
fn divergence_has_the_values_computed_by_hand() {
    let third = 3_f32.ln();
    // p = (3/4, 1/4), q = (1/2, 1/2): 3/4 ln 3/2 + 1/4 ln 1/2.
    let by_hand = 0.130_812_04;
    assert!((divergence(&[[third, 0.0]], &[[5.0, 5.0]], 1.0) - by_hand).abs() < 1e-6);
    assert!((divergence(&[[4.0 * third, 0.0]], &[[1.0, 1.0]], 4.0) - by_hand).abs() < 1e-6, "softened by 4");
    // The mean of that row and of one in which both agree.
    let two = divergence(&[[third, 0.0], [2.0, 7.0]], &[[5.0, 5.0], [-1.0, 4.0]], 1.0);
    assert!((two - by_hand / 2.0).abs() < 1e-6, "{two}");
}

#[test]
fn divergence_equals_the_formula() {
    for (seed, temperature) in [(1, 0.5), (2, 1.0), (3, 4.0), (4, 20.0)] {
        let (teacher, student) =
            (numbers::<Flex>(40, CLASSES, seed) * 6.0, numbers::<Flex>(40, CLASSES, seed + 50) * 6.0);
        let expected = by_formula(&vec(teacher.clone()), &vec(student.clone()), f64::from(temperature));
        let got = Softened::new(teacher, temperature).unwrap().divergence(Tensor::<B, 2>::from_inner(student)).unwrap();
        let got = f64::from(vec(got)[0]);
        assert!((got - expected).abs() < 1e-5 * expected.max(1.0), "T = {temperature}: {got}, expected {expected}");
    }
}

#[test]
fn gradient_is_the_difference_of_the_softened_distributions() {
    let third = 3_f32.ln();
    let teacher = Softened::new(logits(&[[4.0 * third, 0.0], [0.0, 0.0]]), 4.0).unwrap();
    let student = Tensor::<B, 2>::from_inner(logits(&[[0.0, 0.0], [0.0, 4.0 * third]])).require_grad();
    let gradients = teacher.divergence(student.clone()).unwrap().backward();
    let gradient = vec(student.grad(&gradients).unwrap());
    // (q - p) / (T * rows)
    let expected = [-0.25, 0.25, -0.25, 0.25].map(|difference: f32| difference / 8.0);
    assert!(gradient.iter().zip(expected).all(|(got, it)| (got - it).abs() < 1e-6), "{gradient:?}");
}

#[test]
fn divergence_of_large_logits_is_exact_and_finite() {
    // The teacher is certain of the first class, and the student prefers the second by 1e6 / 4.
    assert_eq!(divergence(&[[1e6, -1e6]], &[[0.0, 1e6]], 4.0), 250_000.0);
    assert_eq!(divergence(&[[1e30, -1e30]], &[[1e30, -1e30]], 4.0), 0.0);
    assert_eq!(divergence(&[[f32::MAX, -f32::MAX]], &[[f32::MAX, -f32::MAX]], 1e-3), 0.0, "even out of range");
    let student = Tensor::<B, 2>::from_inner(logits(&[[3e38_f32, -3e38]])).require_grad();
    let divergence = Softened::new(logits(&[[1.0, 2.0]]), 4.0).unwrap().divergence(student.clone()).unwrap();
    assert!(vec(divergence.clone())[0].is_finite());
    assert!(vec(student.grad(&divergence.backward()).unwrap()).iter().all(|it| it.is_finite()));
}

#[test]
fn what_makes_no_sense_is_a_typed_error() {
    for temperature in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let error = Softened::new(logits(&[[1.0, 2.0]]), temperature).unwrap_err();
        assert!(matches!(error, DistillError::Setting { key: "temperature", .. }), "{temperature}: {error}");
        assert!(DistillSettings { temperature, ..DistillSettings::default() }.check().is_err());
    }
    for weight in [-0.1, 1.1, f32::NAN] {
        assert_eq!(reason(DistillSettings { weight, ..DistillSettings::default() }.check()), "distill_setting");
    }
    for spoilt in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(reason(Softened::new(logits(&[[1.0, spoilt]]), 4.0)), "teacher_not_finite");
    }
    let none = Tensor::<Flex, 2>::zeros([0, 3], &Default::default());
    assert_eq!(reason(Softened::new(none, 4.0)), "distill_shape");
    let softened = Softened::new(logits(&[[1.0, 2.0]]), 4.0).unwrap();
    let error = softened.divergence(Tensor::<B, 2>::zeros([1, 3], &Default::default())).unwrap_err();
    assert_eq!(error.to_string(), "the student's logits have the shape [1, 3], and the teacher's [1, 2]");
    assert_eq!(reason(softened.divergence(Tensor::<B, 2>::zeros([2, 2], &Default::default()))), "distill_shape");
}

#[test]
fn defaults_are_those_of_the_contract() {
    let settings = DistillSettings::default();
    assert_eq!((settings.temperature, settings.weight, settings.temperature_squared), (4.0, 0.3, false));
    assert_eq!((settings.breaker.failure_threshold, settings.breaker.window.as_secs()), (2, 180));
}

#[test]
fn loss_is_the_weighted_sum_of_task_and_divergence() {
    let clock = Default::default();
    let student = Tensor::<B, 2>::from_inner(numbers(ROWS, CLASSES, 9) * 3.0);
    for (temperature_squared, factor) in [(false, 1.0), (true, 16.0)] {
        let settings = DistillSettings { temperature_squared, ..DistillSettings::default() };
        let lesson = teach(&mut distillation(settings, &clock), 1);
        let teacher = vec(lesson.logits().unwrap());
        let divergence = by_formula(&teacher, &vec(student.clone()), 4.0) * factor;
        let own = f64::from(vec(task(student.clone()))[0]);
        let loss = f64::from(vec(lesson.loss(student.clone(), task(student.clone())))[0]);
        assert!((loss - (0.7 * own + 0.3 * divergence)).abs() < 1e-5, "{loss}: {own} and {divergence}");
    }
}

#[test]
fn lesson_without_an_answer_leaves_the_loss_as_it_is() {
    let mut distillation = distillation(DistillSettings::default(), &Default::default());
    let student = Tensor::<B, 2>::from_inner(numbers(ROWS, CLASSES, 9));
    let own = bits(task(student.clone()));
    let lesson = spoil(&mut distillation, 1);
    assert_eq!(lesson.untaught().map(DistillError::reason), Some("teacher_not_finite"));
    assert_eq!(bits(lesson.loss(student.clone(), task(student.clone()))), own);
    let wide = Tensor::<B, 2>::zeros([ROWS, 5], &Default::default());
    let taught = teach(&mut distillation, 2);
    assert_eq!(bits(taught.loss(wide, task(student.clone()))), own, "of other classes than the teacher's");
    assert_ne!(bits(taught.loss(student.clone(), task(student))), own);
    assert_eq!(batch::<Flex>(2).dims(), [ROWS, 8]);
}
