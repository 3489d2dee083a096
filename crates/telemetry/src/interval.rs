//! Statistics of the measurements between two summaries.

use crate::{
    Metric,
    names::{STATISTIC, STATISTICS},
};

/// Measurements that are kept for the percentile. Our choice: ten summaries' worth of one a step, in 8 KB.
const MOST_VALUES: usize = 1_000;

/// The measurements of one kind about one seed since the last summary. It takes the same memory however many there are.
#[derive(Clone, Debug)]
pub(crate) struct Interval {
    metric: Metric,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    /// The last ones, as a ring.
    values: Vec<f64>,
}

impl Interval {
    /// An empty interval of measurements with the name and the attributes of `metric`.
    pub(crate) const fn new(metric: Metric) -> Self {
        Self { metric, count: 0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY, values: Vec::new() }
    }

    pub(crate) fn is_of(&self, metric: &Metric) -> bool {
        self.metric.name == metric.name && self.metric.attributes == metric.attributes
    }

    /// Adds a measurement. One that is not finite is ignored.
    pub(crate) fn record(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        let place = (self.count % MOST_VALUES as u64) as usize;
        match self.values.get_mut(place) {
            Some(oldest) => *oldest = value,
            None => self.values.push(value),
        }
        self.count += 1;
        self.sum += value;
        (self.min, self.max) = (self.min.min(value), self.max.max(value));
    }

    /// The statistics, one metric each; nothing if there was no measurement.
    pub(crate) fn summary(mut self) -> Vec<Metric> {
        if self.count == 0 {
            return Vec::new();
        }
        self.values.sort_by(f64::total_cmp);
        let rank = (self.values.len() * 95).div_ceil(100).saturating_sub(1);
        let p95 = self.values.get(rank).copied().unwrap_or(self.max);
        let values = [self.count as f64, self.sum / self.count as f64, self.min, self.max, p95];
        let named = STATISTICS.into_iter().zip(values);
        named.map(|(statistic, value)| Metric { value, ..self.metric.clone() }.with(STATISTIC, statistic)).collect()
    }
}
