//! One rule after the other, with four workers and real signatures.

use std::{sync::Arc, time::Duration};

use kasmina_coordination::{
    BadKeep, Event, Isolation, Kept, Ledger, Message, Misuse, Output, Pace, Phase, Prepare, Report, Round, Settings,
    StartError, To, Undecided, Votes, Worker, WorkerId,
};

use crate::group::{Group, order, report};

fn settings() -> Settings {
    Settings { every: 10, lead: 3, ..Settings::default() }
}

fn group() -> Group {
    let mut group = Group::of(4, settings());
    group.lease(1, 0);
    group
}

#[test]
fn when_all_come_one_list_is_decided_by_all() {
    for votes in [Votes::ToAll, Votes::ToHolder] {
        let mut group = Group::of(4, Settings { votes, ..settings() });
        group.lease(1, 0);
        let (a, b, c) = (order("a", 3), order("b", 2), order("c", 1));
        group.arrive(0, 10, std::slice::from_ref(&a));
        group.arrive(1, 10, &[b, a.clone()]);
        group.arrive(2, 10, &[]);
        group.arrive(3, 10, &[c, a]);
        group.deliver_all();
        let expected = vec![(vec!["c".to_owned(), "b".to_owned(), "a".to_owned()], 13)];
        for worker in 0..4 {
            assert_eq!(group.decided(worker), expected, "{votes:?}: {:?}", group.outputs);
            assert_eq!(group.event_names(worker), [""; 0]);
            let now = group.now;
            assert_eq!(group.worker(worker).advance(10, now), Ok(Pace::Go));
        }
    }
}

#[test]
fn when_a_straggler_is_late_its_order_comes_in_the_next_round() {
    let mut group = group();
    (0..3).for_each(|worker| group.arrive(worker, 10, &[]));
    group.deliver_all();
    group.pass(Duration::from_millis(50));
    assert_eq!(group.decided(0), [(vec![], 13)]);
    assert_eq!(group.event_names(0), ["straggler"]);
    group.arrive(3, 10, &[order("late", 0)]);
    group.deliver_all();
    assert_eq!(group.decided(3), [(vec![], 13)], "it is told what the others have decided");
    group.arrive_all(20, &[order("late", 0)]);
    group.deliver_all();
    assert_eq!(group.decided(3)[1..], [(vec!["late".to_owned()], 23)]);
    group.arrive_all(30, &[order("late", 0)]);
    group.deliver_all();
    assert_eq!(group.decided(0)[2..], [(vec![], 33)], "once");
}

#[test]
fn when_too_few_come_nobody_promises_anything_and_training_goes_on() {
    let mut group = group();
    (0..2).for_each(|worker| group.arrive(worker, 10, &[order("a", 0)]));
    group.deliver_all();
    let now = group.now;
    assert_eq!(group.worker(0).advance(10, now), Ok(Pace::Wait));
    group.pass(group.settings.timeout);
    let round = Round { era: 0, step: 10 };
    let expected = [
        Output::NoDecision { round, cause: Undecided::NoQuorum },
        Output::Event(Event::GerminationPaused { round, cause: Undecided::NoQuorum }),
    ];
    assert_eq!(group.outputs[&0], expected);
    let now = group.now;
    for step in 10..20 {
        assert_eq!(group.worker(0).advance(step, now), Ok(Pace::Go));
        assert_eq!(group.worker(1).advance(step, now), Ok(Pace::Go));
    }
    assert!(group.worker(0).germination_paused());
    group.arrive_all(20, &[order("a", 0)]);
    group.deliver_all();
    assert_eq!(group.decided(1), [(vec!["a".to_owned()], 23)]);
    assert_eq!(group.event_names(0)[1..], ["germination_resumed"]);
    assert!(!group.worker(0).germination_paused());
}

/// The holder gets as far as three workers' accepting, and dies before anybody hears of it.
fn accepted_and_unknown() -> Group {
    let mut group = group();
    group.arrive_all(10, &[order("a", 0)]);
    group.deliver(|_, _, message| !matches!(message, Message::Accept(_) | Message::Commit(_)));
    group.away = vec![0];
    group
}

#[test]
fn when_the_holder_dies_the_next_one_repeats_what_may_be_decided() {
    let mut group = accepted_and_unknown();
    group.lease(2, 1);
    group.deliver_all();
    for worker in 1..4 {
        assert_eq!(group.decided(worker), [(vec!["a".to_owned()], 13)]);
    }
}

