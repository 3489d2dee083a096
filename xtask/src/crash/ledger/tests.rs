//! Made-up journals, beside made-up acknowledgements.

mod network;

use std::collections::BTreeMap;

use kasmina::{
    kernel_load::Digest,
    leyline::{
        CommandId, SeedId, UnixTime,
        v1::SeedLifecycleStage::{self, *},
    },
    rollback::{Entry, Record},
};

use super::{Held, Ledger};
use crate::crash::{
    finding::{
        Tally,
        Wrong::{self, *},
    },
    protocol::{Announced, Answer, Kind, Line, Move, Standing, stage_name},
};

/// One operation: what is announced, what is journaled, what is acknowledged.
#[derive(Clone)]
struct Operation {
    kind: Kind,
    announced: Vec<Announced>,
    entries: Vec<Entry>,
    answers: Vec<Answer>,
    moves: Vec<Move>,
}

fn nonce(id: &str) -> Entry {
    Entry::NonceSeen { command_id: CommandId::new(id).unwrap(), issued_at: UnixTime::default() }
}

fn obeyed(id: &str) -> Entry {
    Entry::Accepted { command_id: CommandId::new(id).unwrap(), wire: id.as_bytes().to_vec() }
}

fn refused(id: &str, reason: &str) -> Entry {
    Entry::Refused { command_id: id.to_owned(), reason: reason.to_owned() }
}

fn moved(from: SeedLifecycleStage, to: SeedLifecycleStage) -> Entry {
    Entry::Moved { seed_id: SeedId::new("seed-1").unwrap(), from, to, gate: None, at: UnixTime::default() }
}

fn changed(what: &str) -> Entry {
    Entry::Delta { bytes: what.as_bytes().to_vec(), blobs: Vec::new() }
}

fn accept(id: &str, from: SeedLifecycleStage, to: SeedLifecycleStage) -> Operation {
    let moves = vec![Move { seed: "seed-1".to_owned(), from: stage_name(from), to: stage_name(to) }];
    Operation {
        kind: Kind::Submit,
        announced: vec![announce(id)],
        entries: vec![nonce(id), obeyed(id), moved(from, to), changed(id)],
        answers: vec![Answer::Accepted { id: id.to_owned() }],
        moves,
    }
}

fn announce(id: &str) -> Announced {
    Announced { id: id.to_owned(), wire: Digest::of(id.as_bytes()).to_string() }
}

/// The bits of a network's loss.
const LOSS: u32 = 7;

/// A life of three operations, the last of which is in flight.
struct World {
    operations: Vec<Operation>,
    /// How many of them are told to be done.
    told: usize,
    records: Vec<Record>,
}

impl World {
    fn new() -> Self {
        let refusal = Operation {
            kind: Kind::Submit,
            announced: vec![announce("c-2")],
            entries: vec![nonce("c-2"), refused("c-2", "slot_taken"), changed("c-2")],
            answers: vec![Answer::Refused { id: "c-2".to_owned(), reason: "slot_taken".to_owned() }],
            moves: Vec::new(),
        };
        let operations = vec![
            accept("c-1", SeedStageUnknown, SeedStageDormant),
            refusal,
            accept("c-3", SeedStageDormant, SeedStageGerminated),
        ];
        let records = records(operations.iter().flat_map(|operation| operation.entries.clone()));
        Self { operations, told: 2, records }
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines = vec![Line::Recovered { incarnation: 0, standing: Standing::default() }];
        let mut standing = Standing { loss: Some(LOSS), ..Standing::default() };
        for (place, operation) in self.operations.iter().enumerate().take(self.told + 1) {
            let Operation { kind, announced, entries, answers, moves } = operation.clone();
            lines.push(Line::Intends { kind, commands: announced });
            if place == self.told {
                break;
            }
            standing.sequence += entries.len() as u64;
            standing.kernels = kernels(place);
            standing.stages.extend(moves.iter().map(|moved| (moved.seed.clone(), moved.to.clone())));
            lines.push(Line::Done { kind, answers, moves, standing: standing.clone() });
        }
        lines
    }

