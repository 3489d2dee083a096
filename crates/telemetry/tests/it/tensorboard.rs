//! Event files of TensorBoard.

use std::{
    fs,
    io::{self, Write},
    sync::Arc,
};

use kasmina_leyline::{
    SeedId, TrainingRunId, UnixTime,
    v1::{MetricPoint, TelemetryEvent, TelemetryPacket},
};
use kasmina_telemetry::{conformance, names::*, *};
use proptest::prelude::*;

/// The golden file was written by TensorBoard's own classes; see `golden/write_tfevents.py`.
#[test]
fn file_is_the_one_that_tensorboard_would_write() {
    let seed = SeedId::new("seed-1").unwrap();
    let time = |seconds: i64| UnixTime::from_millis(1_700_000_000_250 + 1_000 * seconds);
    let state = |from: &str, to: &str| {
        let stage = |name: &str| format!("SEED_STAGE_{name}");
        Event::new(SEED_STATE).with("from", stage(from)).with("to", stage(to))
    };
    let mut assembler = Assembler::new("kasmina", TrainingRunId::new("run-7").unwrap(), 64);
    assembler.metric(None, Metric::new(HOST_LOSS, 0.5));
    assembler.metric(None, Metric::new(HOST_PASS_MS, 3.5));
    assembler.event(None, Event::new(BREAKER_OPEN).with("breaker", "kernels"));
    assembler.metric(Some(&seed), Metric::new(SEED_ALPHA, 0.25));
    // The largest double is infinite as a float.
    let blend = Metric::new(BLEND_ALPHA_MEAN, f64::MAX).with("mode", "CONVEX").with("source", "default");
    assembler.metric(Some(&seed), blend);
    assembler.event(Some(&seed), state("GERMINATED", "TRAINING"));
    let passed = Event::new(GATE_EVENT).with("gate", "SEED_GATE_G1_GRADIENT_HEALTH").with("reason", "passed");
    assembler.event(Some(&seed), passed);
    let refused = Event::new(GATE_FAILURE).with("gate", "SEED_GATE_G2_STABILITY").with("reason", "loss_rising");
    assembler.event(Some(&seed), refused.with("ratio", 1.5).with("norm", 2));
    assembler.event(Some(&seed), state("TRAINING", "CULLED"));
    let mut packets = assembler.assemble(12, time(0));
    assembler.metric(Some(&seed), Metric::new(SEED_ALPHA, 0.5));
    packets.extend(assembler.assemble(13, time(1)));
    let packets: Vec<_> = packets.into_iter().map(|packet| packet.packet).collect();
    assert_eq!(file_of(&packets), include_bytes!("golden/tensorboard.tfevents"));
}

#[test]
fn tensorboard_sink_conforms() {
    conformance::run(|| TfEventsSink::new(Vec::new()), |_| None);
}

#[test]
fn packet_without_content_writes_no_record() {
    let empty = Arc::new(TelemetryPacket::default());
    let header = file_of(std::slice::from_ref(&empty));
    assert_eq!(records(&header).0.len(), 1, "the version of the file");
    assert_eq!(file_of(&[empty.clone(), empty]), header);
}

#[test]
fn text_from_outside_is_code_and_stays_in_its_line() {
    let forged = "` ![picture](http://host/) \n\n# heading";
    let event = TelemetryEvent {
        description: COMMAND_REJECTED.name.to_owned(),
        level: COMMAND_REJECTED.level.into(),
        attributes: [("issued_by".to_owned(), forged.to_owned())].into(),
        ..TelemetryEvent::default()
    };
    let packet = Arc::new(TelemetryPacket { events: vec![event], ..TelemetryPacket::default() });
    let file = String::from_utf8_lossy(&file_of(&[packet])).into_owned();
    let said = "**CRITICAL** `command_rejected`\n\n- `issued_by`: `' ![picture](http://host/)   # heading`";
    assert!(file.contains(said), "{file}");
}

#[test]
fn packet_without_step_or_time_gets_the_last_ones() {
    let metric = MetricPoint { name: HOST_LOSS.name.to_owned(), value: 0.5, ..MetricPoint::default() };
    let bare = Arc::new(TelemetryPacket { metrics: vec![metric], ..TelemetryPacket::default() });
    let mut assembler = Assembler::new("kasmina", TrainingRunId::new("run-7").unwrap(), 64);
    assembler.metric(None, Metric::new(HOST_LOSS, 0.5));
    let placed = assembler.assemble(12, UnixTime::from_millis(1_700_000_000_250)).remove(0).packet;
    let first = [placed.clone()];
    let after =
        |packet: &Arc<TelemetryPacket>| file_of(&[placed.clone(), packet.clone()]).split_off(file_of(&first).len());
    assert_eq!(after(&bare), after(&placed));
}

#[test]
fn runs_that_are_reopened_have_a_file_each() {
    let logs = tempfile::tempdir().unwrap();
    let run = logs.path().join("group/run-7");
    for (seconds, packets) in [(1_700_000_000, 1), (1_700_000_000, 2), (1_700_000_060, 3)] {
        let mut sink = TfEventsSink::create(&run, UnixTime::from_millis(seconds * 1_000 + 999)).unwrap();
        for packet in 0..packets {
            sink.deliver(&measured(packet)).unwrap();
        }
    }
    let mut files: Vec<_> = fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "events.out.tfevents.1700000000.0000.kasmina",
            "events.out.tfevents.1700000000.0001.kasmina",
            "events.out.tfevents.1700000060.0000.kasmina"
        ]
    );
    for (number, file) in files.iter().enumerate() {
        let packets: Vec<_> = (0..=number as u64).map(measured).collect();
        assert_eq!(fs::read(file).unwrap(), file_of(&packets));
    }
}

