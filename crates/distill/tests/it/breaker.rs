//! A teacher that fails is not asked for a while, and training goes on.

use std::{sync::Arc, time::Duration};

use burn::tensor::Tensor;
use kasmina::{leyline::v1::CircuitBreakerState::*, safety::doubles::ManualClock};
use kasmina_distill::{DistillError, DistillSettings, Distillation, Lesson, Teacher};
use kasmina_telemetry::Event;

use crate::common::{B, CLASSES, Network, ROWS, Taught, distillation, numbers, reason, spoil, task, teach};

fn why(lesson: &Lesson<B>) -> Option<&'static str> {
    lesson.untaught().map(DistillError::reason)
}

fn named(events: &[Event]) -> Vec<(&'static str, String)> {
    let attribute = |event: &Event| {
        let attributes = event.attributes();
        attributes.get("reason").or(attributes.get("cause")).cloned().unwrap_or_default()
    };
    events.iter().map(|event| (event.name().name, attribute(event))).collect()
}

#[test]
fn second_failure_within_180_s_opens_the_breaker() {
    let clock = ManualClock::default();
    let mut distillation = distillation(DistillSettings::default(), &clock);
    assert_eq!(why(&spoil(&mut distillation, 1)), Some("teacher_not_finite"));
    assert_eq!(why(&teach(&mut distillation, 2)), None, "a success forgives nothing within the window");
    clock.advance(Duration::from_secs(179));
    assert_eq!(why(&spoil(&mut distillation, 3)), Some("teacher_not_finite"));
    assert_eq!(distillation.breaker(), CircuitStateOpen);
    assert_eq!(why(&teach(&mut distillation, 2)), Some("breaker_open"), "not even from the cache");
    let told = named(&distillation.take_events());
    let skipped = |reason: &str| ("distillation_skipped", reason.to_owned());
    let opened = ("breaker_open", "failure_threshold".to_owned());
    assert_eq!(told, [skipped("teacher_not_finite"), opened, skipped("teacher_not_finite"), skipped("breaker_open")]);
    assert_eq!((distillation.stats().taught, distillation.stats().untaught), (1, 3));

    clock.advance(Duration::from_secs(180));
    assert_eq!(why(&teach(&mut distillation, 5)), None, "a trial");
    assert_eq!(why(&teach(&mut distillation, 6)), None);
    assert_eq!(distillation.breaker(), CircuitStateClosed);
}

#[test]
fn failures_further_apart_than_the_window_open_nothing() {
    let clock = ManualClock::default();
    let mut distillation = distillation(DistillSettings::default(), &clock);
    for number in 0..5 {
        assert_eq!(why(&spoil(&mut distillation, number)), Some("teacher_not_finite"));
        clock.advance(Duration::from_secs(180));
    }
    assert_eq!(distillation.breaker(), CircuitStateClosed);
    assert_eq!(named(&distillation.take_events()).len(), 1, "told once");
}

#[test]
fn student_of_other_classes_counts_as_a_failure_of_each_batch() {
    let mut distillation = distillation(DistillSettings::default(), &Default::default());
    let own = || Tensor::<B, 2>::from_inner(numbers(ROWS, CLASSES, 1));
    for number in 0..2 {
        let lesson = teach(&mut distillation, number);
        for _ in 0..3 {
            lesson.loss(Tensor::zeros([ROWS, 4], &Default::default()), task(own()));
        }
    }
    assert_eq!(why(&teach(&mut distillation, 2)), Some("breaker_open"));
    let told = named(&distillation.take_events());
    assert_eq!(told[0], ("distillation_skipped", "distill_shape".to_owned()));
    assert_eq!(distillation.stats().taught, 0);
}

#[test]
fn load_that_fails_twice_is_not_tried_again_and_lessons_go_on_without_a_teacher() {
    let clock = ManualClock::default();
    let mut distillation: Taught = Distillation::off(DistillSettings::default(), Arc::new(clock.clone())).unwrap();
    assert_eq!(why(&teach(&mut distillation, 1)), Some("no_teacher"));
    let too_large = DistillError::Unreserved { needed: 2, reserved: 1 };
    for _ in 0..2 {
        assert_eq!(reason(distillation.load(|| Err(too_large.clone()))), "teacher_unreserved");
    }
    assert_eq!(reason(distillation.load(|| panic!("the breaker is open"))), "breaker_open");
    assert_eq!(why(&teach(&mut distillation, 1)), Some("no_teacher"));

    clock.advance(Duration::from_secs(180));
    assert!(distillation.load(|| Ok(Teacher::new(Network::new(32), None))).is_ok());
    assert_eq!(why(&teach(&mut distillation, 1)), None);
}
