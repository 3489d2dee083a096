//! A run that goes back to an earlier step: what the page shows then is what holds then, in a real browser.

use kasmina_telemetry::{Event, names};
use serde_json::json;

use crate::{rig::Rig, scripts::answer};

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

#[test]
fn a_seed_that_was_not_there_at_the_step_is_in_no_table() {
    let script = r#"
        const run = new Run();
        const registered = ["parameter_registration", { parameters: "2", values: "64" }];
        read(run, packet(1, { events: [["parameter_registration", { parameters: "4", values: "500" }]] }));
        read(run, packet(30, { seed: "new", events: [registered], metrics: [["kasmina.seed.alpha", 0.5], ["m", 3]] }));
        read(run, packet(40, { metrics: [["kasmina.host.loss", 1]] }), packet(20, { events: [["rolled_back", { epoch: "2" }]] }));
        const about = () => {
          const seed = run.seeds.get("new");
          return [seed.isGone, run.present().length, run.numbers().length, seed.alpha.latest, seed.registered.latest.parameters];
        };
        const undone = about();
        // What became of its life is told; that it is there is not.
        read(run, packet(20, { seed: "new", events: [["field_report", { reason: "rolled_back" }]] }));
        const reported = about();
        read(run, packet(25, { seed: "new", metrics: [["m", 4]] }));
        return [undone, reported, about(), run.numbers().map((it) => [it.name, it.value, it.isGone])];
    "#;
    let Some(found) = answer(script) else { return };
    let gone = json!([true, 0, 1, null, null]);
    let back = json!([false, 1, 2, null, null]);
    assert_eq!(found, json!([gone, gone, back, [["kasmina.host.loss", 1, true], ["m", 4, false]]]));
}

#[test]
fn numbers_and_registrations_go_back_with_the_run() {
    let script = r#"
        const run = new Run();
        const registered = (values) => ["parameter_registration", { parameters: "2", values }];
        const step = (at, alpha) => packet(at, { seed: "a", metrics: [["kasmina.seed.alpha", alpha], ["m", at]] });
        read(run, packet(1, { events: [registered("500")] }), packet(5, { seed: "a", events: [registered("64")], metrics: [["once", 7]] }));
        read(run, step(10, 0.1), step(20, 0.2), step(30, 0.3));
        read(run, packet(31, { events: [registered("900")] }), packet(32, { seed: "a", events: [registered("128")] }));
        read(run, packet(20, { events: [["rolled_back"]] }));
        const seed = run.seeds.get("a");
        const numbers = () => run.numbers().map((it) => [it.name, it.value, it.isGone]);
        const back = [seed.alpha.latest, seed.registered.latest.parameters, run.registered.latest.parameters, numbers()];
        read(run, step(21, 0.9));
        return [back, seed.alpha.latest.value, numbers()];
    "#;
    let Some(found) = answer(script) else { return };
    let numbers = |alpha: f64, m: u32, gone: bool| {
        json!([["once", 7, false], ["kasmina.seed.alpha", alpha, gone], ["m", m, gone]])
    };
    let back = json!([{ "step": 20, "value": 0.2 }, 64, 500, numbers(0.3, 30, true)]);
    assert_eq!(found, json!([back, 0.9, numbers(0.9, 21, false)]));
}

#[test]
fn a_number_inside_of_a_thinned_out_bucket_is_unknown() {
    let script = r#"
        const { Series } = await import("/series.js");
        const series = new Series(4);
        for (let step = 0; step < 32; step += 1) series.add(step, step);
        series.cut(19);
        const between = [series.width, series.latest, series.count, series.buckets.at(-1).last];
        series.cut(15);
        return [between, series.latest];
    "#;
    let Some(found) = answer(script) else { return };
    assert_eq!(found, json!([[8, null, 24, 19], { "step": 15, "value": 15 }]));
}

#[test]
fn what_was_ordered_before_the_lost_steps_stays_after_a_restart() {
    let script = r#"
        const run = new Run();
        const lost = (step) => packet(step, { metrics: [["kasmina.host.loss", step]] });
        read(run, lost(80), lost(81), packet(81, { seed: "a", events: [moved("DORMANT", "GERMINATED")], metrics: [["m", 1]] }));
        read(run, lost(85), packet(85, { seed: "a", events: [moved("GERMINATED", "TRAINING")] }), packet(90, { seed: "b" }));
        // The order was carried out after step 80.
        read(run, packet(81, { events: [["recovered", { step: "80" }]] }));
        const seed = run.seeds.get("a");
        return [seed.stage, run.loss.latest.step, run.numbers().map((it) => it.isGone), run.told().map((event) => event.isGone), run.present().length];
    "#;
    let Some(found) = answer(script) else { return };
    assert_eq!(found, json!(["GERMINATED", 80, [true, true], [false, true, false], 1]));
}

