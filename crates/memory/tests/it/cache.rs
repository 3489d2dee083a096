//! The cache against a list that is searched from end to end, and its counts against sums.

use std::time::Duration;

use kasmina_leyline::Monotonic;
use kasmina_memory::{Cache, CacheLimits, Evicted, TooLarge};
use proptest::prelude::*;

const LIMITS: CacheLimits = CacheLimits { bytes: 10, ttl: Duration::from_millis(20) };

fn at(millis: u64) -> Monotonic {
    Monotonic::from_millis(millis)
}

#[test]
fn least_recently_used_entry_is_evicted_first() {
    let mut cache = Cache::new(LIMITS);
    for key in ["a", "b"] {
        cache.insert(key, (), 5, at(0)).unwrap();
    }
    assert!(cache.get("a", at(1)).is_some());
    let evicted = cache.insert("c", (), 5, at(2)).unwrap();
    assert_eq!(evicted, Evicted { displaced: 1, bytes: 5, ..Evicted::default() });
    assert!(cache.get("a", at(3)).is_some() && cache.get("b", at(3)).is_none());
}

#[test]
fn expired_entries_are_evicted_before_living_ones() {
    let mut cache = Cache::new(LIMITS);
    cache.insert("old but used", (), 5, at(0)).unwrap();
    cache.insert("young", (), 5, at(15)).unwrap();
    cache.get("old but used", at(19));
    let evicted = cache.insert("new", (), 5, at(20)).unwrap();
    assert_eq!(evicted, Evicted { expired: 1, bytes: 5, ..Evicted::default() });
    assert!(cache.get("young", at(20)).is_some());
}

#[test]
fn reading_an_entry_does_not_prolong_its_life() {
    let mut cache = Cache::new(LIMITS);
    cache.insert("a", (), 1, at(0)).unwrap();
    assert!(cache.get("a", at(19)).is_some());
    assert!(cache.get("a", at(20)).is_none());
    assert_eq!(cache.stats().total.evicted.expired, 1);
}

#[test]
fn entry_over_the_budget_is_refused_and_evicts_nothing() {
    let mut cache = Cache::new(LIMITS);
    cache.insert("a", 1, 4, at(0)).unwrap();
    assert_eq!(cache.insert("a", 2, 11, at(0)), Err(TooLarge { bytes: 11, limit: 10 }));
    assert_eq!(cache.get("a", at(0)), Some(&1));
    assert_eq!(cache.stats().total.refusals, 1);
}

#[test]
fn every_value_that_leaves_is_given_to_the_owner_once() {
    let mut cache = Cache::new(LIMITS);
    let mut out = Vec::new();
    for (key, value, millis) in [("a", 1, 0), ("a", 2, 0), ("b", 3, 1), ("c", 4, 2), ("d", 5, 21)] {
        cache.insert_with(key, value, 5, at(millis), |value| out.push(value)).unwrap();
    }
    assert_eq!(out, [1, 2, 3], "replaced, displaced, expired");
    assert_eq!(cache.get_with("c", at(22), |value| out.push(value)), None);
    cache.insert("e", 6, 5, at(30)).unwrap();
    cache.collect_with(at(41), |value| out.push(value));
    cache.purge_with(|value| out.push(value));
    assert_eq!(out, [1, 2, 3, 4, 5, 6]);
    assert_eq!((cache.stats().bytes, cache.stats().total.evicted.bytes), (0, 25));
}

#[test]
fn purged_cache_is_empty_and_counts_what_it_evicted() {
    let mut cache = Cache::new(LIMITS);
    cache.insert("a", (), 1, at(0)).unwrap();
    cache.get("a", at(0));
    cache.get("b", at(0));
    assert_eq!(cache.purge(), Evicted { purged: 1, bytes: 1, ..Evicted::default() });
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.bytes, stats.total.hits, stats.total.misses), (0, 0, 1, 1));
}