    fn held(&self) -> Held {
        Held { records: self.records.clone() }
    }

    /// In which ways the store is wrong.
    fn wrong(&self) -> Vec<Wrong> {
        let mut tally = Tally::default();
        let findings = Ledger::new().round(&self.held(), &self.lines(), &mut tally);
        findings.into_iter().map(|finding| finding.wrong).collect()
    }

    /// The journal with other entries, numbered anew.
    fn rewrite(&mut self, change: impl FnOnce(&mut Vec<Entry>)) {
        let mut entries = self.records.iter().map(|record| record.entry.clone()).collect();
        change(&mut entries);
        self.records = records(entries);
    }
}

fn records(entries: impl IntoIterator<Item = Entry>) -> Vec<Record> {
    entries.into_iter().zip(1..).map(|(entry, sequence)| Record { sequence, entry }).collect()
}

fn kernels(place: usize) -> BTreeMap<String, String> {
    [("seed-1".to_owned(), format!("after {place}"))].into()
}

#[test]
fn one_batch_may_be_ahead_and_is_counted() {
    let world = World::new();
    let mut tally = Tally::default();
    assert_eq!(Ledger::new().round(&world.held(), &world.lines(), &mut tally), []);
    let counted = (tally.in_flight_kept, tally.commands_acknowledged, tally.transitions_acknowledged);
    assert_eq!(counted, (1, 2, 1));
}

#[test]
fn nothing_may_be_ahead_of_what_was_not_begun() {
    let mut world = World::new();
    world.told = 1;
    assert_eq!(world.wrong(), [Error, Error], "two batches ahead: other commands, and two changes");
    world.operations.truncate(1);
    assert_eq!(world.wrong(), [Error], "of nobody's making");
}

#[test]
fn step_may_be_three_changes_and_a_command_one() {
    for (kind, changes, wrong) in [
        (Kind::Step, 3, vec![]),
        (Kind::Step, 4, vec![Error]),
        (Kind::Settle, 1, vec![]),
        (Kind::Settle, 2, vec![Error]),
    ] {
        let mut world = World::new();
        let entries: Vec<_> = (0..changes).map(|_| changed("by a step")).collect();
        world.operations[2] = Operation { kind, announced: vec![], entries, answers: vec![], moves: vec![] };
        world.records = records(world.operations.iter().flat_map(|operation| operation.entries.clone()));
        assert_eq!(world.wrong(), wrong, "{kind:?} with {changes} changes");
    }
}

#[test]
fn half_a_batch_is_found() {
    let mut world = World::new();
    world.rewrite(|entries| drop(entries.drain(8..)));
    assert_eq!(world.wrong(), [Error, Lost], "neither the answer nor the change is there");
}

#[test]
fn what_is_lost_is_found() {
    for place in 0..7 {
        let mut world = World::new();
        world.rewrite(|entries| drop(entries.remove(place)));
        assert!(world.wrong().contains(&Lost), "record {}", place + 1);
    }
    let mut world = World::new();
    world.rewrite(|entries| entries.truncate(6));
    assert!(world.wrong().contains(&Lost), "the end");
}

#[test]
fn a_gap_is_found() {
    let mut world = World::new();
    world.records.remove(4);
    assert!(world.wrong().contains(&Lost));
}

#[test]
fn what_is_there_twice_is_found() {
    let mut world = World::new();
    world.rewrite(|entries| entries[7..9].clone_from_slice(&[nonce("c-1"), obeyed("c-1")]));
    let wrong = world.wrong();
    assert_eq!(wrong.iter().filter(|wrong| **wrong == Duplicate).count(), 2, "{wrong:?}");
}

#[test]
fn another_order_is_found() {
    let mut world = World::new();
    world.rewrite(|entries| {
        entries.swap(0, 4);
        entries.swap(1, 5);
    });
    assert!(world.wrong().contains(&Lost));
}

