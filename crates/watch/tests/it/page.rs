//! The page in a real browser.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
};

use kasmina_leyline::{TrainingRunId, UnixTime};
use kasmina_telemetry::{Assembler, Event, Metric, names};
use kasmina_watch::{Follower, Server};

use crate::rig::{Rig, append, lines};

#[test]
fn the_page_fills_while_a_run_is_written() {
    let Some(mut rig) = Rig::open() else { return };
    rig.browser.until_text("#feed", "waiting");
    rig.browser.until_text("#notes", "is not there yet");
    assert_eq!(rig.browser.text("#tile-step"), "no data");
    rig.run_to(50);
    rig.browser.until_text("#tile-step", "50");
    rig.browser.until_text("#tile-loss", "0.04");
    rig.browser.until_text("#lanes .seed-name", "seed-1");
    rig.browser.until_text("#lanes .seed-stage", "blending");
    rig.browser
        .until("document.querySelector('#lanes .band.BLENDING') && document.querySelector('#lanes .mark.passed')");
    rig.browser.until_text("#event-list", "passes gate G2");
    rig.browser.until("document.querySelector('.curve.c0').getAttribute('d').length > 100");
    rig.browser.until("document.querySelector('.alpha').getAttribute('d').length > 100");
    let more = rig.step(51, 0.5);
    rig.append(&more);
    rig.browser.until_text("#tile-step", "51");
    rig.browser.until_text("#feed", "live");
    assert_eq!(rig.browser.complaints(true), [""; 0]);
}

#[test]
fn bad_lines_are_counted_and_an_unfinished_one_waits() {
    let Some(mut rig) = Rig::open() else { return };
    let whole = rig.step(2, 0.25);
    let first = rig.step(1, 0.5);
    rig.append(&first);
    rig.append(b"{\"packet_id\":\"torn\n[1, 2]\n\"text\"\n\n");
    // Whole, and yet no packets.
    for (right, wrong) in [("\"step_index\":\"1\"", "\"step_index\":\"x\""), ("\"name\":", "\"nom\":")] {
        rig.append(String::from_utf8_lossy(&first).lines().next().unwrap().replace(right, wrong).as_bytes());
        rig.append(b"\n");
    }
    rig.append(b"{\"events\":[null],\"metrics\":[5],\"system_health\":{\"indicators\":{\"step_index\":\"1\"}}}\n");
    rig.append(&whole[..whole.len() / 3]);
    rig.browser.until_text("#notes", "6 lines are not telemetry");
    rig.browser.until_text("#notes", "The last line is not finished");
    assert_eq!(rig.browser.text("#tile-step"), "1");
    rig.append(&whole[whole.len() / 3..]);
    rig.browser.until_text("#tile-step", "2");
    rig.append(&vec![b'x'; 2 * Follower::MOST_BYTES]);
    let third = rig.step(3, 0.125);
    rig.append(b"\n");
    rig.append(&third);
    rig.browser.until_text("#tile-step", "3");
    rig.browser.until_text("#notes", "1 too long line is left out");
    assert_eq!(rig.browser.complaints(true), [""; 0]);
}

#[test]
fn a_run_that_begins_again_replaces_the_old_one() {
    let Some(mut rig) = Rig::open() else { return };
    rig.run_to(60);
    rig.browser.until_text("#tile-step", "60");
    fs::remove_file(rig.path()).unwrap();
    rig.browser.until_text("#feed", "the file is gone");
    assert_eq!(rig.browser.text("#tile-step"), "60");
    let mut assembler = Assembler::new("kasmina", TrainingRunId::new("run-8").unwrap(), 64);
    assembler.metric(None, Metric::new(names::HOST_LOSS, 0.75));
    let packets = assembler.assemble(1, UnixTime::from_millis(1_700_000_001_000));
    rig.append(&lines(&packets.into_iter().map(|it| it.packet).collect::<Vec<_>>()));
    rig.browser.until_text("#run-name", "run-8");
    assert_eq!((rig.browser.text("#tile-step"), rig.browser.text("#tile-seeds")), ("1".into(), "0".into()));
    assert_eq!(rig.browser.complaints(false), [""; 0]);
}

#[test]
fn a_server_that_begins_again_is_read_on_from() {
    let Some(mut rig) = Rig::open() else { return };
    rig.run_to(30);
    rig.browser.until_text("#tile-step", "30");
    let before = rig.packets_read();
    let port = rig.server.take().unwrap().address().port();
    rig.browser.until_text("#feed", "no connection");
    let more = rig.step(31, 0.5);
    rig.append(&more);
    rig.server = Some(Server::start(Follower::new(rig.directory.path().join("runs")), port).unwrap());
    rig.browser.until_text("#tile-step", "31");
    assert_eq!(rig.packets_read(), before + 2);
    assert_eq!(rig.browser.complaints(false), [""; 0]);
}