#[test]
fn hit_rate_of_an_interval_forgets_what_was_before() {
    let mut cache = Cache::new(LIMITS);
    assert_eq!((cache.stats().total.hit_rate(), cache.stats().ttl), (None, LIMITS.ttl));
    for _ in 0..6 {
        cache.get("a", at(0));
    }
    let before = cache.stats().total;
    cache.insert("a", (), 1, at(0)).unwrap();
    for key in ["a", "a", "a", "b"] {
        cache.get(key, at(1));
    }
    cache.collect(at(20));
    let since = cache.stats().total - before;
    assert_eq!((since.hit_rate(), since.insertions, since.evicted.entries()), (Some(0.75), 1, 1));
    assert_eq!(cache.stats().total.hit_rate(), Some(0.3));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(u64),
    Insert(u8, u64),
    Get(u8),
    Collect,
    Purge,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..15_u64).prop_map(Step::Wait),
        4 => (0..6_u8, 0..12_u64).prop_map(|(key, bytes)| Step::Insert(key, bytes)),
        4 => (0..6_u8).prop_map(Step::Get),
        1 => Just(Step::Collect),
        1 => Just(Step::Purge),
    ]
}

/// Least recently used first: key, value, bytes, expiry.
type Model = Vec<(u8, usize, u64, u64)>;

fn bytes(model: &Model) -> u64 {
    model.iter().map(|entry| entry.2).sum()
}

proptest! {
    #[test]
    fn cache_behaves_like_a_list(steps in prop::collection::vec(step(), 0..80)) {
        let mut cache = Cache::new(LIMITS);
        let mut model = Model::new();
        let (mut now, mut taken_in, mut evicted, mut removed) = (0, 0, 0, 0);
        for (value, step) in steps.into_iter().enumerate() {
            match step {
                Step::Wait(millis) => now += millis,
                Step::Insert(key, weight) => {
                    let fits = weight <= LIMITS.bytes;
                    let outcome = cache.insert(key, value, weight, at(now));
                    prop_assert_eq!(outcome.is_ok(), fits);
                    if fits {
                        let held = model.len();
                        model.retain(|entry| entry.0 != key);
                        removed += held - model.len();
                        let held = model.len();
                        if bytes(&model) + weight > LIMITS.bytes {
                            model.retain(|entry| entry.3 > now);
                        }
                        while bytes(&model) + weight > LIMITS.bytes {
                            model.remove(0);
                        }
                        prop_assert_eq!(outcome.unwrap().entries(), (held - model.len()) as u64);
                        evicted += held - model.len();
                        model.push((key, value, weight, now + 20));
                        taken_in += 1;
                    }
                }
                Step::Get(key) => {
                    let held = model.len();
                    model.retain(|entry| entry.0 != key || entry.3 > now);
                    evicted += held - model.len();
                    let found = model.iter().position(|entry| entry.0 == key).map(|index| model.remove(index));
                    prop_assert_eq!(cache.get(&key, at(now)).copied(), found.map(|entry| entry.1));
                    model.extend(found);
                }
                Step::Collect => {
                    let held = model.len();
                    model.retain(|entry| entry.3 > now);
                    prop_assert_eq!(cache.collect(at(now)).expired, (held - model.len()) as u64);
                    evicted += held - model.len();
                }
                Step::Purge => {
                    prop_assert_eq!(cache.purge().purged, model.len() as u64);
                    evicted += model.len();
                    model.clear();
                }
            }
            let stats = cache.stats();
            prop_assert_eq!((stats.entries, stats.bytes), (model.len() as u64, bytes(&model)));
            prop_assert!(stats.bytes <= LIMITS.bytes);
            prop_assert_eq!(stats.total.evicted.entries(), evicted as u64);
            prop_assert_eq!(stats.total.insertions, taken_in);
            prop_assert_eq!(taken_in, (model.len() + evicted + removed) as u64);
        }
    }
}

#[test]
fn peeking_finds_what_lives_and_counts_nothing() {
    let mut cache = Cache::new(LIMITS);
    cache.insert("a", 1, 5, at(0)).unwrap();
    cache.insert("b", 2, 5, at(0)).unwrap();
    assert_eq!((cache.peek("a", at(19)), cache.peek("a", at(20)), cache.peek("c", at(0))), (Some(&1), None, None));
    assert_eq!((cache.stats().total.hits, cache.stats().total.misses, cache.stats().entries), (0, 0, 2));
    cache.insert("c", 3, 5, at(1)).unwrap();
    assert_eq!(cache.peek("a", at(1)), None, "it was not made the most recently used");
}
