//! Files that grow, shrink, end in the middle, and go.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use kasmina_watch::{Chunk, Cursor, FollowError, Follower};

struct Rig {
    directory: tempfile::TempDir,
    follower: Follower,
    cursor: Cursor,
}

impl Rig {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let follower = Follower::new(directory.path());
        Self { directory, follower, cursor: Cursor::default() }
    }

    /// With a run of these bytes.
    fn with(bytes: &[u8]) -> Self {
        let rig = Self::new();
        fs::write(rig.path(), bytes).unwrap();
        rig
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("run.jsonl")
    }

    fn append(&self, bytes: &[u8]) {
        OpenOptions::new().append(true).open(self.path()).unwrap().write_all(bytes).unwrap();
    }

    fn try_read(&mut self) -> Result<Chunk, FollowError> {
        let chunk = self.follower.read("run.jsonl", self.cursor)?;
        self.cursor = chunk.next;
        Ok(chunk)
    }

    fn read(&mut self) -> Chunk {
        self.try_read().unwrap()
    }

    fn lines(&mut self) -> String {
        self.read().lines
    }
}

fn names(follower: &Follower) -> Vec<String> {
    follower.runs().found.into_iter().map(|run| run.name).collect()
}

#[test]
fn new_lines_are_read_once() {
    let mut rig = Rig::with(b"one\ntwo\n");
    assert_eq!(rig.lines(), "one\ntwo\n");
    assert_eq!(rig.lines(), "");
    rig.append(b"three\n");
    let chunk = rig.read();
    assert_eq!((chunk.lines.as_str(), chunk.restarted, chunk.behind), ("three\n", false, 0));
}

#[test]
fn an_unfinished_line_waits_for_its_end() {
    let mut rig = Rig::with(b"one\ntw");
    let chunk = rig.read();
    assert_eq!((chunk.lines.as_str(), chunk.behind), ("one\n", 2));
    assert_eq!(rig.lines(), "");
    rig.append(b"o\n");
    assert_eq!(rig.lines(), "two\n");
}

#[test]
fn an_unfinished_first_line_waits_for_its_end() {
    let mut rig = Rig::with(b"on");
    assert_eq!(rig.lines(), "");
    rig.append(b"e\n");
    let chunk = rig.read();
    assert_eq!((chunk.lines.as_str(), chunk.restarted), ("one\n", false));
}

#[test]
fn a_shorter_file_is_read_from_its_start() {
    let mut rig = Rig::with(b"one\ntwo\nthree\n");
    rig.read();
    fs::write(rig.path(), b"one\nnew\n").unwrap();
    let chunk = rig.read();
    assert_eq!((chunk.lines.as_str(), chunk.restarted), ("one\nnew\n", true));
    assert!(!rig.read().restarted);
}

#[test]
fn a_longer_file_that_replaced_it_is_read_from_its_start() {
    let mut rig = Rig::with(b"one\n");
    rig.read();
    fs::write(rig.path(), b"another\nand longer\n").unwrap();
    let chunk = rig.read();
    assert_eq!((chunk.lines.as_str(), chunk.restarted), ("another\nand longer\n", true));
}

#[test]
fn an_emptied_file_says_so_before_it_grows() {
    let mut rig = Rig::with(b"one\n");
    rig.read();
    File::create(rig.path()).unwrap();
    let chunk = rig.read();
    assert_eq!((chunk.lines.as_str(), chunk.restarted, chunk.next), ("", true, Cursor::default()));
    rig.append(b"new\n");
    let chunk = rig.read();
    assert_eq!((chunk.lines.as_str(), chunk.restarted), ("new\n", false));
}

#[test]
fn a_removed_file_is_an_error_until_it_is_back() {
    let mut rig = Rig::with(b"one\n");
    rig.read();
    fs::remove_file(rig.path()).unwrap();
    assert!(matches!(rig.try_read(), Err(FollowError::NoSuchRun { name }) if name == "run.jsonl"));
    fs::write(rig.path(), b"one\ntwo\n").unwrap();
    let chunk = rig.read();
    assert_eq!((chunk.lines.as_str(), chunk.restarted), ("two\n", false));
}

#[test]
fn a_huge_line_is_left_out_and_counted_once() {
    let mut rig = Rig::with(b"one\n");
    rig.append(&vec![b'x'; 3 * Follower::MOST_BYTES + 7]);
    rig.append(b"\ntwo\n");
    let (mut lines, mut oversized, mut calls) = (String::new(), 0, 0);
    loop {
        let chunk = rig.read();
        lines += &chunk.lines;
        oversized += chunk.oversized;
        calls += 1;
        if chunk.behind == 0 {
            break;
        }
        assert!(calls < 10, "{chunk:?}");
    }
    assert_eq!((lines.as_str(), oversized), ("one\ntwo\n", 1));
}

#[test]
fn a_huge_line_that_has_not_ended_is_left_behind() {
    let mut rig = Rig::with(&vec![b'x'; Follower::MOST_BYTES + 1]);
    assert_eq!(rig.read().oversized, 1);
    let chunk = rig.read();
    assert_eq!((chunk.oversized, chunk.behind), (0, 0));
    rig.append(b"xx\ntwo\n");
    let chunk = rig.read();
    assert_eq!((chunk.lines.as_str(), chunk.oversized, chunk.restarted), ("two\n", 0, false));
}

#[test]
fn a_long_file_comes_in_bounded_pieces_of_whole_lines() {
    let line = format!("{}\n", "y".repeat(99));
    let mut rig = Rig::with(line.repeat(25_000).as_bytes());
    let mut lines = 0;
    loop {
        let chunk = rig.read();
        assert!(chunk.lines.len() <= Follower::MOST_BYTES);
        assert!(chunk.lines.split_inclusive('\n').all(|read| read == line));
        lines += chunk.lines.len() / line.len();
        if chunk.behind == 0 {
            break;
        }
    }
    assert_eq!(lines, 25_000);
}