#[test]
fn another_answer_or_another_wire_is_found() {
    let mut world = World::new();
    world.rewrite(|entries| entries[5] = refused("c-2", "unknown_seed"));
    assert_eq!(world.wrong(), [Lost]);
    let mut world = World::new();
    world.rewrite(|entries| {
        entries[1] = Entry::Accepted { command_id: CommandId::new("c-1").unwrap(), wire: b"c-9".to_vec() };
    });
    assert_eq!(world.wrong(), [Lost]);
}

/// What the next process says first, where it is `change`d.
fn next(change: impl FnOnce(&mut Standing)) -> Vec<Wrong> {
    let mut world = World::new();
    world.rewrite(|entries| entries.truncate(7));
    let (mut ledger, mut tally) = (Ledger::new(), Tally::default());
    assert_eq!(ledger.round(&world.held(), &world.lines(), &mut tally), []);
    let mut standing = Standing {
        sequence: 8,
        step: 0,
        stages: [("seed-1".to_owned(), "DORMANT".to_owned())].into(),
        kernels: kernels(1),
        loss: None,
    };
    change(&mut standing);
    world.rewrite(|entries| entries.push(Entry::Snapshot { bytes: vec![1], blobs: Vec::new() }));
    let lines = [Line::Recovered { incarnation: 1, standing }];
    ledger.round(&world.held(), &lines, &mut tally).into_iter().map(|finding| finding.wrong).collect()
}

#[test]
fn a_process_that_comes_back_to_something_else_is_found() {
    assert_eq!(next(|_| {}), []);
    assert!(next(|standing| standing.stages = [("seed-1".to_owned(), "TRAINING".to_owned())].into()).contains(&Lost));
    assert!(next(|standing| standing.stages.clear()).contains(&Lost));
    assert!(next(|standing| standing.kernels = kernels(0)).contains(&Lost));
    assert!(next(|standing| standing.kernels.clear()).contains(&Lost));
    assert!(next(|standing| standing.step = 3).contains(&Lost));
}

#[test]
fn a_compacted_journal_is_no_loss_but_a_changed_one_is() {
    let mut world = World::new();
    let (mut ledger, mut tally) = (Ledger::new(), Tally::default());
    assert_eq!(ledger.round(&world.held(), &world.lines(), &mut tally), []);
    world.records.drain(..9);
    assert_eq!(ledger.round(&world.held(), &[], &mut tally), []);
    assert_eq!(tally.compactions, 1);
    world.records[0].entry = changed("c-9");
    let findings = ledger.round(&world.held(), &[], &mut tally);
    assert!(findings.iter().any(|finding| finding.wrong == Lost), "{findings:?}");
}

#[test]
fn a_replay_that_is_obeyed_is_found() {
    let mut world = World::new();
    let replay = |answer| Operation {
        kind: Kind::Replay,
        announced: Vec::new(),
        entries: Vec::new(),
        answers: vec![answer],
        moves: Vec::new(),
    };
    world.rewrite(|entries| entries.truncate(7));
    world.operations[2] = replay(Answer::Rejected { reason: "nonce_replayed".to_owned() });
    world.told = 3;
    assert_eq!(world.wrong(), []);
    world.operations[2] = replay(Answer::Accepted { id: "c-1".to_owned() });
    assert!(world.wrong().contains(&Duplicate));
    world.operations[2] = replay(Answer::Rejected { reason: "invalid_signature".to_owned() });
    assert!(world.wrong().contains(&Duplicate));
}

#[test]
fn a_network_whose_loss_is_not_told_is_found() {
    let mut world = World::new();
    world.rewrite(|entries| entries.truncate(7));
    let mut lines = world.lines();
    lines.truncate(5);
    for line in &mut lines {
        if let Line::Done { standing, .. } = line {
            standing.loss = None;
        }
    }
    let findings = Ledger::new().round(&world.held(), &lines, &mut Tally::default());
    assert!(!findings.is_empty() && findings.iter().all(|finding| finding.wrong == Error), "{findings:?}");
}
