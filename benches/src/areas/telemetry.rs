//! The reference packet: three training metrics of one seed, assembled and encoded.

use std::hint::black_box;

use kasmina::{
    leyline::{SeedId, TrainingRunId, UnixTime},
    telemetry::{Assembler, Metric, names},
};
use kasmina_measure::{Limit, Row};
use prost::Message;

use crate::case::Case;

pub(crate) fn cases() -> Vec<Case> {
    let row = Row::new("telemetry/reference_packet", "build and encode a packet of three metrics");
    vec![Case::new(row.budget(Limit::AtMost(80_000.0)).aim(Limit::AtMost(1_000.0)), |meter| {
        let seed = SeedId::new("seed-1").expect("an id");
        let mut assembler = Assembler::new("kasmina", TrainingRunId::new("run-7").expect("an id"), 64);
        let mut bytes = Vec::new();
        meter.alone(kasmina_measure::Side::repeat(|| {
            for (name, value) in [(names::SEED_LOSS, 0.5), (names::SEED_ALPHA, 0.25), (names::SEED_GRADIENT_NORM, 0.01)]
            {
                assembler.metric(Some(&seed), Metric::new(name, black_box(value)));
            }
            bytes.clear();
            for packet in assembler.assemble(12, UnixTime::from_millis(1_700_000_000_000)) {
                packet.encode(&mut bytes).expect("a Vec has room");
            }
            bytes.len()
        }))
    })]
}
