//! Orders that come again.

use std::time::Duration;

use kasmina_coordination::{Order, Settings};
use kasmina_leyline::UnixTime;

use crate::group::{Group, order, report};

/// A worker alone, whose rounds are at these times.
struct Alone {
    group: Group,
    step: u64,
}

impl Alone {
    fn new(settings: Settings) -> Self {
        let mut group = Group::of(1, Settings { every: 1, lead: 0, ..settings });
        group.lease(1, 0);
        Self { group, step: 0 }
    }

    /// Holds a round at a time, in seconds. Gives what it applies.
    fn round(&mut self, at: i64, pending: &[Order]) -> Vec<String> {
        let mut report = report(pending);
        report.at = UnixTime::from_millis(1_700_000_000_000 + at * 1_000);
        let (now, step) = (self.group.now, self.step);
        self.group.worker(0).arrive(step, report, now).unwrap();
        self.group.collect();
        self.group.worker(0).advance(step, now).unwrap();
        self.step += 1;
        self.group.decided(0).pop().unwrap().0
    }
}

#[test]
fn an_order_is_applied_once_while_it_is_remembered_and_never_after() {
    let mut alone = Alone::new(Settings::default());
    let (first, second) = (order("first", 0), order("second", 10));
    assert_eq!(alone.round(0, std::slice::from_ref(&first)), ["first"]);
    assert_eq!(alone.round(299, &[first.clone(), second.clone()]), ["second"]);
    // Forgotten, and older than what was forgotten.
    assert_eq!(alone.round(300, std::slice::from_ref(&first)), [""; 0]);
    assert_eq!(alone.round(700, &[first, second, order("old", -1), order("new", 699_000)]), ["new"]);
}

#[test]
fn beyond_its_capacity_the_oldest_are_forgotten_and_not_applied() {
    let limits = kasmina_coordination::Limits { orders: 2, ..Default::default() };
    let mut alone = Alone::new(Settings { remember_most: 2, limits, ..Settings::default() });
    let orders: Vec<_> = (0..4).map(|number| order(&format!("order-{number}"), number)).collect();
    assert_eq!(alone.round(0, &orders[..2]), ["order-0", "order-1"]);
    assert_eq!(alone.round(0, &orders[2..]), ["order-2", "order-3"]);
    assert_eq!(alone.round(0, &orders), [""; 0]);
}

#[test]
fn the_time_of_rounds_never_goes_back() {
    let mut alone = Alone::new(Settings { remember: Duration::from_secs(10), ..Settings::default() });
    let first = order("first", 0);
    assert_eq!(alone.round(100, std::slice::from_ref(&first)), ["first"]);
    assert_eq!(alone.round(-1_000, std::slice::from_ref(&first)), [""; 0]);
    assert_eq!(alone.round(-1_000, &[order("second", 5)]), ["second"]);
    assert_eq!(alone.group.workers[&0].ledger().due(), None);
}
