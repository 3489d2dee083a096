//! Which network comes back.

use kasmina::rollback::{Entry, Record};

use super::changed;
use crate::crash::{
    finding::{
        Tally,
        Wrong::{self, *},
    },
    ledger::{Held, Ledger},
    protocol::{Kind, Line, Standing},
};

/// Operations after which the network has these losses, in one life after the other, each begun by a recovery. A kind
/// without a loss is in flight when its process is killed.
fn network(lives: &[&[(Kind, Option<u32>)]]) -> (Vec<Wrong>, Tally) {
    let (mut ledger, mut tally) = (Ledger::new(), Tally::default());
    let (mut held, mut wrong) = (Held::default(), Vec::new());
    for (incarnation, life) in (0..).zip(lives) {
        let recovered = Standing { sequence: held.records.len() as u64, ..Standing::default() };
        let mut lines = vec![Line::Recovered { incarnation, standing: recovered }];
        for (kind, loss) in *life {
            let mut entries = vec![changed("the network")];
            if *kind == Kind::RollBack {
                entries.insert(0, Entry::RolledBack { seed_id: None, epoch: 1 });
            }
            if *kind == Kind::Checkpoint {
                let (epoch, step, bytes, blobs) = (1, 1, Vec::new(), Vec::new());
                entries.push(Entry::Epoch { epoch, step, bytes, blobs });
            }
            let end = held.records.len() as u64 + 1;
            held.records.extend(entries.into_iter().zip(end..).map(|(entry, sequence)| Record { sequence, entry }));
            lines.push(Line::Intends { kind: *kind, commands: Vec::new() });
            let sequence = held.records.len() as u64;
            let standing = Standing { sequence, loss: *loss, ..Standing::default() };
            if loss.is_some() {
                lines.push(Line::Done { kind: *kind, answers: Vec::new(), moves: Vec::new(), standing });
            }
        }
        wrong.extend(ledger.round(&held, &lines, &mut tally).into_iter().map(|finding| finding.wrong));
    }
    (wrong, tally)
}

#[test]
fn the_network_that_was_stored_last_must_come_back() {
    use Kind::{Attach, Checkpoint, Restore, Settle, Step};
    let begun = [(Restore, Some(1)), (Attach, Some(1)), (Step, Some(2))];
    for (stored, step) in [(Checkpoint, 2), (Settle, 3)] {
        let mut life = begun.to_vec();
        life.extend([(stored, Some(step)), (Step, Some(4))]);
        let (wrong, tally) = network(&[&life, &[(Restore, Some(step))]]);
        assert_eq!((wrong, tally.networks_restored), (vec![], 1), "{stored:?}");
        for other in [1, 4, 9] {
            assert_eq!(network(&[&life, &[(Restore, Some(other))]]).0, [Lost], "{stored:?}, {other}");
        }
    }
    assert_eq!(network(&[&begun, &[(Restore, Some(1))]]).0, []);
    assert_eq!(network(&[&begun, &[(Restore, Some(2))]]).0, [Lost], "nothing has stored it");
}

#[test]
fn a_network_that_the_run_never_had_is_found() {
    use Kind::{Attach, Checkpoint, Restore, RollBack, Settle, Step};
    let begun = [(Restore, Some(1)), (Attach, Some(1)), (Step, Some(2))];
    for killed_in in [Checkpoint, RollBack] {
        let mut life = begun.to_vec();
        life.push((killed_in, None));
        for (restored, findings) in [(1, &[][..]), (2, &[]), (9, &[Lost])] {
            assert_eq!(network(&[&life, &[(Restore, Some(restored))]]).0, findings, "{killed_in:?}, {restored}");
        }
    }
    let mut back = begun.to_vec();
    back.push((RollBack, Some(9)));
    assert_eq!(network(&[&back]).0, [Lost]);
    // Nobody was told which network it was to be. From then on it is known.
    let mut settling = begun.to_vec();
    settling.push((Settle, None));
    assert_eq!(network(&[&settling, &[(Restore, Some(9))], &[(Restore, Some(9))]]).0, []);
    assert_eq!(network(&[&settling, &[(Restore, Some(9))], &[(Restore, Some(1))]]).0, [Lost]);
}
