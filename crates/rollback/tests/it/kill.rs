//! A child that appends, killed with SIGKILL at a random moment, over and over on the same store.
use std::{
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use kasmina_rollback::{Blobs, Digest, Entry, Journal, Store, doubles::conformance::records};

const DIRECTORY: &str = "KASMINA_ROLLBACK_CHILD_DIRECTORY";
const COMPACTS: &str = "KASMINA_ROLLBACK_CHILD_COMPACTS";
const SEED: &str = "KASMINA_ROLLBACK_SEED";
const ROUNDS: u32 = 150;

#[test]
fn acknowledged_record_survives_kill_9() {
    let mut random = Random::printed("append only");
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let run = run_child(directory.path(), false, &mut random);
        let mut store = Store::open(directory.path()).unwrap();
        let records = records(&mut store.journal, 0);
        assert!(records.iter().map(|record| record.sequence).eq(1..records.len() as u64 + 1), "gaps in round {round}");
        assert!(records.iter().all(|record| record.entry == entry(record.sequence)), "wrong data in round {round}");
        acknowledged = run.acknowledged.max(acknowledged);
        let last = records.len() as u64;
        assert!(last >= acknowledged, "round {round}: {acknowledged} was acknowledged, {last} is the last");
        assert!(last <= acknowledged + 5, "round {round}: more than one batch beyond {acknowledged}: {last}");
        acknowledged = last;
    }
    println!("{ROUNDS} kills, {acknowledged} records");
    assert!(acknowledged > 60, "the child did append");
}

#[test]
fn compaction_and_blobs_survive_kill_9() {
    let mut random = Random::printed("with compaction and blobs");
    let directory = tempfile::tempdir().unwrap();
    let (mut acknowledged, mut forgotten, mut saved) = (0, 1, 0);
    for round in 0..ROUNDS {
        let run = run_child(directory.path(), true, &mut random);
        let mut store = Store::open(directory.path()).unwrap();
        let records = records(&mut store.journal, 0);
        let (first, next) = (store.recovery.first_sequence, store.recovery.next_sequence);
        assert!(records.iter().map(|record| record.sequence).eq(first..next), "gaps in round {round}");
        assert!(records.iter().all(|record| record.entry == entry(record.sequence)), "wrong data in round {round}");
        acknowledged = run.acknowledged.max(acknowledged);
        forgotten = run.compacting.max(forgotten);
        assert!(first <= forgotten, "round {round}: begins with {first}, but only {forgotten} was asked for");
        assert!((acknowledged + 1..=acknowledged + 6).contains(&next), "round {round}: {acknowledged}, {next}");
        // A batch that was not acknowledged is there for good all the same, and the next round's child begins after it.
        acknowledged = next - 1;
        let mut stored = Vec::new();
        store
            .blobs
            .retain(&mut |digest| {
                stored.push(*digest);
                true
            })
            .unwrap();
        for digest in &stored {
            assert!(store.blobs.get(digest).is_ok(), "round {round}: half a blob");
        }
        for number in &run.saved {
            assert!(stored.contains(&Digest::of(&blob(*number))), "round {round}: the blob {number} is gone");
        }
        saved += run.saved.len();
        drop(store);
        assert_eq!(Store::audit(directory.path()).unwrap().records, records.len() as u64);
    }
    println!("{ROUNDS} kills, {acknowledged} records, {saved} blobs, begins with {forgotten}");
}

/// Not a test: what the killed process does. Prints each number after `append` returned.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let compacts = std::env::var_os(COMPACTS).is_some();
    let mut store = Store::open(directory).unwrap();
    let mut next = store.recovery.next_sequence;
    let say = |word: &str, number: u64| {
        let mut out = std::io::stdout().lock();
        out.write_all(format!("\n@{word} {number}\n").as_bytes()).unwrap();
        out.flush().unwrap();
    };
    loop {
        let batch: Vec<_> = (next..next + 1 + next % 5).map(entry).collect();
        let range = store.journal.append(&batch).unwrap();
        assert_eq!(range.start, next);
        next = range.end;
        say("acknowledged", next - 1);
        if compacts && next.is_multiple_of(3) {
            say("compacting", next.saturating_sub(20));
            store.journal.compact(next.saturating_sub(20)).unwrap();
        }
        if compacts && next.is_multiple_of(4) {
            store.blobs.put_all(&[&blob(next)]).unwrap();
            say("saved", next);
        }
    }
}

#[derive(Default)]
struct Run {
    acknowledged: u64,
    compacting: u64,
    saved: Vec<u64>,
}

fn run_child(directory: &Path, compacts: bool, random: &mut Random) -> Run {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kill::child", "--nocapture"]).env(DIRECTORY, directory);
    if compacts {
        command.env(COMPACTS, "1");
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let (mut run, mut seen) = (Run::default(), 0);
    let mut note = |line: &str| {
        let Some((word, number)) = line.strip_prefix('@').and_then(|line| line.split_once(' ')) else {
            return 0;
        };
        let number = number.parse().unwrap();
        match word {
            "acknowledged" => run.acknowledged = number,
            "compacting" => run.compacting = number,
            _ => run.saved.push(number),
        }
        1
    };
    // Some rounds are killed while the child still starts; most after some acknowledgements and then a while.
    let (wanted, spins) = (random.below(12), random.below(400_000));
    while seen < wanted {
        seen += note(&lines.next().expect("the child says something until it is killed"));
    }
    (0..spins).for_each(|_| std::hint::spin_loop());
    child.kill().unwrap();
    child.wait().unwrap();
    lines.for_each(|line| {
        note(&line);
    });
    run
}

fn entry(sequence: u64) -> Entry {
    let length = 10 + sequence % 300;
    Entry::Telemetry { packet: (0..length).map(|byte| (byte * 7 + sequence * 13) as u8).collect() }
}

fn blob(number: u64) -> Vec<u8> {
    (0..20_000 + number % 1000).map(|byte| (byte * number) as u8).collect()
}

/// `xorshift64*`: repeatable from a printed seed.
struct Random(u64);

impl Random {
    fn printed(what: &str) -> Self {
        let given = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
        let seed: u64 = given.unwrap_or_else(|| RandomState::new().hash_one(what)) | 1;
        println!("{what}: {SEED}={seed}");
        Self(seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit
    }
}
