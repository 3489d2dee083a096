//! The governor against sums, and against a rule of hysteresis that looks at the whole history.

use std::time::Duration;

use kasmina_leyline::Monotonic;
use kasmina_memory::{
    Assessment, Budget, Cache, CacheLimits, Evict, Freed, Governor, GovernorLimits, Holding, NoProbe, PerPool, Pool,
    ResidentProbe,
};
use proptest::prelude::*;

const TTL: Duration = Duration::from_millis(20);

fn limits() -> GovernorLimits {
    GovernorLimits { total_bytes: 100, pools: PerPool::new(|_| 60), ..GovernorLimits::default() }
}

fn cache() -> Cache<u8, ()> {
    Cache::new(CacheLimits { bytes: 1_000, ttl: TTL })
}

/// A pool that holds what it is told to.
#[derive(Default)]
struct Fixed(Holding);

impl Evict for Fixed {
    fn holding(&self) -> Holding {
        self.0
    }

    fn collect(&mut self, _now: Monotonic) -> Freed {
        Freed::default()
    }

    fn purge(&mut self) -> Freed {
        let bytes = self.0.bytes - self.0.pinned;
        self.0.bytes = self.0.pinned;
        Freed { entries: 1, bytes }
    }
}

fn fixed(bytes: u64, pinned: u64) -> Fixed {
    Fixed(Holding { entries: 1, bytes, pinned })
}

/// What kernels and telemetry hold, if nothing else holds anything.
fn held(kernels: &Fixed, telemetry: &Fixed) -> PerPool<Holding> {
    let mut held = PerPool::default();
    (held[Pool::Kernels], held[Pool::Telemetry]) = (kernels.0, telemetry.0);
    held
}

fn assess(governor: &mut Governor, bytes: u64) -> Assessment {
    governor.assess(&held(&fixed(bytes, 0), &Fixed::default()), None)
}

#[test]
fn conservative_mode_begins_at_one_share_and_ends_below_another() {
    let mut governor = Governor::new(limits());
    let mut modes = Vec::new();
    for bytes in [89, 90, 76, 75, 74, 89, 90] {
        let assessed = assess(&mut governor, bytes);
        assert_eq!(assessed.conserving, governor.is_conserving());
        modes.push((bytes, assessed.conserving, assessed.changed));
    }
    let expected = [
        (89, false, false),
        (90, true, true),
        (76, true, false),
        (75, true, false),
        (74, false, true),
        (89, false, false),
        (90, true, true),
    ];
    assert_eq!(modes, expected);
}

#[test]
fn larger_share_of_pools_and_process_counts() {
    let mut governor = Governor::new(GovernorLimits { resident_bytes: Some(1_000), ..limits() });
    let pools = held(&fixed(50, 0), &Fixed::default());
    let assessed = governor.assess(&pools, Some(950));
    assert_eq!((assessed.budget, assessed.held, assessed.limit), (Budget::Resident, 950, 1_000));
    assert!(assessed.conserving);
    let assessed = governor.assess(&pools, Some(400));
    assert_eq!((assessed.budget, assessed.held, assessed.limit), (Budget::Total, 50, 100));
    assert!(!assessed.conserving);
    // Where the process cannot be looked at, the pools alone count.
    assert_eq!(governor.assess(&pools, NoProbe.resident()).budget, Budget::Total);
}

#[test]
fn purge_is_asked_for_while_it_would_free_something() {
    let mut governor = Governor::new(limits());
    assert!(!assess(&mut governor, 100).purge, "the budget is not exceeded");
    let (mut kernels, mut telemetry) = (fixed(70, 0), fixed(101, 101));
    assert!(governor.assess(&held(&kernels, &telemetry), None).purge);
    let freed = governor.purge(&mut [(Pool::Kernels, &mut kernels), (Pool::Telemetry, &mut telemetry)]);
    assert_eq!((freed[Pool::Kernels].bytes, freed[Pool::Telemetry].bytes), (70, 0));
    let assessed = governor.assess(&held(&kernels, &telemetry), None);
    assert_eq!((assessed.held, assessed.conserving, assessed.purge), (101, true, false));
    assert_eq!(governor.freed().purged[Pool::Kernels], Freed { entries: 1, bytes: 70 });
}

