//! The views for DuckDB, against the names that packets really have.

use std::{collections::BTreeSet, fs, path::Path};

use kasmina_leyline::v1::{CommandType, FieldReportOutcome, SeedLifecycleGate, SeedLifecycleStage, TelemetryLevel};
use kasmina_telemetry::names::*;

/// Words that the views define, and the format that they name to DuckDB.
const OWN: [&str; 6] = ["passed", "refused", "postponed", "accepted", "rejected", "newline_delimited"];

#[test]
fn every_name_in_the_views_is_in_the_code() {
    let sources = ["telemetry/src", "kasmina/src"].map(|path| source(&folder("..").join(path))).concat();
    let events: BTreeSet<&str> = EVENTS.iter().map(|event| event.name).collect();
    let mut seen = BTreeSet::new();
    for literal in literals(&views()) {
        let plain = |c: char| c.is_ascii_lowercase() || c == '_';
        if !literal.chars().all(plain) || OWN.contains(&literal.as_str()) || literal == "lines" {
            continue;
        }
        // Attributes have no table: what is written is quoted somewhere in the code.
        let written = sources.contains(&format!("\"{literal}\""));
        assert!(events.contains(literal.as_str()) || written, "nothing is called {literal}");
        seen.insert(literal);
    }
    assert!(
        seen.contains("gate_failure") && seen.contains("command_id"),
        "the views are not read as they should be: {seen:?}"
    );
}

/// `gate_failur` is an attribute to nobody either, so that the test above would find it; this finds an attribute in the place of an event.
#[test]
fn views_select_only_events_that_exist() {
    let views = views();
    let mut selected = BTreeSet::new();
    for line in views.lines().filter(|line| line.contains("WHERE event ") || line.contains("CASE event ")) {
        let tests = line.split(" THEN ").next().unwrap();
        selected.extend(literals(tests));
    }
    assert!(selected.len() > 8, "{selected:?}");
    let unknown: Vec<_> = selected.iter().filter(|name| EVENTS.iter().all(|event| event.name != **name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn stages_and_levels_in_the_views_are_the_contract_s() {
    let upper = |literal: &String| {
        !literal.is_empty() && literal.chars().all(|c| c.is_ascii_uppercase() || c == '_') && !literal.ends_with('_')
    };
    let types = ["VARCHAR", "TIMESTAMPTZ"];
    let names: Vec<_> =
        literals(&views()).into_iter().filter(upper).filter(|name| !types.contains(&name.as_str())).collect();
    assert!(names.len() >= 3, "{names:?}");
    for name in names {
        let full = |prefix: &str| format!("{prefix}{}", name.trim_start_matches(prefix));
        let stage = SeedLifecycleStage::from_str_name(&full("SEED_STAGE_")).is_some();
        assert!(stage || TelemetryLevel::from_str_name(&full("TELEMETRY_LEVEL_")).is_some(), "{name}");
    }
}

#[test]
fn prefixes_that_the_views_cut_off_are_the_contract_s() {
    let names = [
        SeedLifecycleStage::SeedStageDormant.as_str_name(),
        SeedLifecycleGate::SeedGateG0Sanity.as_str_name(),
        CommandType::CommandSeed.as_str_name(),
        FieldReportOutcome::Success.as_str_name(),
        TelemetryLevel::Info.as_str_name(),
    ];
    let prefixes: BTreeSet<_> = literals(&views()).into_iter().filter(|literal| literal.ends_with('_')).collect();
    assert_eq!(prefixes.len(), names.len());
    for prefix in prefixes {
        assert!(names.iter().any(|name| name.starts_with(&prefix)), "{prefix}");
    }
}

fn views() -> String {
    let text = fs::read_to_string(folder("../../docs/duckdb/views.sql")).unwrap();
    let code = text.lines().map(|line| line.split("--").next().unwrap());
    code.collect::<Vec<_>>().join("\n")
}

/// What stands between single quotes.
fn literals(sql: &str) -> Vec<String> {
    sql.split('\'').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Everything that is written in a folder's Rust files.
fn source(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text.push_str(&source(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
    text
}

fn folder(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
