//! How the manager stands, for telemetry: what lasts between events.

use std::time::Duration;

use kasmina_commands::BreakerName;
use kasmina_engine::{Seed, State};
use kasmina_gates::StabilityPolicy;
use kasmina_kernel_load::LoadStats;
use kasmina_memory::Counts;
use kasmina_security::LedgerGauges;
use kasmina_telemetry::{Event, Health, Metric, Reporter, names};

use crate::events;

/// What was last written.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    cache: Counts,
    /// Nonces that were forgotten early.
    evictions: u64,
}

/// What there is to look at before a flush.
pub(crate) struct Standing<'a> {
    pub(crate) state: &'a State,
    pub(crate) budgets: &'a StabilityPolicy,
    pub(crate) loads: LoadStats,
    pub(crate) ledger: LedgerGauges,
}

impl Gauges {
    /// Sets the health that the next packets carry. Every breaker and the cache are written once a summary, and when they change.
    pub(crate) fn write(&mut self, to: &mut Reporter, standing: &Standing<'_>) {
        let Standing { state, budgets, loads, ledger } = standing;
        to.set_health(health(state, budgets));
        let early = ledger.evictions_total.saturating_sub(self.evictions);
        if early > 0 {
            to.emit(None, Event::new(names::NONCE_LEDGER_TRUNCATED).with("count", early).with("size", ledger.size));
            self.evictions = ledger.evictions_total;
        }
        if !to.is_summary_due() {
            return;
        }
        for breaker in BreakerName::ALL {
            let value = i32::from(state.run.breakers.get(breaker).state());
            to.metric(None, Metric::new(names::BREAKER_STATE, value).with("breaker", breaker.as_str()));
        }
        to.write(|to| events::loads(to, loads));
        let since = loads.cache.total - self.cache;
        if let Some(rate) = since.hit_rate() {
            to.metric(None, Metric::new(names::CACHE_HIT_RATE, rate));
            self.cache = loads.cache.total;
        }
        to.write(|to| ledger_metrics(to, ledger));
    }
}

fn ledger_metrics(to: &mut kasmina_telemetry::Assembler, ledger: &LedgerGauges) {
    for (name, value) in [
        (names::NONCE_LEDGER_SIZE, ledger.size as f64),
        (names::NONCE_LEDGER_EVICTIONS, ledger.evictions_total as f64),
        (names::NONCE_LEDGER_TTL, ledger.ttl.as_secs_f64()),
    ] {
        to.metric(None, Metric::new(name, value));
    }
}

/// UNHEALTHY while a breaker is open or a seed's violations count, DEGRADED while a seed is over a latency budget.
fn health(state: &State, budgets: &StabilityPolicy) -> Health {
    if let Some(breaker) = state.run.breakers.open() {
        return Health::Unhealthy(format!("breaker {breaker} is open"));
    }
    if let Some(seed) = state.seeds.values().find(|seed| seed.violations > 0) {
        return Health::Unhealthy(format!("isolation violations of {}: {}", seed.id, seed.violations));
    }
    let slow = state.seeds.values().find_map(|seed| Some((&seed.id, over_budget(seed, budgets)?)));
    slow.map_or(Health::Healthy, |(seed, what)| Health::Degraded(format!("{what} of {seed}")))
}

/// The latency of a seed that is over its budget.
fn over_budget(seed: &Seed, budgets: &StabilityPolicy) -> Option<&'static str> {
    let vitals = &seed.stage.graft()?.vitals;
    [
        (vitals.blend_latency.median(), budgets.max_blend_ms, "blend_latency"),
        (vitals.verify_latency.median(), budgets.max_isolation_ms, "isolation_latency"),
    ]
    .into_iter()
    .find(|(median, most, _)| *median > Duration::from_millis(*most))
    .map(|(.., what)| what)
}
