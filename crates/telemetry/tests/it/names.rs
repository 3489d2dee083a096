//! The table of names against the names that Esper's documents use.

use std::collections::BTreeSet;

use kasmina_leyline::v1::TelemetryLevel::{self, Critical, Info, Warning};
use kasmina_telemetry::{Kind, names::*};

/// Metrics that Esper's other subsystems and dashboards read, with their units.
const ESPER_METRICS: &[(&str, &str)] = &[
    ("kasmina.isolation.violations", "1"),
    ("kasmina.isolation.dot_product", "1"),
    ("kasmina.isolation.cosine", "1"),
    ("kasmina.isolation.hook_latency_ms", "ms"),
    ("kasmina.kernel.fetch_latency_ms", "ms"),
    ("kasmina.prewarm.latency_ms", "ms"),
    ("kasmina.cache.size", "1"),
    ("kasmina.cache.bytes", "By"),
    ("kasmina.cache.hit_rate", "1"),
    ("kasmina.cache.evictions", "1"),
    ("kasmina.cache.ttl_seconds", "s"),
    ("kasmina.cache.lock_wait_ms", "ms"),
    ("kasmina.prefetch.requests_total", "1"),
    ("kasmina.prefetch.inflight", "1"),
    ("kasmina.prefetch.latency_ms", "ms"),
    ("kasmina.breaker.state", "1"),
    ("kasmina.nonce_ledger.size", "1"),
    ("kasmina.nonce_ledger.evictions_total", "1"),
    ("kasmina.nonce_ledger.ttl_seconds", "s"),
    ("kasmina.commands.accepted_total", "1"),
    ("kasmina.commands.rejected_total", "1"),
    ("kasmina.blend.alpha_mean", "1"),
    ("kasmina.blend.alpha_p95", "1"),
    ("kasmina.blend.sparsity", "1"),
    ("kasmina.blend.clamped_fraction", "1"),
    ("kasmina.blend.gate_mean", "1"),
];

/// Events that Esper's documents name, with their levels.
const ESPER_EVENTS: &[(&str, TelemetryLevel)] = &[
    ("seed_state", Info),
    ("gate_event", Info),
    ("gate_failure", Critical),
    ("embargo_start", Info),
    ("embargo_end", Info),
    ("breaker_open", Critical),
    ("breaker_half_open", Warning),
    ("deadline_violation", Warning),
    ("prefetch_timeout", Critical),
    ("pause", Info),
    ("resume", Info),
    ("blend_config", Info),
    ("command_rejected", Critical),
    ("parameter_registration", Info),
    ("parameter_violation", Critical),
    ("isolation_violation", Critical),
    ("nonce_ledger_truncated", Warning),
];

#[test]
fn every_name_of_the_documents_is_in_the_table() {
    for (name, unit) in ESPER_METRICS {
        let row = METRICS.iter().find(|metric| metric.name == *name);
        assert_eq!(row.map(|metric| metric.unit), Some(*unit), "{name}");
    }
    for (name, level) in ESPER_EVENTS {
        let row = EVENTS.iter().find(|event| event.name == *name);
        assert_eq!(row.map(|event| event.level), Some(*level), "{name}");
    }
}

#[test]
fn names_that_the_documents_replaced_are_gone() {
    for old in ["kasmina.isolation.violations_total", "kasmina.isolation.verify_ms", "kasmina.kernel.load_ms"] {
        assert!(METRICS.iter().all(|metric| metric.name != old), "{old}");
    }
}

#[test]
fn names_are_unique_and_every_row_is_complete() {
    let names: BTreeSet<_> = EVENTS.iter().map(|e| e.name).chain(METRICS.iter().map(|m| m.name)).collect();
    assert_eq!(names.len(), EVENTS.len() + METRICS.len(), "a name stands twice");
    assert!(EVENTS.iter().all(|event| event.meaning.ends_with('.')));
    assert!(METRICS.iter().all(|metric| metric.meaning.ends_with('.') && !metric.unit.is_empty()));
    assert!(METRICS.iter().all(|metric| metric.name.starts_with("kasmina.")));
    let total = |metric: &kasmina_telemetry::MetricName| metric.name.ends_with("_total");
    assert!(METRICS.iter().filter(|metric| total(metric)).all(|metric| metric.kind == Kind::Counter));
}

/// The table that a reader of the repository sees.
#[test]
fn table_in_the_crate_s_documentation_is_the_code_s() {
    let page = include_str!("../../NAMES.md");
    let mut rows: BTreeSet<String> = BTreeSet::new();
    for event in EVENTS {
        let level = event.level.as_str_name().trim_start_matches("TELEMETRY_LEVEL_");
        rows.insert(format!("| `{}` | {level} | {} |", event.name, event.meaning));
    }
    for metric in METRICS {
        rows.insert(format!("| `{}` | {} | {:?} | {} |", metric.name, metric.unit, metric.kind, metric.meaning));
    }
    let written: BTreeSet<String> = page.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
    let (missing, wrong): (Vec<_>, Vec<_>) = (rows.difference(&written).collect(), written.difference(&rows).collect());
    assert!(missing.is_empty() && wrong.is_empty(), "missing: {missing:#?}\nnot in the code: {wrong:#?}");
}