#[test]
fn missing_steps_are_a_gap_and_no_line() {
    let Some(mut rig) = Rig::open() else { return };
    for step in (1..=40).chain(80..=120) {
        let loss = if step == 100 { f64::NAN } else { 1.0 };
        let lines = rig.step(step, loss);
        rig.append(&lines);
    }
    rig.browser.until_text("#tile-step", "120");
    rig.browser.until("document.querySelector('.missing-label')?.textContent === 'no data'");
    let missing = rig.browser.value("document.querySelectorAll('#loss-plot .missing').length");
    let pieces = rig.browser.value("document.querySelector('.curve.c0').getAttribute('d').split('M').length - 1");
    let odd = rig.browser.value("document.querySelectorAll('#loss-plot .odd').length");
    assert_eq!((missing, pieces, odd), (1.into(), 3.into(), 1.into()));
    // A step in the gap, looked at by keys.
    rig.browser.value("document.getElementById('plot').focus()");
    rig.browser.press("Home");
    for _ in 0..60 {
        rig.browser.press(".");
    }
    rig.browser.until_text("#at-step", "Step 61  ·  loss no data");
}

#[test]
fn a_rollback_leaves_what_came_after_it_apart() {
    let Some(mut rig) = Rig::open() else { return };
    rig.run_to(60);
    rig.assembler.event(None, Event::new(names::ROLLED_BACK).with("epoch", 1).with("path", "full"));
    let back = rig.packets(20);
    rig.append(&back);
    let on = rig.step(21, 0.5);
    rig.append(&on);
    rig.browser.until_text("#tile-step", "21");
    rig.browser.until("document.querySelector('.curve.abandoned')");
    rig.browser.until("document.querySelector('#run-lane .mark.rollback')");
    // The seed was BLENDING from step 40 on.
    assert_eq!(rig.browser.value("document.querySelectorAll('#lanes .band.BLENDING').length"), 0);
}

#[test]
fn everything_can_be_reached_by_keys() {
    let Some(mut rig) = Rig::open() else { return };
    rig.run_to(60);
    rig.browser.until_text("#tile-step", "60");
    let mut reached = Vec::new();
    for _ in 0..40 {
        rig.browser.press("Tab");
        let here = rig.browser.value(
            "(() => { const it = document.activeElement, seen = getComputedStyle(it); \
             return `${it.id || it.className}${it.matches(':focus-visible') && seen.outlineStyle !== 'none' ? '' : ' unseen'}`; })()",
        );
        reached.push(here.as_str().unwrap().to_owned());
    }
    assert!(reached.iter().all(|it| !it.ends_with("unseen") || it.starts_with(' ')), "{reached:?}");
    for id in ["runs", "plot", "seed", "log-scale", "zoom-newest", "show-critical", "event-seed", "event info"] {
        assert!(reached.iter().any(|it| it == id), "{id}: {reached:?}");
    }
    for (link, to) in [(1, "plot"), (2, "show-critical"), (3, "parameters-box")] {
        rig.browser.value(&format!("document.querySelector('.skip:nth-of-type({link})').focus()"));
        rig.browser.press("Enter");
        rig.browser.until(&format!("document.activeElement.id === '{to}'"));
    }
    let now = "Number(document.getElementById('plot').getAttribute('aria-valuenow'))";
    rig.browser.value("document.getElementById('plot').focus()");
    rig.browser.press("Home");
    rig.browser.until(&format!("{now} === 1"));
    rig.browser.press("ArrowRight");
    rig.browser.until(&format!("{now} === 2"));
    rig.browser.press("n");
    rig.browser.until(&format!("{now} === 40"));
    rig.browser.until_text("#event-detail", "A gate let a seed pass.");
    rig.browser.press("End");
    rig.browser.until(&format!("{now} === 60"));
    rig.browser.value("document.querySelector('#event-list button').focus()");
    rig.browser.press("ArrowDown");
    rig.browser.press("Enter");
    rig.browser.until("document.querySelector('#event-list li:nth-child(2) button[aria-pressed=true]')");
    assert_eq!(rig.browser.complaints(true), [""; 0]);
}

#[test]
fn events_are_filtered_by_severity_and_seed() {
    let Some(mut rig) = Rig::open() else { return };
    rig.event(Event::new(names::GATE_FAILURE).with("gate", "SEED_GATE_G2_STABILITY").with("reason", "loss_rising"));
    rig.event(Event::new(names::EMBARGO_START));
    rig.assembler.event(None, Event::new(names::RECOVERED).with("step", 1));
    let lines = rig.step(1, 0.5);
    rig.append(&lines);
    let shown = "document.querySelectorAll('#event-list li').length";
    rig.browser.until(&format!("{shown} === 3"));
    rig.browser.value("document.getElementById('show-info').click()");
    rig.browser.until(&format!("{shown} === 2"));
    rig.browser.value("document.querySelector('.seed').click()");
    rig.browser.until(&format!("{shown} === 1"));
    assert!(rig.browser.text("#event-list").contains("refused by gate G2: loss rising"));
    // A seed may have any name without a space.
    let odd = String::from_utf8(rig.step(2, 0.5)).unwrap().replace("seed-1", "-");
    rig.append(odd.as_bytes());
    rig.browser.until("document.querySelector('#event-seed option[value=\"-\"]')");
    let choose = "(() => { const of = document.getElementById('event-seed'); of.value = '-'; of.dispatchEvent(new Event('change')); })()";
    rig.browser.value(choose);
    rig.browser.until(&format!("{shown} === 0"));
    rig.browser.value(&choose.replace("'-'", "' '"));
    rig.browser.until_text("#event-list", "recovered");
}

