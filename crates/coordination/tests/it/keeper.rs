//! Promises on a disk.

use kasmina_coordination::{DirectoryKeeper, Keeper, Kept, MemoryKeeper, NoKeeper, Round};

#[test]
fn what_was_kept_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let open = || DirectoryKeeper::open(directory.path().join("coordination"), 2).unwrap();
    let mut keeper = open();
    assert_eq!(keeper.kept().unwrap(), []);
    let decision = |step| Kept::Decision { round: Round { era: 1, step }, bytes: vec![step as u8] };
    for kept in [Kept::Promises(vec![1]), decision(100), decision(90), decision(200), Kept::Promises(vec![2])] {
        keeper.keep(&kept).unwrap();
    }
    // A process that died while it wrote.
    std::fs::write(directory.path().join("coordination/promises.new"), b"half").unwrap();
    assert_eq!(open().kept().unwrap(), [Kept::Promises(vec![2]), decision(100), decision(200)]);
}

#[test]
fn the_null_object_keeps_nothing_and_says_so() {
    assert!(NoKeeper.keep(&Kept::Promises(Vec::new())).is_err());
    assert_eq!(NoKeeper.kept().unwrap(), []);
    assert!(MemoryKeeper.keep(&Kept::Promises(Vec::new())).is_ok());
}