#[test]
fn a_packet_that_is_offered_again_changes_nothing() {
    let script = r#"
        const run = new Run();
        const fault = { ...packet(90, { seed: "a", events: [["graft_fault"]], metrics: [["m", 1]] }), packet_id: "run-7" };
        read(run, packet(80, { metrics: [["kasmina.host.loss", 1]] }), fault, packet(80, { events: [["recovered", { step: "80" }]] }), fault);
        return [run.last, run.told().length, run.seeds.get("a").isGone, run.packets];
    "#;
    let Some(found) = answer(script) else { return };
    assert_eq!(found, json!([80, 2, true, 4]));
}

#[test]
fn the_step_of_an_epoch_is_gone_back_to() {
    let script = r#"
        const run = new Run();
        read(run, packet(20, { events: [["rollback_ready", { epoch: "2", step: "20" }]], metrics: [["kasmina.host.loss", 2]] }));
        for (const step of [21, 22, 30]) read(run, packet(step, { seed: "a", metrics: [["m", 1]] }), packet(step, { metrics: [["kasmina.host.loss", 1]] }));
        // Written with the first step after it.
        read(run, packet(22, { events: [["rolled_back", { epoch: "2" }]], metrics: [["kasmina.host.loss", 3]] }));
        return [run.last, run.seeds.get("a").isGone, run.loss.buckets.map((bucket) => [bucket.last, bucket.sum])];
    "#;
    let Some(found) = answer(script) else { return };
    assert_eq!(found, json!([22, true, [[20, 2], [22, 3]]]));
}

#[test]
fn a_seed_that_goes_back_alone_has_the_stage_of_that_epoch() {
    let script = r#"
        const run = new Run();
        read(run, packet(10, { seed: "a", events: [moved("GERMINATED", "TRAINING")] }));
        read(run, packet(20, { events: [["rollback_ready", { epoch: "2", step: "20" }]] }));
        read(run, packet(30, { seed: "a", events: [moved("TRAINING", "BLENDING")], metrics: [["kasmina.seed.alpha", 0.5], ["m", 1]] }));
        const seed = run.seeds.get("a");
        const back = (epoch) => read(run, packet(40, { seed: "a", events: [["rolled_back", { epoch }]] }));
        back("2");
        const known = [seed.stage, seed.alpha.latest, run.numbers().map((it) => it.isGone)];
        back("7");
        return [known, seed.stage, run.last];
    "#;
    let Some(found) = answer(script) else { return };
    assert_eq!(found, json!([["TRAINING", null, [true, true]], null, 40]));
}

#[test]
fn two_rollbacks_in_a_row_go_back_twice() {
    let script = r#"
        const run = new Run();
        const lost = (step) => packet(step, { metrics: [["kasmina.host.loss", step]] });
        for (let step = 1; step <= 50; step += 1) read(run, lost(step));
        read(run, packet(40, { events: [["rolled_back"]] }), packet(30, { events: [["rolled_back"]] }), lost(31));
        // To before the first step that is known.
        const between = [run.last, run.first, run.loss.latest.step, run.abandoned.length, run.marks.map((mark) => mark.isGone)];
        read(run, packet(0, { events: [["rolled_back"]] }));
        return [between, run.last, run.first, run.loss.latest];
    "#;
    let Some(found) = answer(script) else { return };
    assert_eq!(found, json!([[31, 1, 31, 2, [true, false]], 0, 0, null]));
}

#[test]
fn a_step_back_without_an_event_is_a_rollback_if_it_is_later() {
    let script = r#"
        const run = new Run();
        const at = (second, step, more) => ({ ...packet(step, { metrics: [["kasmina.host.loss", step]], ...more }), timestamp: `2026-01-01T00:00:${second}Z` });
        for (const step of [10, 20, 30]) read(run, at(step, step));
        // Older ones, which came late, and one that no step was learned from.
        read(run, at(12, 12), { ...packet(15), timestamp: "2026-01-01T00:00:40Z" });
        // Two workers in one file.
        read(run, at(31, 29), at(32, 31), at(33, 30), at(34, 32));
        const late = [run.last, run.marks.length];
        read(run, at(41, 15), at(42, 16));
        return [late, run.last, run.returns, run.marks.map((mark) => [mark.step, mark.kind]), run.loss.buckets.map((bucket) => bucket.last)];
    "#;
    let Some(found) = answer(script) else { return };
    assert_eq!(found, json!([[32, 0], 16, 1, [[15, "rollback"]], [10, 12, 15, 16]]));
}

