//! The scripts of the page, each on its own, in a real browser.

use serde_json::{Value, json};

use kasmina_watch::{Follower, Server};

use crate::chromium::Browser;

/// What the tests build packets with.
const HELPERS: &str = r#"
const { Run } = await import("/run.js");
const packet = (step, { seed, events = [], metrics = [] } = {}) => ({
  events: events.map(([description, attributes = {}]) => ({ description, attributes })),
  metrics: metrics.map(([name, value, attributes = {}]) => ({ name, value, attributes })),
  system_health: { indicators: { step_index: String(step), ...(seed ? { seed_id: seed } : {}) } },
});
const moved = (from, to) => ["seed_state", { from: `SEED_STAGE_${from}`, to: `SEED_STAGE_${to}` }];
const read = (run, ...packets) => packets.forEach((it) => run.line(JSON.stringify(it)));
"#;

/// The value of a script's `return`, in the page of a server that has nothing to show.
fn answer(script: &str) -> Option<Value> {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(Follower::new(directory.path()), 0).unwrap();
    let mut browser = Browser::open(&format!("http://{}/", server.address()))?;
    Some(browser.value(&format!("(async () => {{ {HELPERS} {script} }})()")))
}

#[test]
fn ticks_end_where_a_step_is_lost_in_rounding() {
    let script = r#"
        const { ticks } = await import("/svg.js");
        const pairs = [[1e16, 1e16 + 2], [1e6, 1e6 + 1.2e-10], [0, 5e-324], [-1e308, 1e308], [NaN, 1], [0, Infinity]];
        return { most: Math.max(...pairs.map(([from, to]) => ticks(from, to, 5).length)), usual: ticks(0, 100, 5), odd: ticks(0.1, 0.5, 4) };
    "#;
    let Some(found) = answer(script) else { return };
    assert!(found["most"].as_u64().unwrap() <= 7, "{found}");
    assert_eq!((&found["usual"], &found["odd"]), (&json!([0, 20, 40, 60, 80, 100]), &json!([0.1, 0.2, 0.3, 0.4, 0.5])));
}

#[test]
fn a_packet_with_a_field_of_a_wrong_type_is_a_bad_line() {
    let script = r#"
        const good = () => ({ ...packet(1, { seed: "a", events: [["pause", { step: "1" }]], metrics: [["m", 1, { k: "v" }]] }), timestamp: "t" });
        const run = new Run();
        const odd = { toString: 0, valueOf: 0 };
        const spoil = [
          (it) => { it.system_health.indicators.step_index = odd; },
          (it) => { it.system_health.indicators.training_run_id = odd; },
          (it) => { it.system_health.status = odd; },
          (it) => { it.system_health.summary = odd; },
          (it) => { it.timestamp = odd; },
          (it) => { it.events[0].level = odd; },
          (it) => { it.events[0].attributes.step = odd; },
          (it) => { it.events[0].attributes = [odd]; },
          (it) => { it.metrics[0].value = odd; },
          (it) => { it.metrics[0].value = null; },
          (it) => { it.metrics[0].attributes.k = odd; },
        ];
        for (const harm of spoil) { const it = good(); harm(it); read(run, it); }
        const bad = run.bad.lines;
        read(run, good());
        return [bad === spoil.length, run.packets, run.bad.lines - bad];
    "#;
    let Some(found) = answer(script) else { return };
    assert_eq!(found, json!([true, 1, 0]));
}

#[test]
fn a_step_that_is_no_number_does_not_end_a_rollback_at_0() {
    let script = r#"
        const run = new Run();
        for (const step of [1, 30, 50]) read(run, packet(step, { metrics: [["kasmina.host.loss", 1]] }));
        read(run, packet(40, { events: [["recovered", { step: "" }]] }));
        return [run.last, run.loss.latest.step];
    "#;
    let Some(found) = answer(script) else { return };
    assert_eq!(found, json!([40, 30]));
}

#[test]
fn packets_of_seeds_beyond_the_bound_are_left_out() {
    let script = r#"
        const run = new Run();
        const registered = (values) => [["parameter_registration", { parameters: "3", values }]];
        read(run, packet(1, { events: registered("500") }));
        for (let seed = 0; seed < 512; seed += 1) read(run, packet(2, { seed: `s${seed}`, metrics: [["m", 1]] }));
        read(run, packet(3, { seed: "late", events: [...registered("7"), ["pause"]], metrics: [["kasmina.host.loss", 9], ["m", 2]] }));
        return [run.parameters, run.marks.length, run.loss.count, run.seeds.size, run.untold, run.last];
    "#;
    let Some(found) = answer(script) else { return };
    assert_eq!(found, json!([500, 0, 0, 512, 1, 3]));
}

#[test]
fn many_metrics_of_one_seed_leave_room_for_the_others() {
    let script = r#"
        const run = new Run();
        for (let at = 0; at < 2000; at += 1) read(run, packet(1, { seed: "a", metrics: [[`m${at}`, 1]] }));
        read(run, packet(2, { seed: "b", metrics: [["m", 2]] }));
        read(run, packet(3, { metrics: [["m", 3]] }));
        const told = (seed) => run.numbers().filter((it) => it.seed === seed).length;
        return [told("a") < 2000, told("a") + run.seeds.get("a").values.untold, told("b"), told("")];
    "#;
    let Some(found) = answer(script) else { return };
    assert_eq!(found, json!([true, 2000, 1, 1]));
}

#[test]
fn a_seed_that_the_rollback_undid_has_no_band() {
    let script = r#"
        const run = new Run();
        read(run, packet(1), packet(80, { seed: "a", events: [moved("TRAINING", "BLENDING")] }), packet(90));
        read(run, packet(20, { events: [["rolled_back"]] }));
        const seed = run.seeds.get("a");
        const undone = [seed.bands(run.last), seed.stage];
        read(run, packet(30, { seed: "a", events: [moved("GERMINATED", "TRAINING")] }));
        read(run, packet(35, { seed: "a" }));
        return [undone, seed.bands(run.last).map((band) => [band.from, band.to, band.stage])];
    "#;
    let Some(found) = answer(script) else { return };
    assert_eq!(found, json!([[[], null], [[30, 30, "GERMINATED"], [30, 35, "TRAINING"]]]));
}

#[test]
fn marks_beyond_a_rollback_are_set_apart() {
    let script = r#"
        const run = new Run();
        read(run, packet(10, { seed: "a", events: [["pause"]] }), packet(40, { seed: "a", events: [["resume"]] }));
        read(run, packet(50, { events: [["breaker_open"]] }), packet(20, { events: [["rolled_back"]] }));
        read(run, packet(40, { seed: "a", events: [["pause"]] }));
        const told = (marks) => marks.map((mark) => [mark.step, mark.isGone]);
        return [told(run.seeds.get("a").marks), told(run.marks)];
    "#;
    let Some(found) = answer(script) else { return };
    assert_eq!(found, json!([[[10, false], [40, true], [40, false]], [[50, true], [20, false]]]));
}