#[test]
fn names_of_a_run_are_text_and_never_markup() {
    let Some(mut rig) = Rig::open() else { return };
    let evil = "<img src=x onerror=alert(1)>";
    rig.event(Event::new(names::GRAFT_FAULT).with("reason", evil).with("detail", evil));
    let lines = String::from_utf8(rig.step(1, 0.5)).unwrap().replace("seed-1", evil).replace("run-7", evil);
    rig.append(lines.as_bytes());
    rig.browser.until_text("#lanes .seed-name", evil);
    rig.browser.value("document.querySelector('#event-list button').click()");
    rig.browser.until_text("#event-detail", evil);
    assert_eq!(rig.browser.value("document.images.length"), 0);
    assert_eq!(rig.browser.complaints(true), [""; 0]);
}

#[test]
fn the_run_that_is_written_is_followed_until_one_is_chosen() {
    let Some(mut rig) = Rig::open() else { return };
    rig.run_to(3);
    rig.browser.until_text("#tile-step", "3");
    // The first run is quiet from here on.
    let later = rig.step(9, 0.5);
    rig.other("later.jsonl", &later, 60);
    rig.browser.until_text("#tile-step", "9");
    rig.browser.until_text("#directory", "later.jsonl in ");
    let choose = "(() => { const runs = document.getElementById('runs'); runs.value = 'telemetry.jsonl'; \
                  runs.dispatchEvent(new Event('change')); })()";
    rig.browser.value(choose);
    rig.browser.until_text("#tile-step", "3");
    let more = rig.step(10, 0.5);
    append(&rig.directory.path().join("runs/later.jsonl"), &more);
    let more = rig.step(4, 0.5);
    rig.append(&more);
    rig.browser.until_text("#tile-step", "4");
    rig.browser.until_text("#feed", "nothing new");
    assert_eq!(rig.browser.text("#tile-step"), "4");
    rig.browser.value(&choose.replace("telemetry.jsonl", ""));
    let more = rig.step(11, 0.5);
    rig.other("later.jsonl", &more, 60);
    rig.browser.until_text("#tile-step", "11");
    assert_eq!(rig.browser.complaints(true), [""; 0]);
}

/// What docs/WATCH.md says of a long run is what this prints.
#[test]
fn a_run_of_100_000_steps_stays_quick() {
    const STEPS: u64 = 100_000;
    let Some(mut rig) = Rig::open() else { return };
    let [first, second] = [rig.step(1, 0.5), rig.step(2, 0.5)].map(|lines| String::from_utf8(lines).unwrap());
    fs::create_dir_all(rig.directory.path().join("runs")).unwrap();
    let mut file = BufWriter::new(File::create(rig.path()).unwrap());
    file.write_all(first.as_bytes()).unwrap();
    // As long as the lines of the demo.
    let padding = format!("\"padding\":\"{}\",\"packet_id\"", "p".repeat(700));
    let second = second.replace("\"packet_id\"", &padding);
    for step in 2..=STEPS {
        let loss = format!("\"value\":{}", 1.0 / (1.0 + step as f64 / 1e4) + (step % 17) as f64 / 100.0);
        let lines = second.replace("\"step_index\":\"2\"", &format!("\"step_index\":\"{step}\""));
        file.write_all(lines.replace("\"value\":0.5", &loss).as_bytes()).unwrap();
    }
    file.into_inner().unwrap();
    rig.browser.value("window.began = performance.now()");
    rig.browser.until("document.getElementById('tile-step').textContent === '100,000'");
    let took = rig.browser.value("(performance.now() - window.began) / 1000").as_f64().unwrap();
    let draw = rig.browser.value("Number(document.body.dataset.drawMs)").as_f64().unwrap();
    let heap = rig.browser.value("performance.memory.usedJSHeapSize / 1e6").as_f64().unwrap();
    let megabytes = fs::metadata(rig.path()).unwrap().len() / 1_000_000;
    println!("{STEPS} steps, {megabytes} MB: read in {took:.1} s, drawn in {draw:.0} ms, {heap:.0} MB of heap");
    assert_eq!(rig.packets_read(), 2 * STEPS);
    // Thinned out: the curve has some points for each pixel and no more.
    let points =
        rig.browser.value("document.querySelector('.curve.c0').getAttribute('d').split('L').length").as_u64().unwrap();
    assert!((100..3_000).contains(&points), "{points}");
    assert!(draw < 500.0 && heap < 300.0, "{draw} ms, {heap} MB");
    // And it goes on.
    let more = rig.step(STEPS + 1, 0.5);
    rig.append(&more);
    rig.browser.until_text("#tile-step", "100,001");
    assert_eq!(rig.browser.complaints(true), [""; 0]);
}