#[test]
fn when_a_plan_is_accepted_its_step_waits_for_the_decision() {
    let mut group = accepted_and_unknown();
    group.away = vec![0, 1, 2, 3];
    group.pass(group.settings.timeout);
    let round = Round { era: 0, step: 10 };
    assert_eq!(group.outputs[&1][0], Output::Promised { round, apply_at: 13 });
    let now = group.now;
    for step in 10..13 {
        assert_eq!(group.worker(1).advance(step, now), Ok(Pace::Go));
    }
    assert_eq!(group.worker(1).advance(13, now), Ok(Pace::Wait));
    assert_eq!(group.worker(1).arrive(20, report(&[]), now), Err(Misuse::Waiting { round }));
    group.pass(group.settings.timeout);
    let isolated = Output::Isolated { round, cause: Isolation::Undecided };
    assert_eq!(group.outputs[&1].last(), Some(&isolated));
    let now = group.now;
    assert_eq!(group.worker(1).advance(13, now), Ok(Pace::Isolated(Isolation::Undecided)));
    // Peers answer at last.
    group.away = vec![0];
    group.lease(2, 2);
    group.pass(Duration::from_secs(1));
    assert_eq!(group.decided(1), [(vec!["a".to_owned()], 13)]);
    let now = group.now;
    assert_eq!(group.worker(1).advance(13, now), Ok(Pace::Go));
}

#[test]
fn when_a_decision_comes_after_its_step_the_replica_is_isolated() {
    let mut group = group();
    group.away = vec![3];
    group.arrive_all(10, &[order("a", 0)]);
    group.deliver_all();
    group.pass(group.settings.timeout);
    assert_eq!(group.decided(0).len(), 1);
    let now = group.now;
    for step in 10..=13 {
        assert_eq!(group.worker(3).advance(step, now), Ok(Pace::Go));
    }
    group.away.clear();
    group.pass(Duration::from_secs(1));
    let round = Round { era: 0, step: 10 };
    assert_eq!(group.outputs[&3].last(), Some(&Output::Isolated { round, cause: Isolation::Missed }));
    assert_eq!(group.decided(3), []);
}

#[test]
fn when_a_decision_comes_just_in_time_it_is_applied() {
    let mut group = group();
    group.away = vec![3];
    group.arrive_all(10, &[order("a", 0)]);
    group.deliver_all();
    group.pass(group.settings.timeout);
    let now = group.now;
    for step in 10..13 {
        assert_eq!(group.worker(3).advance(step, now), Ok(Pace::Go));
    }
    group.away.clear();
    group.pass(Duration::from_secs(1));
    assert_eq!(group.decided(3), [(vec!["a".to_owned()], 13)]);
}

#[test]
fn when_a_worker_has_promised_a_token_lower_ones_are_ignored() {
    let mut group = group();
    group.arrive_all(10, &[order("a", 0)]);
    // The holder's plan is on its way when the lease goes to another one.
    group.deliver(|_, _, message| !matches!(message, Message::Prepare(_)));
    let plan = prepare_of(&mut group);
    group.lease(2, 1);
    group.deliver(|_, _, message| matches!(message, Message::Propose(_)));
    for worker in 1..4 {
        let (bytes, now) = (Message::Prepare(Box::new(plan.clone())).encode(&group.members), group.now);
        group.worker(worker).receive(&bytes, now).unwrap();
    }
    let voted = |group: &mut Group| {
        group.collect();
        group
            .sent
            .iter()
            .filter(|(_, _, it)| matches!(**it, Message::Vote(signed) if signed.statement.token == 1))
            .count()
    };
    assert_eq!(voted(&mut group), 0, "nobody votes for what the old holder says");
}

/// The plan of the holder, worker 0, as it answers one that asks.
fn prepare_of(group: &mut Group) -> Prepare {
    group.sent.clear();
    let round = Round { era: 0, step: 10 };
    let asked = group.workers[&0].next_step();
    assert_eq!(asked, round.step);
    group.now = group.now.after(group.settings.retry);
    let now = group.now;
    group.worker(3).tick(now);
    group.collect();
    let mut plan = None;
    group.deliver(|_, to, message| {
        if let Message::Prepare(prepare) = message {
            plan = Some((**prepare).clone());
        }
        to == WorkerId(0)
    });
    plan.unwrap()
}

