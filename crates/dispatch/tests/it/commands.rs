//! Commands, from the stream to their acknowledgement.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use kasmina_dispatch::{Inbox, command};
use kasmina_leyline::{
    TrainingRunId,
    v1::{BusMessageType, MessagePriority},
};
use kasmina_oona::{Bus, BusError, BusSettings, Message, NoBus};

use crate::world::{Answer, Local, reasons, run};

fn local() -> Local {
    Local::new(BusSettings::default())
}

#[test]
fn command_is_acknowledged_after_its_answer_only() {
    let mut local = local();
    let bus = Arc::new(local.broker.join(Inbox::subscription(&run(), "trainer-1")).unwrap());
    let (mut inbox, mut manager) = (Inbox::new(Arc::clone(&bus)), local.manager());
    local.send("seed-1");
    let submit = |wires: Vec<&[u8]>| {
        let answers = manager.submit_all(wires);
        assert_eq!(bus.status().counts.acknowledged, 0);
        answers
    };
    let served = inbox.serve(submit, |_| true).unwrap();
    assert_eq!((reasons(&served), bus.status().counts.acknowledged), (vec!["ok"], 1));
}

#[test]
fn answered_command_that_comes_again_is_a_replay() {
    let mut local = local();
    let (mut inbox, mut manager) = (local.inbox("trainer-1"), local.manager());
    local.send("seed-1");
    // As if the process had died before the acknowledgement.
    let served = inbox.serve(|wires| manager.submit_all(wires), |_| false).unwrap();
    assert_eq!((reasons(&served), served.kept), (vec!["ok"], 1));
    local.wait();
    let served = local.inbox("trainer-2").serve(|wires| manager.submit_all(wires), |_| true).unwrap();
    assert_eq!((reasons(&served), served.kept), (vec!["nonce_replayed"], 0));
    local.wait();
    assert!(inbox.serve(|wires| manager.submit_all(wires), |_| true).unwrap().answers.is_empty());
}

#[test]
fn only_the_commands_that_are_not_final_come_again() {
    let mut local = local();
    let mut inbox = local.inbox("trainer-1");
    ["seed-1", "seed-2", "seed-3"].into_iter().for_each(|name| local.send(name));
    let served = inbox.serve(|wires| (0..wires.len()).collect(), |answer| *answer != 1).unwrap();
    assert_eq!((served.answers, served.kept), (vec![0, 1, 2], 1));
    local.wait();
    assert_eq!(inbox.serve(|wires| wires.iter().map(|_| ()).collect(), |()| true).unwrap().answers.len(), 1);
}

#[test]
fn command_without_an_answer_comes_again() {
    let mut local = local();
    let mut inbox = local.inbox("trainer-1");
    local.send("seed-1");
    local.send("seed-2");
    let served = inbox.serve(|_| vec!["one answer"], |_| true).unwrap();
    assert_eq!(served.kept, 1);
    local.wait();
    let died = catch_unwind(AssertUnwindSafe(|| inbox.serve(|_| -> Vec<()> { panic!("killed") }, |()| true)));
    assert!(died.is_err());
    local.wait();
    let mut manager = local.manager();
    let served = inbox.serve(|wires| manager.submit_all(wires), |_| true).unwrap();
    assert_eq!(reasons(&served), ["ok"]);
}

#[test]
fn other_messages_are_acknowledged_and_counted() {
    let mut local = local();
    let mut inbox = local.inbox("trainer-1");
    let publisher = local.broker.publisher();
    publisher.publish(Message::new(BusMessageType::SystemState, *b"a state")).unwrap();
    publisher.publish(Message::new(BusMessageType::FieldReport, *b"a report")).unwrap();
    let served = inbox.serve(|_| -> Vec<Answer> { panic!("there is no command") }, |_| true).unwrap();
    assert_eq!((served.ignored, served.answers.len()), (2, 0));
    assert_eq!(inbox.bus().status().counts.acknowledged, 2);
    local.send("seed-1");
    let mut manager = local.manager();
    assert_eq!(inbox.serve(|wires| manager.submit_all(wires), |_| true).unwrap().ignored, 0);
}

#[test]
fn what_cannot_wait_overtakes() {
    let mut local = local();
    let mut inbox = local.inbox("trainer-1");
    local.send("seed-1");
    local.send_urgent();
    let mut manager = local.manager();
    let served = inbox.serve(|wires| manager.submit_all(wires), |_| true).unwrap();
    let ids: Vec<_> = served.answers.iter().map(|answer| answer.as_ref().unwrap().to_string()).collect();
    assert!(ids[0].ends_with("-2") && ids[1].ends_with("-1"), "{ids:?}");
}

#[test]
fn message_that_is_not_a_command_goes_without_hurry() {
    for (wire, priority) in [(&b""[..], MessagePriority::Normal), (b"\xff\xff", MessagePriority::Normal)] {
        assert_eq!(command(wire).priority, priority);
    }
}

#[test]
fn every_run_gets_all_commands_and_its_trainers_share() {
    let mut local = local();
    let (mut one, mut two) = (local.inbox("trainer-1"), local.inbox("trainer-2"));
    let other = Inbox::subscription(&TrainingRunId::new("run-8").unwrap(), "trainer-1");
    let mut other = Inbox::new(local.broker.join(other).unwrap());
    local.send("seed-1");
    let count = |inbox: &mut Inbox| inbox.serve(|wires| wires.iter().map(|_| ()).collect(), |()| true).unwrap();
    assert_eq!(
        (count(&mut one).answers.len(), count(&mut two).answers.len(), count(&mut other).answers.len()),
        (1, 0, 1)
    );
}

#[test]
fn forged_command_is_answered_and_acknowledged() {
    let local = local();
    let (mut inbox, mut manager) = (local.inbox("trainer-1"), local.manager());
    local.broker.publisher().publish(command(*b"\x0a\x01x")).unwrap();
    let served = inbox.serve(|wires| manager.submit_all(wires), |_| true).unwrap();
    assert_eq!((reasons(&served), served.kept), (vec!["missing_signature"], 0));
    assert_eq!(inbox.bus().status().counts.acknowledged, 1);
}

#[test]
fn bus_that_cannot_be_read_is_an_error() {
    let served = Inbox::new(NoBus).serve(|_| Vec::<()>::new(), |()| true);
    assert_eq!(served.unwrap_err(), BusError::NotWired);
}
