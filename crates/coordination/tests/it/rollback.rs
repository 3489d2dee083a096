//! All go back, or none.

use std::time::Duration;

use kasmina_coordination::{Misuse, Order, Output, Pace, Plan, Rollback, Round, Settings, WorkerId};

use crate::group::{Group, ids, order, report};

fn group() -> Group {
    let mut group = Group::of(4, Settings { every: 10, lead: 3, ..Settings::default() });
    group.lease(1, 0);
    group
}

fn go_back(name: &str, epoch: u64) -> Order {
    Order { rollback_to: Some(epoch), ..order(name, 0) }
}

fn arrive(group: &mut Group, worker: u16, step: u64, pending: &[Order], checkpoints: &[u64]) {
    let mut report = report(pending);
    report.checkpoints = checkpoints.to_vec();
    let now = group.now;
    group.worker(worker).arrive(step, report, now).unwrap();
    group.collect();
}

fn plan(group: &Group, worker: u16) -> Plan {
    let last = group.outputs[&worker].iter().rev().find_map(|output| match output {
        Output::Decided(decided) => Some(decided.plan.clone()),
        _ => None,
    });
    last.unwrap()
}

#[test]
fn when_all_hold_the_checkpoint_all_go_back_at_once() {
    let mut group = group();
    let orders = [go_back("back", 5), order("other", 1)];
    for worker in 0..4 {
        let pending = if worker == 2 { &orders[..] } else { &[] };
        arrive(&mut group, worker, 20, pending, &[15, 5]);
    }
    group.deliver_all();
    for worker in 0..4 {
        let plan = plan(&group, worker);
        assert_eq!((ids(&plan.orders), plan.apply_at), (vec!["back"], 20), "nothing else happens with it");
        assert_eq!(plan.rollback, Some(Rollback::Go { id: orders[0].id.clone(), epoch: 5 }));
        let now = group.now;
        assert_eq!(group.worker(worker).advance(20, now), Ok(Pace::GoBack { epoch: 5 }), "and no step begins");
        group.worker(worker).went_back(5).unwrap();
        assert_eq!(group.worker(worker).advance(5, now), Ok(Pace::Go));
        assert_eq!(group.worker(worker).went_back(5), Err(Misuse::NoRollback));
    }
    // The same steps are other rounds now, and the order is not obeyed again.
    for worker in 0..4 {
        arrive(&mut group, worker, 10, &orders, &[5]);
    }
    group.deliver_all();
    let plan = plan(&group, 3);
    assert_eq!((ids(&plan.orders), plan.rollback, plan.apply_at), (vec!["other"], None, 13));
    let round = Round { era: 1, step: 10 };
    assert!(group.outputs[&3].iter().any(|it| matches!(it, Output::Decided(decided) if decided.round == round)));
}

#[test]
fn when_one_does_not_hold_the_checkpoint_nobody_goes_back() {
    let mut group = group();
    let orders = [go_back("back", 5), order("other", 1)];
    for worker in 0..4 {
        arrive(&mut group, worker, 20, &orders, if worker == 1 { &[15] } else { &[15, 5] });
    }
    group.deliver_all();
    for worker in 0..4 {
        let plan = plan(&group, worker);
        let refused = plan.rollback.clone().unwrap();
        assert_eq!(refused.reason(), Some("rollback_checkpoint_missing"));
        let (id, without) = (orders[0].id.clone(), vec![WorkerId(1)]);
        assert_eq!(refused, Rollback::Refused { id, epoch: 5, missing: vec![], without });
        assert_eq!(ids(&plan.orders), ["back", "other"], "the order is answered, and the others are applied");
        let now = group.now;
        assert_eq!(group.worker(worker).advance(20, now), Ok(Pace::Go));
    }
}

#[test]
fn when_one_is_missing_the_others_wait_two_seconds_and_stay() {
    let mut group = group();
    group.away = vec![3];
    for worker in 0..3 {
        arrive(&mut group, worker, 20, &[go_back("back", 5)], &[5]);
    }
    group.deliver_all();
    group.pass(Duration::from_millis(1_900));
    assert_eq!(group.decided(0), [], "it may still come");
    group.pass(Duration::from_millis(200));
    let refused = plan(&group, 2).rollback.unwrap();
    assert_eq!(refused.reason(), Some("rollback_member_missing"));
    assert!(matches!(refused, Rollback::Refused { missing, .. } if missing == [WorkerId(3)]));
}

#[test]
fn when_the_commit_is_lost_a_worker_waits_and_then_goes_back_too() {
    let mut group = group();
    for worker in 0..4 {
        arrive(&mut group, worker, 20, &[go_back("back", 5)], &[5]);
    }
    // Worker 3 accepts and hears nothing of the others' accepting.
    group.deliver(|_, to, message| to != WorkerId(3) || message.name() != "accept");
    let now = group.now;
    assert_eq!(group.worker(3).advance(20, now), Ok(Pace::Wait));
    assert_eq!(group.worker(0).advance(20, now), Ok(Pace::GoBack { epoch: 5 }));
    group.worker(0).went_back(5).unwrap();
    group.pass(group.settings.retry);
    let now = group.now;
    assert_eq!(group.worker(3).advance(20, now), Ok(Pace::GoBack { epoch: 5 }));
}

#[test]
fn when_one_has_missed_the_rollback_it_is_told_by_those_who_went_back() {
    let mut group = group();
    for worker in 0..4 {
        arrive(&mut group, worker, 20, &[go_back("back", 5)], &[5]);
    }
    // Worker 3 proposes, and hears nothing more.
    group.deliver(|_, to, _| to != WorkerId(3));
    for worker in 0..3 {
        let now = group.now;
        assert_eq!(group.worker(worker).advance(20, now), Ok(Pace::GoBack { epoch: 5 }));
        group.worker(worker).went_back(5).unwrap();
    }
    group.pass(group.settings.retry);
    let now = group.now;
    assert_eq!(group.worker(3).advance(20, now), Ok(Pace::GoBack { epoch: 5 }));
}