#[test]
fn when_a_holder_sends_two_plans_both_are_told_with_its_signatures() {
    let mut group = group();
    group.arrive_all(10, &[order("a", 0)]);
    let mut first = None;
    group.deliver(|_, to, message| {
        if let Message::Prepare(prepare) = message {
            first = Some((**prepare).clone());
        }
        to == WorkerId(0)
    });
    let first = first.unwrap();
    let mut second = first.clone();
    second.plan.orders.clear();
    // Worker 0 signs again, as a liar with its key would: a worker of the same key in another group of the same members.
    let mut liar = Group::of(4, settings());
    liar.lease(1, 0);
    liar.arrive_all(10, &[]);
    liar.deliver(|_, to, message| {
        if let Message::Prepare(prepare) = message {
            second = (**prepare).clone();
        }
        to == WorkerId(0)
    });
    let now = group.now;
    for plan in [&first, &second] {
        let bytes = Message::Prepare(Box::new(plan.clone())).encode(&group.members);
        group.worker(1).receive(&bytes, now).unwrap();
    }
    group.collect();
    let events = group.events(1);
    let evidence = events.iter().find_map(|event| match event {
        Event::Equivocation(evidence) if evidence.first.statement.phase == Phase::Prepare => Some(evidence),
        _ => None,
    });
    let evidence = evidence.unwrap_or_else(|| panic!("{events:?}"));
    assert_eq!(evidence.worker(), WorkerId(0));
    assert!(evidence.convicts(&group.members));
    let votes: Vec<_> = group.sent.iter().filter(|(_, _, it)| matches!(**it, Message::Vote(_))).collect();
    assert_eq!(votes.len(), 1, "one vote for one token: {votes:?}");
}

#[test]
fn when_replicas_differ_the_minority_is_named_and_its_vote_counts() {
    let mut group = group();
    let mut other = report(&[]);
    other.digest.state[0] ^= 1;
    let now = group.now;
    group.worker(2).arrive(10, other, now).unwrap();
    [0, 1, 3].into_iter().for_each(|worker| group.arrive(worker, 10, &[]));
    group.away = vec![3];
    group.deliver_all();
    group.pass(Duration::from_millis(50));
    let told = group.events(0);
    let is_told = told.iter().any(
        |event| matches!(event, Event::DigestMismatch { minority, majority: 2, .. } if *minority == [WorkerId(2)]),
    );
    assert!(is_told, "{told:?}");
    assert_eq!(group.decided(0).len(), 1, "three of four, the different one among them, are a quorum");
}

#[test]
fn when_one_sketch_is_off_it_is_told() {
    let mut group = group();
    for worker in 0..4 {
        let mut report = report(&[]);
        report.digest.sketch = if worker == 1 { vec![1.0, 2.5] } else { vec![1.0, 2.0] };
        let now = group.now;
        group.worker(worker).arrive(10, report, now).unwrap();
    }
    group.collect();
    group.deliver_all();
    let told = group.events(0);
    let [Event::SketchOutlier { worker: WorkerId(1), distance, .. }] = told[..] else { panic!("{told:?}") };
    assert!((distance - 0.5 / 5_f32.sqrt()).abs() < 1e-6, "{distance}");
}

#[test]
fn a_forged_message_is_refused_and_told() {
    let mut group = group();
    group.arrive_all(10, &[]);
    let (_, _, message) = group.sent.iter().find(|(from, _, _)| *from == WorkerId(2)).unwrap().clone();
    let mut bytes = message.encode(&group.members);
    let Message::Propose(proposal) = &*message else { panic!("{message:?}") };
    let signature = proposal.promise.signed.signature;
    let at = bytes.windows(64).position(|window| window == signature).unwrap();
    bytes[at] ^= 1;
    let now = group.now;
    group.worker(0).receive(&bytes, now).unwrap_err();
    group.collect();
    assert_eq!(group.event_names(0), ["forged_message"]);
}

#[test]
fn after_a_restart_a_worker_says_the_same_again() {
    let mut group = group();
    group.arrive_all(10, &[order("a", 0)]);
    let said = |group: &Group| {
        group.sent.iter().find(|(from, to, _)| (*from, *to) == (WorkerId(2), To::One(WorkerId(0)))).unwrap().2.clone()
    };
    let before = said(&group);
    group.sent.clear();
    let kept = group.kept[&2].clone();
    let (settings, members) = (group.settings.clone(), Arc::clone(&group.members));
    let again = Worker::resume(settings, members, group.keys[2].clone(), [kept], Ledger::default(), 10).unwrap();
    group.workers.insert(2, again);
    let now = group.now;
    group.worker(2).lease_seen(1, WorkerId(0), now);
    // It has other orders now.
    group.arrive(2, 10, &[order("b", 0)]);
    assert_eq!(said(&group), before);
}

