//! One guarded operation: ask, then record.

use std::hint::black_box;

use kasmina::{leyline::Monotonic, safety::Breaker};
use kasmina_measure::{Limit, Row, Side};

use crate::case::Case;

pub(crate) fn cases() -> Vec<Case> {
    let row = Row::new("breaker/allow_and_record", "circuit breaker, one guarded call");
    vec![Case::new(row.budget(Limit::AtMost(10_000.0)).aim(Limit::AtMost(50.0)), |meter| {
        let (mut breaker, mut now) = (Breaker::default(), 0);
        meter.alone(Side::repeat(|| {
            now += 1;
            let now = Monotonic::from_nanos(black_box(now));
            let admitted = breaker.allow(now);
            (admitted, breaker.record_success(now))
        }))
    })]
}
