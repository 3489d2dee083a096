//! Replicas that differ.

use std::collections::BTreeMap;

use crate::{
    Event, Part, Report, Round, WorkerId,
    sketch::{distance, median},
    statement::Hash,
};

/// What is to be said about the reports of a round.
pub(crate) fn judge(round: Round, reports: &BTreeMap<WorkerId, &Report>, tolerance: f32) -> Vec<Event> {
    let mut events = Vec::new();
    for part in [Part::State, Part::Parameters] {
        let of = |report: &Report| match part {
            Part::State => report.digest.state,
            Part::Parameters => report.digest.parameters,
        };
        let values: BTreeMap<WorkerId, Hash> = reports.iter().map(|(worker, report)| (*worker, of(report))).collect();
        events.extend(mismatch(round, part, &values));
    }
    let sketches: Vec<_> = reports.iter().filter(|(_, report)| !report.digest.sketch.is_empty()).collect();
    // Of two that differ nobody knows which is the outlier.
    if sketches.len() >= 3 {
        let values: Vec<&[f32]> = sketches.iter().map(|(_, report)| report.digest.sketch.as_slice()).collect();
        let median = median(&values);
        for (worker, report) in sketches {
            let distance = distance(&report.digest.sketch, &median);
            if distance.is_nan() || distance > tolerance {
                events.push(Event::SketchOutlier { round, worker: *worker, distance });
            }
        }
    }
    events
}

fn mismatch(round: Round, part: Part, values: &BTreeMap<WorkerId, Hash>) -> Option<Event> {
    let mut counts: BTreeMap<Hash, usize> = BTreeMap::new();
    for value in values.values() {
        *counts.entry(*value).or_default() += 1;
    }
    if counts.len() < 2 {
        return None;
    }
    let (common, majority) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    let minority = values.iter().filter(|(_, value)| **value != common).map(|(worker, _)| *worker).collect();
    Some(Event::DigestMismatch { round, part, minority, majority })
}
