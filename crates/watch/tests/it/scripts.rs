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
pub(crate) fn answer(script: &str) -> Option<Value> {
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
fn a_seed_beyond_the_bound_has_events_and_no_numbers() {
    let script = r#"
        const run = new Run();
        const registered = (values) => [["parameter_registration", { parameters: "3", values }]];
        read(run, packet(1, { events: registered("500") }));
        for (let seed = 0; seed < 512; seed += 1) read(run, packet(2, { seed: `s${seed}`, metrics: [["m", 1]] }));
        const late = packet(3, { seed: "late", events: [...registered("7"), ["gate_failure"]], metrics: [["kasmina.host.loss", 9], ["m", 2]] });
        late.events[1].level = "TELEMETRY_LEVEL_CRITICAL";
        read(run, late);
        const numbers = [run.registered.latest.parameters, run.marks.length, run.loss.count, run.numbers().some((it) => it.seed === "late")];
        const [event] = run.told();
        return [numbers, run.seeds.size, [...run.undrawn.keys()], run.last, run.counts.critical, [event.seed, event.name, event.severity]];
    "#;
    let Some(found) = answer(script) else { return };
    assert_eq!(found, json!([[500, 0, 0, false], 512, ["late"], 3, 1, ["late", "gate_failure", "critical"]]));
}

#[test]
fn a_seed_that_is_over_for_good_makes_room() {
    let script = r#"
        const run = new Run();
        for (let seed = 0; seed < 512; seed += 1) read(run, packet(2, { seed: `s${seed}`, metrics: [["m", 1]] }));
        const over = (step, seed) => read(run, packet(step, { seed, events: [moved("CULLED", "TERMINATED")] }));
        read(run, packet(3, { seed: "late", metrics: [["m", 2]] }));
        over(5, "s7");
        over(4, "s9");
        read(run, packet(6, { seed: "late", metrics: [["m", 3]] }));
        const first = [run.seeds.has("s9"), run.seeds.has("late"), [...run.undrawn.keys()]];
        for (const seed of ["later", "latest"]) read(run, packet(7, { seed, metrics: [["m", 4]] }));
        const events = run.told().map((event) => event.seed);
        return [first, run.seeds.has("s7"), run.seeds.has("later"), run.seeds.size, [...run.undrawn.keys()], events];
    "#;
    let Some(found) = answer(script) else { return };
    let first = json!([false, true, ["s9"]]);
    assert_eq!(found, json!([first, false, true, 512, ["s9", "s7", "latest"], ["s9", "s7"]]));
}

#[test]
fn an_event_of_the_run_that_names_a_seed_is_about_that_seed() {
    let script = r#"
        const run = new Run();
        read(run, packet(1, { seed: "a" }), packet(5, { metrics: [["kasmina.host.loss", 1]] }));
        const fault = (seed_id) => ["graft_fault", { seed_id }];
        read(run, packet(6, { events: [fault("a"), fault("b"), ["rolled_back", { seed_id: "a", epoch: "0" }]] }));
        return [run.marks.length, run.seeds.get("a").marks.length, run.told().map((event) => event.seed), [...run.seeds.keys()], run.last];
    "#;
    let Some(found) = answer(script) else { return };
    assert_eq!(found, json!([0, 2, ["a", "b", "a"], ["a"], 6]));
}

#[test]
fn long_texts_and_many_attributes_are_cut_down() {
    let script = r#"
        const run = new Run();
        const many = Object.fromEntries([...Array(5000).keys()].map((at) => [`key-${at}`, "v"]));
        read(run, packet(1, { seed: "s".repeat(5000), events: [["graft_fault", { detail: "d".repeat(100000), ...many }]], metrics: [["m".repeat(5000), 1]] }));
        run.line("x".repeat(100000));
        const [{ attributes, seed }] = run.told();
        const all = Object.entries(attributes);
        const longest = Math.max(...all.flat().map((text) => text.length), seed.length, run.bad.example.length, run.numbers()[0].name.length);
        return [run.packets, all.length, attributes["…"], longest < 1100, attributes.detail.endsWith("d… (99000 more characters)")];
    "#;
    let Some(found) = answer(script) else { return };
    assert_eq!(found, json!([1, 65, "4937 more attributes are left out", true, true]));
}

#[test]
fn a_packet_on_the_line_of_a_torn_one_is_read() {
    let script = r#"
        const run = new Run();
        const whole = JSON.stringify(packet(7, { events: [["recovered", { detail: '{"events":[]}' }]] }));
        run.line(whole.slice(0, 40) + whole);
        run.line(`{"packet_id":"torn`);
        return [run.bad.lines, run.packets, run.told().map((event) => event.name)];
    "#;
    let Some(found) = answer(script) else { return };
    assert_eq!(found, json!([2, 1, ["recovered"]]));
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
