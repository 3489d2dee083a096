//! Deadlines against a list that is searched from end to end.

use kasmina_leyline::Monotonic;
use kasmina_safety::Deadlines;
use proptest::prelude::*;

fn at(millis: u64) -> Monotonic {
    Monotonic::from_millis(millis)
}

#[test]
fn a_timer_that_fires_twice_finds_nothing() {
    let mut deadlines = Deadlines::default();
    deadlines.arm("embargo", at(10));
    assert_eq!(deadlines.expired(at(9)).next(), None);
    assert_eq!(deadlines.next(), Some((at(10), &"embargo")));
    assert_eq!(deadlines.expired(at(10)).collect::<Vec<_>>(), [(at(10), "embargo")]);
    assert_eq!(deadlines.expired(at(10)).next(), None);
    assert_eq!(deadlines.next(), None);
}

#[test]
fn arming_again_replaces_and_disarming_forgets() {
    let mut deadlines = Deadlines::default();
    deadlines.arm("prefetch", at(10));
    deadlines.arm("prefetch", at(20));
    assert_eq!(deadlines.expired(at(15)).next(), None);
    assert!(deadlines.disarm(&"prefetch"));
    assert!(!deadlines.disarm(&"prefetch"));
    assert_eq!(deadlines.expired(at(30)).next(), None);
}

#[test]
fn an_iterator_dropped_early_leaves_the_rest_armed() {
    let mut deadlines = Deadlines::default();
    for (key, millis) in [("b", 2), ("c", 2), ("a", 1)] {
        deadlines.arm(key, at(millis));
    }
    assert_eq!(deadlines.expired(at(5)).next(), Some((at(1), "a")));
    assert_eq!(deadlines.expired(at(5)).collect::<Vec<_>>(), [(at(2), "b"), (at(2), "c")]);
}

#[derive(Clone, Debug)]
enum Step {
    Arm(u8, u64),
    Disarm(u8),
    Expire(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..6_u8, 0..20_u64).prop_map(|(key, millis)| Step::Arm(key, millis)),
        1 => (0..6_u8).prop_map(Step::Disarm),
        1 => (0..20_u64).prop_map(Step::Expire),
    ]
}

proptest! {
    #[test]
    fn behaves_like_a_list(steps in prop::collection::vec(step(), 0..60)) {
        let mut deadlines = Deadlines::default();
        let mut model: Vec<(Monotonic, u8)> = Vec::new();
        for step in steps {
            match step {
                Step::Arm(key, millis) => {
                    deadlines.arm(key, at(millis));
                    model.retain(|(_, held)| *held != key);
                    model.push((at(millis), key));
                }
                Step::Disarm(key) => {
                    let held = model.len();
                    model.retain(|(_, held)| *held != key);
                    prop_assert_eq!(deadlines.disarm(&key), model.len() < held);
                }
                Step::Expire(millis) => {
                    let (due, rest): (Vec<_>, Vec<_>) = model.iter().partition(|(when, _)| *when <= at(millis));
                    model = rest;
                    prop_assert_eq!(deadlines.expired(at(millis)).collect::<Vec<_>>(), due);
                }
            }
            model.sort_unstable();
            prop_assert_eq!(deadlines.next(), model.first().map(|(when, key)| (*when, key)));
        }
        let all: Vec<_> = deadlines.expired(Monotonic::from_nanos(u64::MAX)).collect();
        prop_assert_eq!(all, model);
    }
}