#[test]
fn reservation_is_refused_by_the_budget_that_it_exceeds() {
    let mut governor = Governor::new(GovernorLimits { resident_bytes: Some(200), ..limits() });
    governor.assess(&held(&fixed(50, 0), &Fixed::default()), Some(155));
    let refused = |governor: &mut Governor, bytes| governor.reserve(Pool::Teacher, bytes).unwrap_err();
    let over = refused(&mut governor, 61);
    assert_eq!((over.budget, over.held, over.limit, over.reason()), (Budget::Pool, 0, 60, "over_pool_budget"));
    let over = refused(&mut governor, 51);
    assert_eq!((over.budget, over.held, over.limit, over.reason()), (Budget::Total, 50, 100, "over_total_budget"));
    let over = refused(&mut governor, 46);
    assert_eq!(
        (over.budget, over.held, over.limit, over.reason()),
        (Budget::Resident, 155, 200, "over_resident_limit")
    );
    assert_eq!(over.to_string(), "46 bytes for teacher: 155 of 200 bytes of the resident limit are held");
    assert_eq!(refused(&mut governor, u64::MAX).budget, Budget::Pool);
    assert_eq!(governor.held(Pool::Teacher), Holding::default());
    assert_eq!(governor.reserve(Pool::Teacher, 45).unwrap().bytes(), 45);
}

#[test]
fn reservation_counts_as_held_until_it_is_dropped() {
    let mut governor = Governor::new(limits());
    let teacher = governor.reserve(Pool::Teacher, 60).unwrap();
    assert_eq!(governor.held(Pool::Teacher), Holding { entries: 0, bytes: 60, pinned: 60 });
    assert!(assess(&mut governor, 30).conserving);
    assert!(!assess(&mut governor, 30).purge);
    assert_eq!((teacher.pool(), teacher.bytes()), (Pool::Teacher, 60));
    teacher.release();
    assert_eq!((governor.reserved(Pool::Teacher), governor.total()), (0, 30));
    assert!(!assess(&mut governor, 30).conserving);
}

#[test]
fn withdrawn_reservation_counts_as_held_until_it_is_dropped_and_later_ones_are_not_concerned() {
    let mut governor = Governor::new(limits());
    let (old, kernels) = (governor.reserve(Pool::Teacher, 20).unwrap(), governor.reserve(Pool::Kernels, 5).unwrap());
    governor.withdraw(Pool::Teacher);
    let new = governor.reserve(Pool::Teacher, 10).unwrap();
    assert_eq!([old.is_withdrawn(), new.is_withdrawn(), kernels.is_withdrawn()], [true, false, false]);
    assert_eq!(governor.reserved(Pool::Teacher), 30);
    drop(old);
    assert_eq!(governor.reserved(Pool::Teacher), 10);
}

#[test]
fn reservation_that_shrinks_gives_back_the_rest_and_never_grows() {
    let mut governor = Governor::new(limits());
    let mut teacher = governor.reserve(Pool::Teacher, 50).unwrap();
    teacher.shrink_to(20);
    assert_eq!((teacher.bytes(), governor.reserved(Pool::Teacher)), (20, 20));
    teacher.shrink_to(40);
    assert_eq!((teacher.bytes(), governor.reserved(Pool::Teacher)), (20, 20));
    drop(teacher);
    assert_eq!(governor.reserved(Pool::Teacher), 0);
}

#[test]
fn limits_that_contradict_each_other_are_not_sound() {
    let sound = limits();
    assert!(sound.is_sound() && GovernorLimits::default().is_sound());
    for unsound in [
        GovernorLimits { resume_below: 0.95, ..sound },
        GovernorLimits { resume_below: 0.0, ..sound },
        GovernorLimits { conserve_at: 1.5, ..sound },
        GovernorLimits { purge_above: f64::INFINITY, ..sound },
        GovernorLimits { conserve_at: f64::NAN, ..sound },
        GovernorLimits { total_bytes: 0, ..sound },
        GovernorLimits { resident_bytes: Some(0), ..sound },
    ] {
        assert!(!unsound.is_sound(), "{unsound:?}");
    }
}

#[derive(Clone, Debug)]
enum Action {
    Insert { pool: Pool, key: u8, bytes: u64 },
    Time(u64),
    Collect,
    Purge,
    Reserve(u64),
    Release,
    Assess(Option<u64>),
}

