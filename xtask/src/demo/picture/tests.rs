use super::*;

/// A made-up story with everything in it that is hard to draw: short stages, crowded verdicts, curves that end together.
fn story() -> Story {
    let curve = |label: &str, finally: f64, jump: f64| {
        let mean = |epoch: f64| {
            let learned = finally * (1.0 - (-epoch / 6.0).exp());
            let grown = if epoch > 24.0 { jump * (1.0 - (-(epoch - 24.0) / 5.0).exp()) } else { 0.0 };
            (0.1 + learned + grown + 0.006 * (epoch * 2.3).sin()).min(0.99)
        };
        let points: Vec<(f64, f64)> = (0..=120).map(|half| f64::from(half) / 2.0).map(|x| (x, mean(x))).collect();
        let band = points.iter().map(|(epoch, mean)| (*epoch, mean - 0.03, (mean + 0.02).min(1.0))).collect();
        Curve { label: label.to_owned(), points, band }
    };
    let alpha = |epoch: f64| ((epoch - 22.0) / 12.0).clamp(0.0, 1.0);
    let stage = |name: &str, from, to| StageSpan { name: name.to_owned(), from, to };
    let verdict = |epoch, gate: &str, passed, reason: &str| VerdictMark {
        epoch,
        gate: gate.to_owned(),
        passed,
        reason: reason.to_owned(),
    };
    Story {
        title: "A multilayer perceptron grows a second hidden layer".to_owned(),
        steps_per_epoch: 45,
        control: curve("control: never had a seed (5 runs)", 0.71, 0.0),
        grown: curve("grown: one seed in slot mid (5 runs)", 0.71, 0.13),
        alpha: (0..=600).map(|tenth| f64::from(tenth) / 10.0).map(|epoch| (epoch, alpha(epoch))).collect(),
        stages: vec![
            stage("dormant", 0.0, 10.0),
            stage("germinated", 10.0, 10.4),
            stage("training", 10.4, 22.0),
            stage("blending", 22.0, 34.0),
            stage("shadowing", 34.0, 35.5),
            stage("probationary", 35.5, 38.0),
            stage("fossilized", 38.0, 60.0),
        ],
        verdicts: vec![
            verdict(10.0, "G0", true, "request is signed and the slot is free"),
            verdict(10.4, "G1", true, "parameters are isolated"),
            verdict(18.0, "G2", false, "gain 0.4 % is below 1 % over three epochs"),
            verdict(21.0, "G2", false, "gain 0.9 % is below 1 %"),
            verdict(22.0, "G2", true, "gain 2.3 %"),
            verdict(34.0, "G3", true, "alpha reached 1 without instability"),
            verdict(35.5, "G4", true, "outputs agree"),
            verdict(38.0, "G5", true, "accuracy kept for three epochs"),
        ],
    }
}

/// Where to draw: a directory that goes with the first value, or the one that somebody names who wants to look.
fn pictures() -> (tempfile::TempDir, PathBuf) {
    let held = tempfile::tempdir().unwrap();
    let directory = std::env::var_os("KASMINA_PICTURES").map_or_else(|| held.path().to_owned(), PathBuf::from);
    (held, directory)
}

#[test]
fn both_files_are_written() {
    let (_held, directory) = pictures();
    let [svg, png] = draw(&story(), &directory, "story").unwrap();
    let text = std::fs::read_to_string(svg).unwrap();
    assert!(text.contains("width=\"1400\" height=\"900\" viewBox=\"0 0 4200 2700\""));
    for shown in ["probationary", "germinated", "G5", "gain 2.3 %", "93.9 %", "80.9 %", "45 optimiser steps"] {
        assert!(text.contains(shown), "{shown} is missing");
    }
    let bytes = std::fs::read(png).unwrap();
    assert_eq!(bytes[..8], *b"\x89PNG\r\n\x1a\n");
    assert_eq!(bytes[16..24], [0, 0, 5, 120, 0, 0, 3, 132]);
}

#[test]
fn a_crowded_story_is_drawn_in_full() {
    let mut crowded = story();
    let names = ["dormant", "germinated", "training", "blending", "shadowing", "probationary", "culled", "resetting"];
    let spans = (0..16).map(|index| {
        let from = 30.0 + 30.0 * f64::from(index) / 16.0;
        StageSpan { name: names[index as usize % 8].to_owned(), from, to: from + 30.0 / 16.0 }
    });
    crowded.stages = spans.collect();
    crowded.grown.points = crowded.control.points.iter().map(|(epoch, mean)| (*epoch, mean + 0.002)).collect();
    let marks = (0..24).map(|index| VerdictMark {
        epoch: 60.0 - f64::from(index),
        gate: format!("G{}", index % 6),
        passed: index % 3 > 0,
        reason: "a long reason that nobody can fit between its neighbours".to_owned(),
    });
    crowded.verdicts = marks.collect();
    let (_held, directory) = pictures();
    let [svg, _] = draw(&crowded, &directory, "crowded").unwrap();
    let text = std::fs::read_to_string(svg).unwrap();
    assert_eq!(text.matches("probationary").count(), 1, "a colour is explained once");
    assert_eq!(text.matches("<circle").count(), 2 + 16 + 1, "the ends, the passed verdicts, and their explanation");
}

#[test]
fn a_story_may_lack_all_but_its_curves() {
    let directory = tempfile::tempdir().unwrap();
    let bare = Story { alpha: Vec::new(), stages: Vec::new(), verdicts: Vec::new(), ..story() };
    draw(&bare, directory.path(), "bare").unwrap();
    let single = Curve { points: vec![(0.0, 0.5)], band: Vec::new(), ..bare.grown.clone() };
    draw(&Story { control: single.clone(), grown: single, ..bare }, directory.path(), "single").unwrap();
}

#[test]
fn what_is_no_number_is_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let mut holed = story();
    holed.grown.points.push((61.0, f64::NAN));
    holed.alpha.insert(3, (f64::INFINITY, 0.5));
    draw(&holed, directory.path(), "holed").unwrap();
}

#[test]
fn a_curve_without_points_is_an_error() {
    let mut empty = story();
    empty.grown.points.clear();
    let error = draw(&empty, tempfile::tempdir().unwrap().path(), "empty").unwrap_err();
    assert!(error.to_string().contains("grown: one seed"), "{error}");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = draw(&story(), &file.join("below"), "story").unwrap_err();
    assert!(error.to_string().contains("below"), "{error}");
}
