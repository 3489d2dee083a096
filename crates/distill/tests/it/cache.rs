//! Answers are kept for a while, within a budget.

use std::{cell::Cell, time::Duration};

use kasmina::{Grafts, safety::doubles::ManualClock};
use kasmina_distill::DistillSettings;

use crate::common::{CLASSES, ROWS, Taught, batch, bits, distillation, teach};

/// What an answer takes without activations: logits, and as many probabilities.
const BYTES: u64 = (2 * ROWS * CLASSES * 4) as u64;

/// Teaches the batches in turn, and says which of them ran the teacher.
fn ran(distillation: &mut Taught, batches: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut ran = Vec::new();
    for number in batches {
        let asked = Cell::new(false);
        let lesson = distillation.teach(number, |teacher, _| {
            asked.set(true);
            Ok(teacher.logits(batch(number), &mut Grafts::none()))
        });
        assert_eq!(lesson.is_cached(), !asked.get());
        if asked.get() {
            ran.push(number);
        }
    }
    ran
}

#[test]
fn answer_is_taken_from_the_cache_until_it_expires_and_hits_are_counted() {
    let clock = ManualClock::default();
    let settings = DistillSettings { cache_ttl_seconds: 60, ..DistillSettings::default() };
    let mut distillation = distillation(settings, &clock);
    assert_eq!(ran(&mut distillation, [1, 2, 1, 2, 2]), [1, 2]);
    let cache = distillation.stats().cache;
    assert_eq!((cache.total.hits, cache.total.misses, cache.entries, cache.bytes), (3, 2, 2, 2 * BYTES));
    clock.advance(Duration::from_secs(60));
    assert_eq!(ran(&mut distillation, [1, 1]), [1]);
}

#[test]
fn budget_displaces_the_answers_that_were_not_used() {
    let settings = DistillSettings { cache_bytes: 2 * BYTES, ..DistillSettings::default() };
    let mut distillation = distillation(settings, &Default::default());
    assert_eq!(ran(&mut distillation, [1, 2, 1, 3, 1, 2]), [1, 2, 3, 2]);
    assert!(distillation.stats().cache.bytes <= 2 * BYTES);
    assert_eq!(distillation.purge_cache().purged, 2);
    assert_eq!(ran(&mut distillation, [1]), [1]);
}

#[test]
fn without_a_budget_nothing_is_cached_and_everything_is_taught() {
    let settings = DistillSettings { cache_bytes: 0, ..DistillSettings::default() };
    let mut distillation = distillation(settings, &Default::default());
    assert_eq!(ran(&mut distillation, [1, 1]), [1, 1]);
    assert_eq!((distillation.stats().taught, distillation.stats().cache.total.refusals), (2, 2));
}

#[test]
fn cached_answer_is_the_same_with_its_activations() {
    let mut distillation = distillation(DistillSettings::default(), &Default::default());
    let (first, second) = (teach(&mut distillation, 4), teach(&mut distillation, 4));
    assert!(second.is_cached());
    assert_eq!(bits(first.logits().unwrap()), bits(second.logits().unwrap()));
    assert_eq!(bits(first.activation::<2>("mid").unwrap()), bits(second.activation::<2>("mid").unwrap()));
}