fn actions() -> impl Strategy<Value = Action> {
    let pool = prop_oneof![Just(Pool::Kernels), Just(Pool::Blueprints)];
    prop_oneof![
        8 => (pool, 0..6_u8, 0..40_u64).prop_map(|(pool, key, bytes)| Action::Insert { pool, key, bytes }),
        4 => (0..15_u64).prop_map(Action::Time),
        2 => Just(Action::Collect),
        1 => Just(Action::Purge),
        3 => (0..70_u64).prop_map(Action::Reserve),
        2 => Just(Action::Release),
        6 => prop::option::of(0..250_u64).prop_map(Action::Assess),
    ]
}

proptest! {
    /// Counts are true, nothing that is held is forgotten, and the mode changes only past the share that ends it.
    #[test]
    fn governor_counts_what_pools_hold(actions in prop::collection::vec(actions(), 1..120)) {
        let limits = GovernorLimits { resident_bytes: Some(200), ..limits() };
        let mut governor = Governor::new(limits);
        let (mut kernels, mut blueprints, mut now) = (cache(), cache(), Monotonic::ORIGIN);
        let (mut reservations, mut freed, mut conserving) = (Vec::new(), PerPool::<u64>::default(), false);
        for action in actions {
            let held = |kernels: &Cache<u8, ()>, blueprints: &Cache<u8, ()>| {
                PerPool::new(|pool| match pool {
                    Pool::Kernels => kernels.stats().bytes,
                    Pool::Blueprints => blueprints.stats().bytes,
                    Pool::Telemetry | Pool::Teacher => 0,
                })
            };
            let before = held(&kernels, &blueprints);
            let mut pools: [(Pool, &mut dyn Evict); 2] =
                [(Pool::Kernels, &mut kernels), (Pool::Blueprints, &mut blueprints)];
            let gone = match action {
                Action::Insert { pool, key, bytes } => {
                    let cache = if pool == Pool::Kernels { &mut kernels } else { &mut blueprints };
                    cache.insert(key, (), bytes, now).unwrap();
                    continue;
                }
                Action::Time(millis) => {
                    now = now.after(Duration::from_millis(millis));
                    continue;
                }
                Action::Reserve(bytes) => {
                    let reserved = governor.reserved(Pool::Teacher);
                    match governor.reserve(Pool::Teacher, bytes) {
                        Ok(reservation) => {
                            prop_assert!(reserved + bytes <= limits.pools[Pool::Teacher]);
                            prop_assert!(governor.total() <= limits.total_bytes);
                            reservations.push(reservation);
                        }
                        Err(over) => prop_assert!(over.held + over.asked > over.limit),
                    }
                    let sum: u64 = reservations.iter().map(kasmina_memory::Reservation::bytes).sum();
                    prop_assert_eq!(governor.reserved(Pool::Teacher), sum);
                    continue;
                }
                Action::Release => {
                    drop(reservations.pop());
                    let sum: u64 = reservations.iter().map(kasmina_memory::Reservation::bytes).sum();
                    prop_assert_eq!(governor.reserved(Pool::Teacher), sum);
                    continue;
                }
                Action::Assess(resident) => {
                    let holdings = PerPool::new(|pool| Holding { entries: 0, bytes: before[pool], pinned: 0 });
                    let assessed = governor.assess(&holdings, resident);
                    let total = before.iter().map(|(_, bytes)| bytes).sum::<u64>() + governor.reserved(Pool::Teacher);
                    let share = (total as f64 / 100.0).max(resident.unwrap_or_default() as f64 / 200.0);
                    prop_assert_eq!(assessed.pressure, share);
                    prop_assert_eq!(governor.total(), total);
                    let expected = share >= 0.9 || (conserving && share >= 0.75);
                    prop_assert_eq!((assessed.conserving, assessed.changed), (expected, expected != conserving));
                    prop_assert_eq!(assessed.purge, share > 1.0 && total > governor.reserved(Pool::Teacher));
                    conserving = expected;
                    continue;
                }
                Action::Collect => governor.collect(&mut pools, now),
                Action::Purge => governor.purge(&mut pools),
            };
            let after = held(&kernels, &blueprints);
            for (pool, gone) in gone.iter() {
                prop_assert_eq!(before[pool] - after[pool], gone.bytes, "{:?}", pool);
                prop_assert_eq!(governor.held(pool).bytes, after[pool] + governor.reserved(pool));
                freed[pool] += gone.bytes;
                let totals = governor.freed();
                prop_assert_eq!(totals.expired[pool].bytes + totals.purged[pool].bytes, freed[pool]);
            }
        }
    }
}
