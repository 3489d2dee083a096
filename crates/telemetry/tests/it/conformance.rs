//! The suite, run by every sink of this crate.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use kasmina_leyline::v1::TelemetryPacket;
use kasmina_telemetry::{
    JsonLinesSink, NullSink, PrometheusText, Sink, SinkError, TracingSink, conformance::run, doubles::MemorySink,
};

#[test]
fn null_sink_conforms() {
    run(|| NullSink, |_| None);
}

#[test]
fn memory_sink_conforms() {
    let ids = |sink: &MemorySink| sink.take().into_iter().map(|packet| packet.packet_id).collect();
    run(MemorySink::default, |sink| Some(ids(sink)));
}

#[test]
fn tracing_sink_conforms() {
    run(|| TracingSink, |_| None);
}

#[test]
fn prometheus_text_conforms() {
    run(PrometheusText::default, |_| None);
}

#[test]
fn json_lines_sink_conforms() {
    let file = Shared::default();
    let ids = |text: &str| {
        let packets = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        packets.map(|packet| packet["packet_id"].as_str().unwrap().to_owned()).collect()
    };
    run(|| JsonLinesSink::new(file.clone()), |_| Some(ids(std::str::from_utf8(&file.0.lock().unwrap()).unwrap())));
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Drops every second packet.
#[derive(Default)]
struct Lossy(MemorySink);

impl Sink for Lossy {
    fn deliver(&mut self, packet: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        self.0.set_down(self.0.offered() % 2 == 1);
        let _ = self.0.deliver(packet);
        Ok(())
    }
}

#[test]
#[should_panic(expected = "packets were lost, added or reordered")]
fn sink_that_loses_packets_does_not_conform() {
    run(Lossy::default, |sink| Some(sink.0.take().into_iter().map(|packet| packet.packet_id).collect()));
}

#[test]
fn memory_sink_refuses_while_it_is_down() {
    let handle = MemorySink::default();
    let mut sink = handle.clone();
    let packet = Arc::new(TelemetryPacket::default());
    handle.set_down(true);
    assert_eq!(
        sink.deliver(&packet).unwrap_err().to_string(),
        "the memory sink did not take the packet: it was set down"
    );
    handle.set_down(false);
    sink.deliver(&packet).unwrap();
    assert_eq!((handle.offered(), handle.take().len()), (2, 1));
}
