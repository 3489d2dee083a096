//! The table of reasons against the source of all crates, and `kasmina explain`.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{failure, kasmina, source};

/// The reasons that have an entry.
fn entries() -> BTreeSet<String> {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/reasons.md");
    let text = fs::read_to_string(table).unwrap();
    text.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect()
}

#[test]
fn every_reason_in_the_source_has_an_entry() {
    let (found, entries) = (source::scan(&source::workspace()), entries());
    assert!(found.unclear.is_empty(), "the scan cannot follow: {:#?}", found.unclear);
    let missing: Vec<_> = found.reasons.iter().filter(|(reason, _)| !entries.contains(*reason)).collect();
    assert!(missing.is_empty(), "add entries to crates/cli/src/reasons.md: {missing:#?}");
}

#[test]
fn every_entry_is_a_reason_in_the_source() {
    let found = source::scan(&source::workspace());
    let entries = entries();
    let gone: Vec<_> = entries.iter().filter(|entry| !found.reasons.contains_key(*entry)).collect();
    assert!(gone.is_empty(), "no crate gives these reasons any more: {gone:#?}");
}

#[test]
fn explain_says_what_a_stale_command_needs() {
    let expected = "stale_command

  where   rejected: `CommandError::Rejected`, event `command_rejected`: the
          command is not authentic, fresh and new. It used no nonce.
  cause   The command was signed more than 60 s ago, or before the nonce
          ledger's watermark.
  remedy  Sign a new command. If the message says that the watermark is in the
          future, a clock was ahead once: stop the manager and run `kasmina
          store reset-watermark DIR`.
";
    for spelling in ["stale_command", "STALE-COMMAND"] {
        let output = kasmina(&["explain", spelling]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    }
}

#[test]
fn unknown_reason_gets_the_nearest_names() {
    for (reason, suggestion) in [
        ("nonce_replay", "did you mean nonce_replayed"),
        ("stail_comand", "did you mean stale_command"),
        ("xyzzy", "`kasmina explain` lists all"),
    ] {
        let (code, said) = failure(&kasmina(&["explain", reason]).output().unwrap());
        assert!(code == Some(2) && said.contains(suggestion), "{said}");
    }
}

#[test]
fn explain_without_a_reason_lists_all() {
    let output = kasmina(&["explain"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    for reason in entries() {
        assert!(said.contains(&format!("\n  {reason} ")), "{reason}");
    }
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
}