#[test]
fn directory_that_cannot_be_made_is_named() {
    let logs = tempfile::tempdir().unwrap();
    let blocked = logs.path().join("run-7");
    fs::write(&blocked, "a file").unwrap();
    let error = TfEventsSink::create(&blocked, UnixTime::default()).unwrap_err();
    assert_eq!(error.path, blocked);
    assert!(error.to_string().starts_with(&format!("cannot create {}: ", blocked.display())), "{error}");
}

#[test]
fn refusal_names_the_sink_and_the_cause() {
    let mut sink = TfEventsSink::new(Disk::new(vec![Answer::Takes(10), Answer::IsFull]));
    let error = sink.deliver(&measured(1)).unwrap_err();
    assert_eq!(error.to_string(), "the TensorBoard sink did not take the packet: no space is left");
    let mut sink = TfEventsSink::new(Disk::new(vec![Answer::Takes(0)]));
    assert!(sink.deliver(&measured(1)).is_err(), "nothing was taken");
}

proptest! {
    /// However the disk fails, a file whose packets were offered until they were taken is that of a disk that never fails.
    #[test]
    fn failing_disk_leaves_no_torn_record(answers in prop::collection::vec(answer(), 0..40)) {
        let packets: Vec<_> = (0..6).map(measured).collect();
        let mut disk = Disk::new(answers);
        let mut sink = TfEventsSink::new(&mut disk);
        for packet in &packets {
            let refusals = (0..).take_while(|_| sink.deliver(packet).is_err()).count();
            prop_assert!(refusals <= 40);
        }
        prop_assert_eq!(disk.bytes, file_of(&packets));
    }

    /// If a packet that was refused is never offered again, what follows it is still a whole record.
    #[test]
    fn every_record_is_whole_but_the_last(answers in prop::collection::vec(answer(), 0..40)) {
        let packets: Vec<_> = (0..6).map(measured).collect();
        let mut disk = Disk::new(answers);
        let mut sink = TfEventsSink::new(&mut disk);
        let taken: Vec<_> = packets.iter().map(|packet| sink.deliver(packet).is_ok()).collect();
        let whole = file_of(&packets);
        let (sound, _) = records(&whole);
        let (written, _) = records(&disk.bytes);
        prop_assert!(written.iter().all(|record| sound.contains(record)));
        let of_packets = &sound[1..];
        prop_assert!(taken.iter().zip(of_packets).all(|(taken, record)| !taken || written.contains(record)));
    }
}

/// The records of a file, and what is left after them.
fn records(mut file: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut records = Vec::new();
    while let Some((length, _)) = file.split_first_chunk::<8>()
        && let Some((record, rest)) = file.split_at_checked(u64::from_le_bytes(*length) as usize + 16)
    {
        records.push(record);
        file = rest;
    }
    (records, file)
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        (0..200_usize).prop_map(Answer::Takes),
        Just(Answer::IsFull),
        Just(Answer::IsInterrupted),
        Just(Answer::DoesNotFlush),
    ]
}

/// What a disk says to the next call.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// To a write: it takes so many bytes.
    Takes(usize),
    IsFull,
    IsInterrupted,
    /// It takes all, and the flush fails.
    DoesNotFlush,
}

/// Answers as it was told, and then takes everything.
struct Disk {
    bytes: Vec<u8>,
    answers: std::vec::IntoIter<Answer>,
    flush_fails: bool,
}

impl Disk {
    fn new(answers: Vec<Answer>) -> Self {
        Self { bytes: Vec::new(), answers: answers.into_iter(), flush_fails: false }
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = match self.answers.next() {
            None => bytes.len(),
            Some(Answer::Takes(most)) => most.min(bytes.len()),
            Some(Answer::IsFull) => return Err(io::Error::new(io::ErrorKind::StorageFull, "no space is left")),
            Some(Answer::IsInterrupted) => return Err(io::ErrorKind::Interrupted.into()),
            Some(Answer::DoesNotFlush) => {
                self.flush_fails = true;
                bytes.len()
            }
        };
        self.bytes.extend(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.flush_fails) { Err(io::Error::other("the flush failed")) } else { Ok(()) }
    }
}

/// The file of a disk that never fails.
fn file_of(packets: &[Arc<TelemetryPacket>]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut sink = TfEventsSink::new(&mut file);
    packets.iter().for_each(|packet| sink.deliver(packet).unwrap());
    file
}

/// A packet about the run at this step, with a metric that is not a number and an event.
fn measured(step: u64) -> Arc<TelemetryPacket> {
    let mut assembler = Assembler::new("kasmina", TrainingRunId::new("run-7").unwrap(), 64);
    assembler.metric(None, Metric::new(HOST_LOSS, f64::from(step as u32) / 8.0));
    assembler.metric(None, Metric::new(HOST_PASS_MS, f64::NAN));
    assembler.event(None, Event::new(RECOVERED).with("step", step));
    let mut packets = assembler.assemble(step, UnixTime::from_millis(1_700_000_000_000 + step as i64));
    packets.remove(0).packet
}