#[test]
fn another_run_in_the_same_file_undoes_the_first() {
    let script = r#"
        const run = new Run();
        const of = (id, it) => { it.system_health.indicators.training_run_id = id; return it; };
        const loss = (step) => packet(step, { metrics: [["kasmina.host.loss", step], ["kasmina.worker.rank", 1]] });
        read(run, of("one", loss(30)), of("one", packet(31, { seed: "a", events: [["pause"]] })), of("one", loss(40)));
        read(run, of("two", packet(35)), of("two", packet(35, { seed: "b" })));
        const told = [run.id, run.first, run.last, run.rank, run.loss.latest, run.present().map((seed) => seed.id)];
        return [told, run.told().map((event) => event.isGone), run.marks.map((mark) => [mark.step, mark.kind, mark.isGone])];
    "#;
    let Some(found) = answer(script) else { return };
    let told = json!(["two", 35, 35, null, null, ["b"]]);
    assert_eq!(found, json!([told, [true], [[35, "restart", false]]]));
}

#[test]
fn a_window_beyond_the_end_moves_back_with_the_run() {
    let script = r#"
        const { View } = await import("/view.js");
        const view = new View(() => {});
        view.extend(0, 1000);
        view.look(900);
        view.zoom(0.1);
        const before = [view.from, view.to];
        view.extend(0, 400);
        const between = [view.from, view.to, view.step];
        view.extend(0, 50);
        return [before, between, [view.from, view.to, view.window]];
    "#;
    let Some(found) = answer(script) else { return };
    assert_eq!(found, json!([[810, 910], [300, 400, null], [0, 50, null]]));
}

#[test]
fn what_a_rollback_undid_is_shown_as_undone() {
    let Some(mut rig) = Rig::open() else { return };
    let first = rig.step(1, 0.5);
    rig.append(&first);
    let later = String::from_utf8(rig.step(30, 0.25)).unwrap().replace("seed-1", "seed-2");
    rig.append(later.as_bytes());
    rig.event(Event::new(names::GRAFT_FAULT));
    let fault = rig.step(31, 0.25);
    rig.append(&fault);
    rig.browser.value("document.getElementById('numbers-box').open = true");
    rig.browser.until_text("#tile-seeds", "2");
    rig.browser.until_text("#numbers", "seed-2");
    rig.browser.until_text("#event-list", "step 31");
    rig.browser.value("document.getElementById('plot').focus()");
    rig.browser.press("End");
    rig.browser.until("document.getElementById('plot').getAttribute('aria-valuenow') === '31'");
    rig.assembler.event(None, Event::new(names::ROLLED_BACK).with("epoch", 1).with("path", "full"));
    let back = rig.packets(20);
    rig.append(&back);
    rig.browser.until_text("#tile-step", "20");
    rig.browser.until_text("#tile-loss", "0.5");
    rig.browser.until_text("#tile-seeds-note", "not counted: 1 undone");
    rig.browser.until_text("#lanes .undone[data-seed=seed-2] .seed-stage", "undone");
    rig.browser.until_text("#lanes [data-seed=seed-1] .seed-told", "alpha 0.01");
    rig.browser.until(
        "document.querySelector('#event-list .undone .what').textContent === 'graft fault (before the run went back)'",
    );
    assert_eq!(rig.browser.text("#tile-seeds"), "1");
    for table in ["#parameters", "#numbers"] {
        assert!(!rig.browser.text(table).contains("seed-2"), "{table}");
    }
    rig.browser.until_text("#numbers", "unknown (was 0.31)");
    // It is there again.
    rig.append(later.replace("\"30\"", "\"21\"").as_bytes());
    rig.browser.until_text("#lanes [data-seed=seed-2] .seed-stage", "stage unknown");
    rig.browser.until_text("#tile-seeds", "2");
    assert_eq!(rig.browser.complaints(true), [""; 0]);
}