#[test]
fn bytes_that_are_not_text_do_not_shift_the_cursor() {
    let mut rig = Rig::with(b"o\xff\xfee\n");
    assert_eq!(rig.lines(), "o\u{fffd}\u{fffd}e\n");
    rig.append(b"two\n");
    assert_eq!(rig.lines(), "two\n");
}

#[test]
fn a_cursor_of_nonsense_begins_again() {
    let mut rig = Rig::with(b"one\n");
    for text in ["18446744073709551615-1-0", "18446744073709551615-ffffffffffffffff-1", "3-7-1"] {
        rig.cursor = text.parse().unwrap();
        let chunk = rig.read();
        assert_eq!((chunk.lines.as_str(), chunk.restarted), ("one\n", true), "{text}");
    }
    for text in ["", "1", "1-2", "1-2-3", "1-2-0-0", "-1-2-0", "1-g-0", "99999999999999999999-0-0"] {
        assert!(text.parse::<Cursor>().is_err(), "{text}");
    }
}

#[test]
fn cursors_survive_as_text() {
    let mut rig = Rig::with(&vec![b'x'; Follower::MOST_BYTES + 1]);
    let next = rig.read().next;
    assert_eq!(next.to_string().parse(), Ok(next));
    assert!(next.to_string().ends_with("-1"));
}

#[test]
fn an_absent_directory_has_no_runs_until_it_is_there() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("later");
    let follower = Follower::new(&directory);
    assert!(!follower.runs().is_there);
    assert!(matches!(follower.read("run.jsonl", Cursor::default()), Err(FollowError::NoSuchRun { .. })));
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("run.jsonl"), b"one\n").unwrap();
    assert_eq!((follower.runs().is_there, names(&follower)), (true, vec!["run.jsonl".to_owned()]));
    assert_eq!(follower.read("run.jsonl", Cursor::default()).unwrap().lines, "one\n");
}

#[test]
fn runs_are_found_below_and_other_files_are_not() {
    let rig = Rig::with(b"one\n");
    let below = rig.directory.path().join("demo/mlp 1");
    fs::create_dir_all(&below).unwrap();
    fs::write(below.join("telemetry.jsonl"), b"two\n").unwrap();
    fs::write(below.join("report.json"), b"{}").unwrap();
    fs::create_dir(below.join("directory.jsonl")).unwrap();
    let mut found = names(&rig.follower);
    found.sort();
    assert_eq!(found, ["demo/mlp 1/telemetry.jsonl", "run.jsonl"]);
    assert_eq!(rig.follower.read(&found[0], Cursor::default()).unwrap().lines, "two\n");
    assert!(rig.follower.read("demo/mlp 1/report.json", Cursor::default()).is_err());
    assert!(rig.follower.read("demo/mlp 1/directory.jsonl", Cursor::default()).is_err());
}

#[test]
fn too_many_files_are_not_all_looked_at() {
    let rig = Rig::new();
    for number in 0..=Follower::MOST_ENTRIES {
        File::create(rig.directory.path().join(format!("{number}.jsonl"))).unwrap();
    }
    let runs = rig.follower.runs();
    assert_eq!((runs.found.len(), runs.has_more), (Follower::MOST_ENTRIES, true));
}

#[test]
fn a_run_too_deep_is_not_found() {
    let rig = Rig::new();
    let deep: PathBuf = std::iter::repeat_n("d", Follower::MOST_LEVELS).collect();
    fs::create_dir_all(rig.directory.path().join(&deep)).unwrap();
    fs::write(rig.directory.path().join(&deep).join("run.jsonl"), b"one\n").unwrap();
    let runs = rig.follower.runs();
    assert_eq!((runs.found.len(), runs.has_more), (0, true));
}

/// Names that lead out of the directory.
fn outside(secret: &Path) -> Vec<String> {
    let secret = secret.to_str().unwrap().to_owned();
    vec![
        "../secret.jsonl".to_owned(),
        "sub/../../secret.jsonl".to_owned(),
        "./../secret.jsonl".to_owned(),
        format!("/{secret}"),
        format!("sub/{secret}"),
        secret,
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "a\0b.jsonl".to_owned(),
    ]
}

#[test]
fn names_that_lead_outside_are_no_runs() {
    let parent = tempfile::tempdir().unwrap();
    let secret = parent.path().join("secret.jsonl");
    fs::write(&secret, b"secret\n").unwrap();
    fs::create_dir_all(parent.path().join("runs/sub")).unwrap();
    let follower = Follower::new(parent.path().join("runs"));
    for name in outside(&secret) {
        let read = follower.read(&name, Cursor::default());
        assert!(matches!(read, Err(FollowError::NoSuchRun { .. })), "{name}: {read:?}");
    }
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    let parent = tempfile::tempdir().unwrap();
    fs::create_dir_all(parent.path().join("secrets")).unwrap();
    fs::write(parent.path().join("secrets/s.jsonl"), b"secret\n").unwrap();
    let runs = parent.path().join("runs");
    fs::create_dir(&runs).unwrap();
    std::os::unix::fs::symlink(parent.path().join("secrets"), runs.join("d")).unwrap();
    std::os::unix::fs::symlink(parent.path().join("secrets/s.jsonl"), runs.join("l.jsonl")).unwrap();
    let follower = Follower::new(&runs);
    assert_eq!(names(&follower), [""; 0]);
    assert!(follower.read("d/s.jsonl", Cursor::default()).is_err());
    assert!(follower.read("l.jsonl", Cursor::default()).is_err());
}
