//! The page with runs that are not as they should be, or that come and go, in a real browser.

use std::fs;

use kasmina_telemetry::{Event, Metric, names};

use crate::rig::Rig;

#[test]
fn the_page_stays_with_one_of_two_runs_written_in_turns() {
    let Some(mut rig) = Rig::open() else { return };
    rig.run_to(3);
    rig.browser.until_text("#tile-step", "3");
    let other = rig.step(9, 0.5);
    rig.other("other.jsonl", &other, 20);
    rig.browser.until_text("#feed", "nothing new");
    rig.until_looked(2);
    assert_eq!(rig.browser.text("#tile-step"), "3");
    assert!(rig.browser.text("#directory").starts_with("telemetry.jsonl in "));
}

#[test]
fn one_of_several_workers_says_which_it_is() {
    let Some(mut rig) = Rig::open() else { return };
    rig.run_to(1);
    rig.browser.until_text("#tile-step-note", "batches learned from so far");
    assert!(!rig.browser.text("#tile-step-note").contains("worker"));
    rig.metric(Metric::new(names::WORKER_RANK, 2.0));
    rig.metric(Metric::new(names::WORKER_COUNT, 4.0));
    let lines = rig.step(2, 0.25);
    rig.append(&lines);
    rig.browser.until_text("#tile-step-note", "worker 2 (0 to 3)");
}

#[test]
fn a_removed_run_stays_beside_an_older_one() {
    let Some(mut rig) = Rig::open() else { return };
    rig.run_to(3);
    rig.browser.until_text("#tile-step", "3");
    let other = rig.step(9, 0.5);
    rig.other("older.jsonl", &other, -600);
    fs::remove_file(rig.path()).unwrap();
    rig.browser.until_text("#feed", "the file is gone");
    rig.until_looked(2);
    assert_eq!(rig.browser.text("#tile-step"), "3");
    rig.browser.until_text("#feed", "the file is gone");
    // A run that was written clearly later is gone over to.
    rig.other("later.jsonl", &other, 60);
    rig.browser.until_text("#tile-step", "9");
}

#[test]
fn names_that_every_object_has_are_ordinary_text() {
    let Some(mut rig) = Rig::open() else { return };
    let first = String::from_utf8(rig.step(1, 0.5)).unwrap();
    rig.event(Event::new(names::GRAFT_FAULT));
    rig.event(Event::new(names::SEED_STATE).with("from", "toString").with("to", "constructor"));
    let lines = String::from_utf8(rig.step(2, 0.25)).unwrap();
    rig.append(first.as_bytes());
    for name in ["constructor", "toString", "__proto__"] {
        let level = format!("\"level\":\"{name}\",\"unused\":");
        let lines = lines.replace("graft_fault", name).replace("\"level\":", &level).replace("packet_id", "other_id");
        rig.append(lines.replace("\"status\":", &format!("\"status\":\"{name}\",\"unused\":")).as_bytes());
    }
    rig.browser.until_text("#tile-step", "2");
    rig.browser.until_text("#event-count", "6 of 6");
    rig.browser.value("document.querySelector('#event-list li:nth-child(2) button').click()");
    rig.browser.until_text("#event-detail", "__proto__");
    for text in ["native code", "[object Object]", "undefined"] {
        assert!(rig.browser.value(&format!("!document.body.innerHTML.includes({text:?})")) == true, "{text}");
    }
    assert_eq!(rig.browser.value("document.querySelectorAll('#lanes .mark').length"), 0);
    assert_eq!(rig.browser.complaints(true), [""; 0]);
}

#[test]
fn a_page_that_cannot_be_drawn_says_so() {
    let Some(mut rig) = Rig::open() else { return };
    rig.browser.value("document.getElementById('tile-step').remove()");
    rig.run_to(3);
    rig.browser.until_text("#notes", "could not be drawn");
    rig.browser.until("!document.getElementById('notes').hidden");
}

