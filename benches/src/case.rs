//! Something that can be measured, and the rows that it fills.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kasmina_measure::{Line, Meter, Row, Samples};

/// Something that can be measured, and the rows that it fills. Nothing is set up before it is measured.
pub(crate) struct Case {
    pub(crate) rows: Vec<Row>,
    measure: Measure,
}

/// Gives samples for each row.
type Measure = Box<dyn FnOnce(Meter<'_>) -> Result<Vec<Samples>, Absent>>;

/// What a case needs and the machine has not, for readers.
pub(crate) struct Absent(pub(crate) String);

impl Case {
    /// One row.
    pub(crate) fn new(row: Row, measure: impl FnOnce(Meter<'_>) -> Samples + 'static) -> Self {
        Self { rows: vec![row], measure: Box::new(|meter| Ok(vec![measure(meter)])) }
    }

    /// Rows that come from one measurement, with samples for each in this order.
    pub(crate) fn group<const N: usize>(
        rows: [Row; N],
        measure: impl FnOnce(Meter<'_>) -> Result<[Samples; N], Absent> + 'static,
    ) -> Self {
        Self { rows: rows.into(), measure: Box::new(|meter| measure(meter).map(Vec::from)) }
    }

    pub(crate) fn measure(self, meter: Meter<'_>) -> Vec<Line> {
        let Self { rows, measure } = self;
        // A row that cannot be measured must not take the others with it.
        let measured = catch_unwind(AssertUnwindSafe(|| measure(meter)));
        match measured {
            Ok(Ok(samples)) => {
                rows.into_iter().zip(&samples).map(|(row, samples)| Line::measured(row, samples)).collect()
            }
            Ok(Err(Absent(why))) => rows.into_iter().map(|row| Line::skipped(row, &why)).collect(),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let why = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
                rows.into_iter().map(|row| Line::failed(row, why)).collect()
            }
        }
    }
}