#[test]
fn after_a_restart_what_was_accepted_still_binds() {
    let mut group = accepted_and_unknown();
    let kept = group.kept[&1].clone();
    let (settings, members) = (group.settings.clone(), Arc::clone(&group.members));
    let again = Worker::resume(settings, members, group.keys[1].clone(), [kept], Ledger::default(), 10).unwrap();
    group.workers.insert(1, again);
    group.away = vec![0, 1, 2, 3];
    group.arrive(1, 10, &[]);
    group.pass(group.settings.timeout);
    let round = Round { era: 0, step: 10 };
    assert_eq!(group.outputs[&1][0], Output::Promised { round, apply_at: 13 });
}

#[test]
fn a_plan_whose_step_is_to_come_is_put_out_again_from_a_checkpoint() {
    let mut group = group();
    group.arrive_all(10, &[order("a", 0)]);
    group.deliver_all();
    let now = group.now;
    assert_eq!(group.worker(1).advance(10, now), Ok(Pace::Go));
    let ledger = Ledger::from_bytes(&group.worker(1).ledger().to_bytes()).unwrap();
    assert_eq!(ledger, *group.worker(1).ledger());
    let (settings, members) = (group.settings.clone(), Arc::clone(&group.members));
    let mut again = Worker::resume(settings, members, group.keys[1].clone(), [], ledger, 11).unwrap();
    let outputs: Vec<_> = again.take_outputs().collect();
    let [Output::Decided(decided)] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!((decided.plan.apply_at, decided.plan.orders.len()), (13, 1));
    for step in 11..=13 {
        assert_eq!(again.advance(step, now), Ok(Pace::Go));
    }
    assert_eq!(again.ledger().due(), None);
}

#[test]
fn steps_out_of_order_are_named() {
    let mut group = group();
    let now = group.now;
    let worker = group.worker(0);
    assert_eq!(worker.advance(0, now), Err(Misuse::SkippedBarrier { step: 0 }));
    assert_eq!(worker.arrive(5, report(&[]), now), Err(Misuse::NotABarrier { step: 5, every: 10 }));
    worker.arrive(10, report(&[]), now).unwrap();
    assert_eq!(worker.arrive(0, report(&[]), now), Err(Misuse::Backwards { step: 0, next: 10 }));
    assert_eq!(worker.went_back(0), Err(Misuse::NoRollback));
}

#[test]
fn promises_that_cannot_be_read_are_an_error() {
    let group = group();
    let (settings, members) = (group.settings.clone(), Arc::clone(&group.members));
    let kept = [Kept::Promises(b"\xff\xff".to_vec())];
    let refused = Worker::resume(settings, members, group.keys[0].clone(), kept, Ledger::default(), 0);
    assert!(matches!(refused, Err(StartError::Keep(BadKeep { .. }))), "{refused:?}");
}

#[test]
fn a_worker_speaks_only_while_its_lease_lasts() {
    let mut group = group();
    let now = group.now;
    assert!(group.worker(0).speaks(now) && !group.worker(1).speaks(now));
    assert!(!group.worker(0).speaks(now.after(Duration::from_secs(60))), "by its own clock");
    group.worker(0).lease_seen(2, WorkerId(1), now);
    assert!(!group.worker(0).speaks(now), "a higher token was seen");
}

#[test]
fn orders_that_do_not_fit_wait() {
    let mut group = Group::of(1, settings());
    group.lease(1, 0);
    let limit = group.settings.limits.orders;
    let orders: Vec<_> = (0..limit + 5).map(|number| order(&format!("order-{number}"), number as i64)).collect();
    let mut pending: Report = report(&orders);
    pending.checkpoints = (0..100).collect();
    let now = group.now;
    group.worker(0).arrive(0, pending.clone(), now).unwrap();
    group.collect();
    assert_eq!(group.decided(0)[0].0.len(), limit);
    group.worker(0).arrive(10, pending, now).unwrap();
    group.collect();
    assert_eq!(group.decided(0)[1].0.len(), 5);
}