#[test]
fn a_line_that_no_text_can_be_made_of_loses_no_other() {
    let Some(mut rig) = Rig::open() else { return };
    let first = String::from_utf8(rig.step(1, 0.5)).unwrap();
    let odd = "{\"toString\":0,\"valueOf\":0}";
    let mut all = first.replace("\"step_index\":\"1\"", &format!("\"step_index\":{odd}"));
    all += &first.replace("\"value\":0.5", &format!("\"value\":{odd}"));
    all += &first;
    rig.append(all.as_bytes());
    rig.browser.until_text("#tile-step", "1");
    rig.browser.until_text("#notes", "lines are not telemetry");
    assert_eq!(rig.browser.complaints(true), [""; 0]);
}

#[test]
fn the_line_of_a_step_has_the_active_seeds() {
    let Some(mut rig) = Rig::open() else { return };
    let first = String::from_utf8(rig.step(1, 0.5)).unwrap();
    for seed in 10..30 {
        rig.append(first.replace("seed-1", &format!("seed-{seed}")).as_bytes());
    }
    // All but the oldest have left the network.
    for seed in 11..30 {
        rig.moved("SEED_STAGE_CULLED", "SEED_STAGE_TERMINATED");
        let lines = String::from_utf8(rig.step(2, 0.5)).unwrap();
        rig.append(lines.replace("seed-1", &format!("seed-{seed}")).as_bytes());
    }
    rig.browser.until_text("#tile-step", "2");
    rig.browser.until_text("#event-count", "19 of 19");
    rig.browser.until_text("#at-step", "seed-10: stage unknown");
    rig.browser.until_text("#at-step", "seed-29: terminated");
    let text = rig.browser.text("#at-step");
    assert!(!text.contains("seed-11:") && text.contains("and 12 more seeds"), "{text}");
}

#[test]
fn keys_pass_over_marks_that_a_rollback_undid() {
    let Some(mut rig) = Rig::open() else { return };
    rig.run_to(60);
    rig.assembler.event(None, Event::new(names::ROLLED_BACK).with("epoch", 1).with("path", "full"));
    let back = rig.packets(20);
    rig.append(&back);
    let on = rig.step(50, 0.5);
    rig.append(&on);
    rig.browser.until_text("#tile-step", "50");
    rig.browser.until("document.querySelector('#lanes .marks.abandoned .passed')");
    let now = "Number(document.getElementById('plot').getAttribute('aria-valuenow'))";
    rig.browser.value("document.getElementById('plot').focus()");
    rig.browser.press("Home");
    rig.browser.until(&format!("{now} === 1"));
    rig.browser.press("n");
    rig.browser.until(&format!("{now} === 20"));
    rig.browser.press("n");
    rig.browser.press(".");
    rig.browser.until(&format!("{now} === 21"));
    rig.browser.press("End");
    rig.browser.until(&format!("{now} === 50"));
    rig.browser.press("p");
    rig.browser.until(&format!("{now} === 20"));
}

#[test]
fn what_is_left_out_of_a_large_run_is_told() {
    let Some(mut rig) = Rig::open() else { return };
    rig.event(Event::new(names::GRAFT_FAULT));
    let fault = String::from_utf8(rig.packets(2)).unwrap();
    let first = String::from_utf8(rig.step(1, 0.5)).unwrap();
    for seed in 0..520 {
        rig.append(first.replace("seed-1", &format!("seed-{seed}")).as_bytes());
    }
    for metric in 0..250 {
        rig.append(first.replace("kasmina.host.loss", &format!("metric-{metric}")).as_bytes());
    }
    rig.browser.value("document.getElementById('numbers-box').open = true");
    rig.append(fault.replace("seed-1", "seed-519").as_bytes());
    rig.browser.until_text("#notes", "8 of 520 seeds are not drawn");
    rig.browser.until_text("#tile-seeds-note", "8 not drawn");
    rig.browser.until_text("#count-critical", "1");
    let choose = "(() => { const of = document.getElementById('event-seed'); of.value = 'seed-519'; \
                  of.dispatchEvent(new Event('change')); return of.value; })()";
    assert_eq!(rig.browser.value(choose), "seed-519");
    rig.browser.until_text("#event-list", "seed-519graft fault");
    assert_eq!(rig.browser.value("document.querySelectorAll('#lanes .row').length"), 512);
    rig.browser.until_text("#numbers-note", "More metrics than are kept: the run.");
    rig.browser.until("!document.getElementById('numbers-note').hidden");
    assert_eq!(rig.browser.complaints(true), [""; 0]);
}

