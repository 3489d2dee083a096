//! The numbers in `docs/DURABILITY.md` are those of the code.

use std::fs;

use kasmina_rollback::{
    Entry, JOURNAL_VERSION, Journal, KEPT_SNAPSHOTS, MAX_BATCH_BYTES, SECTOR_BYTES, Store,
    doubles::conformance::one_of_each,
};

const DOCUMENT: &str = include_str!("../../../../docs/DURABILITY.md");

#[test]
fn constants_in_the_document_match_the_code() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let mut store = Store::open(directory.path()).unwrap();
    let header = fs::metadata(&path).unwrap().len();
    let entry = Entry::Telemetry { packet: vec![1; 9] };
    store.journal.append(std::slice::from_ref(&entry)).unwrap();
    let bytes = fs::read(&path).unwrap();
    let overhead = bytes.len() as u64 - header - entry.encode().unwrap().len() as u64;

    let constants = [
        ("JOURNAL_VERSION", JOURNAL_VERSION.into()),
        ("HEADER_BYTES", header),
        ("FRAME_OVERHEAD_BYTES", overhead),
        ("MAX_BATCH_BYTES", MAX_BATCH_BYTES as u64),
        ("SECTOR_BYTES", SECTOR_BYTES),
        ("KEPT_SNAPSHOTS", KEPT_SNAPSHOTS as u64),
    ];
    for (name, value) in constants {
        let row = format!("| `{name}` | {value} |");
        assert!(DOCUMENT.contains(&row), "{row}");
    }
    for (at, magic) in [(0, "KASMJRNL"), (header as usize, "KJF2")] {
        assert_eq!(&bytes[at..at + magic.len()], magic.as_bytes());
        assert!(DOCUMENT.contains(&format!("`{magic}`")));
    }
    assert_eq!(bytes[8..12], JOURNAL_VERSION.to_le_bytes(), "the version is at offset 8");
}

#[test]
fn numbers_of_entries_in_the_document_match_the_code() {
    let entries = one_of_each();
    assert_eq!(entries.len(), Entry::NAMES.len());
    for (number, (entry, name)) in entries.iter().zip(Entry::NAMES).enumerate() {
        assert_eq!(usize::from(entry.encode().unwrap()[0]), number, "{name}");
        let debug = format!("{entry:?}");
        assert!(debug.starts_with(&format!("{name} {{ ")), "{debug}");
        let fields: Vec<_> = row(number, name).split(", ").map(str::to_owned).collect();
        let mut rest = debug.as_str();
        for field in fields {
            let at = rest.find(&format!("{field}: ")).unwrap_or_else(|| panic!("{name} has no {field} here: {rest}"));
            rest = &rest[at..];
        }
    }
    let rows =
        DOCUMENT.lines().filter(|line| line.starts_with("| ") && line[2..].starts_with(|c: char| c.is_ascii_digit()));
    assert_eq!(rows.count(), entries.len());
}

/// The fields that the document lists for an entry.
fn row(number: usize, name: &str) -> &'static str {
    let start = format!("| {number} | `{name}` | ");
    let line = DOCUMENT.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_else(|| panic!("{start}"));
    line.strip_suffix(" |").unwrap()
}
