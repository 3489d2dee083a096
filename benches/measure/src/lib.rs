//! Measures what a project promises, beside a yardstick that runs in the same process.
//!
//! A machine's speed drifts by a third within a minute, so two numbers of different minutes say nothing about each other. A [`Meter`] runs
//! both [`Side`]s of a row in turns, pair by pair, and a pair's ratio is of two neighbouring moments: drift hits both. A [`Row`] says what is
//! measured, beside what, and what it has to be. A [`Report`] has a [`Line`] for each row, with the median, the 95th percentile and the
//! noise, and a [`Verdict`] that says `noisy` when the interval of the median has the budget in it.
//!
//! ```
//! use kasmina_measure::{Effort, Limit, Line, Meter, Row, Side};
//! use kasmina_safety::SystemClock;
//!
//! let row = Row::new("sum", "sum of 1,000 numbers").beside("their copy").budget(Limit::RatioAtMost(1e3));
//! let numbers: Vec<u64> = (0..1_000).collect();
//! let clock = SystemClock::new();
//! let meter = Meter::new(&clock, Effort::QUICK);
//! let samples = meter.pair(Side::repeat(|| numbers.iter().sum::<u64>()), Side::repeat(|| numbers.clone()));
//! println!("{}", Line::measured(row, &samples).ratio.unwrap().median);
//! ```

mod baseline;
mod curve;
mod estimate;
mod line;
mod machine;
mod meter;
mod number;
mod report;
mod row;
mod side;
mod table;

pub use baseline::{Change, changes};
pub use curve::{Curve, Growth, Point};
pub use estimate::{Estimate, median, percentile};
pub use line::{Line, Verdict};
pub use machine::Machine;
pub use meter::{Effort, Meter, Samples};
pub use number::{Unit, share};
pub use report::Report;
pub use row::{Comparison, Limit, Row};
pub use side::Side;
pub use table::table;