#[test]
fn a_narrow_page_has_nothing_beyond_its_edge() {
    let Some(mut rig) = Rig::open() else { return };
    let long = "x".repeat(120);
    let text = "a reason of many words ".repeat(40);
    rig.event(Event::new(names::GRAFT_FAULT).with("reason", &text).with("detail", &long));
    rig.metric(Metric::new(names::COMMANDS_REJECTED, 1.0).with("reason", &long));
    let lines = String::from_utf8(rig.step(1, 0.5)).unwrap();
    rig.append(lines.replace("seed-1", &long).replace("run-7", &long).as_bytes());
    rig.other(&format!("{long}.jsonl"), lines.as_bytes(), -600);
    rig.append(format!("{long}{long}\n").as_bytes());
    rig.browser.widen(360);
    rig.browser.value("document.getElementById('numbers-box').open = true");
    rig.browser.until_text("#tile-step", "1");
    rig.browser.until_text("#numbers", &long);
    rig.browser.until_text("#notes", "not telemetry");
    rig.until_looked(2);
    rig.browser.value("document.querySelector('#event-list button').click()");
    rig.browser.until_text("#event-detail", &long);
    rig.browser.until("document.querySelector('#event-list .what').clientHeight > 0");
    let beyond = "[...document.querySelectorAll('header *, main *')].filter((it) => !it.closest('.table, svg') && \
                  it.getBoundingClientRect().right > document.documentElement.clientWidth).map((it) => `${it.tagName} ${it.id} ${it.className}`)";
    assert_eq!(rig.browser.value(beyond), serde_json::json!([]));
    let root = "document.documentElement";
    assert_eq!(rig.browser.value(&format!("{root}.scrollWidth === {root}.clientWidth")), true);
    // An event of many words is not the whole list.
    let height = rig.browser.value("document.querySelector('#event-list .what').clientHeight").as_u64().unwrap();
    assert!(height < 60, "{height}");
}

#[test]
fn names_of_many_curves_do_not_cover_each_other() {
    let Some(mut rig) = Rig::open() else { return };
    for step in 1..=40 {
        let lines = String::from_utf8(rig.step(step, 0.5)).unwrap().replace("kasmina.seed.alpha", "kasmina.seed.loss");
        for seed in 0..step {
            rig.append(lines.replace("seed-1", &format!("seed-{seed}")).as_bytes());
        }
    }
    rig.browser.until_text("#tile-step", "40");
    rig.browser.until_text("#smoothing", "Only the newest 24 seeds");
    let labels = rig.browser.value("[...document.querySelectorAll('.curve-label')].map((it) => it.textContent)");
    assert_eq!((&labels[0], &labels[1]), (&"network".into(), &"seed-39".into()), "{labels}");
    let places = "[...document.querySelectorAll('.curve-label')].map((it) => it.getBBox().y)";
    let distinct =
        rig.browser.value(&format!("(() => {{ const all = {places}; return [all.length, new Set(all).size]; }})()"));
    assert_eq!(distinct[0], distinct[1]);
    assert_eq!(rig.browser.value("document.querySelectorAll('#loss-plot .curve title').length"), 25);
}

#[test]
fn an_alpha_that_was_not_written_of_late_says_its_step() {
    let Some(mut rig) = Rig::open() else { return };
    rig.run_to(3);
    rig.browser.until("document.querySelector('#lanes .seed-told')?.textContent === 'alpha 0.03'");
    rig.metric(Metric::new(names::HOST_LOSS, 0.5));
    let lines = rig.packets(9);
    rig.append(&lines);
    rig.browser.until_text("#lanes .seed-told", "alpha 0.03 at step 3");
}
