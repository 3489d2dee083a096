//! Numbers with three digits that count.

use serde::{Deserialize, Serialize};

/// What a row's numbers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Of one run.
    #[default]
    Nanoseconds,
    /// A count in one run, such as allocations.
    Count,
    /// A share of a whole, 0 to 1.
    Share,
}

/// A share, in per cent.
#[must_use]
pub fn share(share: f64) -> String {
    format!("{} %", three_digits(100.0 * share))
}

pub(crate) fn write(number: f64, unit: Unit) -> String {
    match unit {
        Unit::Nanoseconds => time(number),
        Unit::Count => three_digits(number),
        Unit::Share => share(number),
    }
}

fn time(nanoseconds: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e9, "s"), (1e6, "ms"), (1e3, "us"), (1.0, "ns")];
    let (size, unit) = UNITS.into_iter().find(|(size, _)| nanoseconds >= *size).unwrap_or((1.0, "ns"));
    format!("{} {unit}", three_digits(nanoseconds / size))
}

pub(crate) fn three_digits(number: f64) -> String {
    let decimals = match number.abs() {
        0.0 => 0,
        small if small < 100.0 => (2 - small.log10().floor() as i32).clamp(0, 6) as usize,
        _ => 0,
    };
    let text = format!("{number:.decimals$}");
    if decimals == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(
            [0.5, 9.996, 12.0, 12.34, 999.4, 1_500.0, 8e6, 2.5e9].map(|it| write(it, Unit::Nanoseconds)),
            ["0.5 ns", "10 ns", "12 ns", "12.3 ns", "999 ns", "1.5 us", "8 ms", "2.5 s"]
        );
        assert_eq!([0.00123, 0.0, 1.05, 1.35].map(share), ["0.123 %", "0 %", "105 %", "135 %"]);
        assert_eq!([0.002_87, 0.0999, 1e-9].map(three_digits), ["0.00287", "0.0999", "0"]);
        assert_eq!([0.0, 12.0].map(|it| write(it, Unit::Count)), ["0", "12"]);
    }
}
