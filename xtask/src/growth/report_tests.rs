use super::*;
use crate::{
    growth::{data::Source, recipe::HostName},
    workspace,
};

fn recipe() -> Recipe {
    Recipe::of(&Source::Addition, HostName::Transformer)
}

fn conditions() -> Conditions {
    Conditions { recipe: recipe(), data: Digest::of(b"a"), network: "4-2".to_owned() }
}

fn kept() -> Kept {
    Kept { report: Report::default(), path: PathBuf::new() }
}

fn record(contender: Contender, seed: u64, accuracy: f64, test: Option<f64>) -> Record {
    let score = |accuracy| Score { loss: 1.0 - accuracy, accuracy };
    Record {
        contender,
        seed,
        network: String::new(),
        parameters: 100 + 10 * seed,
        steps: 50,
        parameter_steps: 5_000 + 1_000 * seed,
        seconds: 2.0,
        diverged: false,
        validation: Some(score(accuracy)),
        test: test.map(score),
        growth: Vec::new(),
        fossils: Vec::new(),
    }
}

fn diverged(contender: Contender, seed: u64) -> Record {
    Record { diverged: true, validation: None, parameter_steps: 9, ..record(contender, seed, 0.0, None) }
}

fn close(spread: Spread, mean: f64, deviation: f64) -> bool {
    (spread.mean - mean).abs() < 1e-12 && (spread.deviation - deviation).abs() < 1e-12
}

#[test]
fn a_summary_has_means_and_deviations_of_its_runs_alone() {
    let mut kept = kept();
    let host = kept.host("x", &conditions()).unwrap();
    host.add(record(Contender::Grown, 0, 0.5, Some(0.25)));
    host.add(record(Contender::Control, 0, 0.1, None));
    host.add(record(Contender::Grown, 2, 0.7, Some(0.75)));
    let [control, grown] = &host.summary[..] else { panic!("{:?}", host.summary) };
    assert_eq!((control.contender, control.runs, control.test_accuracy), (Contender::Control, 1, None));
    assert!(close(control.validation_accuracy.unwrap(), 0.1, 0.0));
    assert_eq!(grown.runs, 2);
    assert!(close(grown.parameters, 110.0, 200.0_f64.sqrt()));
    assert!(close(grown.parameter_steps, 6_000.0, 2e6_f64.sqrt()));
    assert!(close(grown.validation_accuracy.unwrap(), 0.6, 0.02_f64.sqrt()));
    assert!(close(grown.test_loss.unwrap(), 0.5, 0.125_f64.sqrt()));
    assert!(host.table().contains("60.00 ± 14.14 %"), "{}", host.table());
}

#[test]
fn a_report_that_is_read_again_is_the_same() {
    let held = tempfile::tempdir().unwrap();
    let path = held.path().join("report.json");
    let mut kept = Kept::open(path.clone(), "addition").unwrap();
    kept.host("x", &conditions()).unwrap().add(record(Contender::Control, 3, 1.0 / 3.0, Some(0.1)));
    kept.host("x", &conditions()).unwrap().add(diverged(Contender::Grown, 3));
    kept.write().unwrap();
    let mut again = Kept::open(path, "addition").unwrap();
    assert_eq!(again.report, kept.report);
    let host = again.host("x", &conditions()).unwrap();
    assert!(host.find(Contender::Control, 3).is_some() && host.find(Contender::Grown, 3).is_some());
    assert!(host.find(Contender::Control, 4).is_none());
}

#[test]
fn runs_of_other_conditions_are_kept_and_not_mixed() {
    let mut kept = kept();
    for host in ["x", "y"] {
        kept.host(host, &conditions()).unwrap().add(record(Contender::Control, 0, 0.5, None));
    }
    let others = [
        (Conditions { recipe: Recipe { test: false, ..recipe() }, ..conditions() }, "with other settings"),
        (Conditions { data: Digest::of(b"b"), ..conditions() }, "on other data"),
        (Conditions { network: "4-3".to_owned(), ..conditions() }, "with another network"),
    ];
    for (other, difference) in others {
        let error = kept.host("x", &other).unwrap_err().to_string();
        assert_eq!(error, format!(" has runs of x {difference}: give another --out"));
    }
    assert_eq!(kept.host("x", &conditions()).unwrap().records.len(), 1);
    assert_eq!(kept.host("y", &conditions()).unwrap().records.len(), 1);
}

#[test]
fn runs_that_diverged_are_counted_but_not_averaged() {
    let mut kept = kept();
    let host = kept.host("x", &conditions()).unwrap();
    host.add(diverged(Contender::Control, 0));
    host.add(diverged(Contender::Grown, 0));
    host.add(record(Contender::Grown, 1, 0.5, Some(0.25)));
    let [control, grown] = &host.summary[..] else { panic!("{:?}", host.summary) };
    assert_eq!((control.runs, control.diverged, control.validation_loss), (1, 1, None));
    assert_eq!((grown.runs, grown.diverged), (2, 1));
    assert!(close(grown.validation_loss.unwrap(), 0.5, 0.0) && close(grown.test_accuracy.unwrap(), 0.25, 0.0));
    assert!(close(grown.parameter_steps, 6_000.0, 0.0));
    assert!(host.table().contains("1 of them diverged"), "{}", host.table());
}

/// Published reports are from before the digest of the data was kept.
#[test]
fn a_report_without_digests_is_read_and_not_added_to() {
    let path = workspace::root().join("benches/results/growth/text.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut kept = Kept::open(path, "text").unwrap();
    assert_eq!(serde_json::to_value(&kept.report).unwrap()["hosts"][0].get("data"), None);
    let host = &kept.report.hosts[0];
    assert_eq!((host.host.as_str(), host.records.len(), host.data), ("transformer", 20, None));
    assert_eq!(host.network(), "transformer of 2 blocks, 16 wide, perceptrons of 32");
    assert!(text.contains(host.network()));
    let network = host.network().to_owned();
    let same = Conditions { recipe: host.recipe.clone(), network, ..conditions() };
    let error = kept.host("transformer", &same).unwrap_err().to_string();
    assert!(
        error.ends_with("has runs of transformer on data of which it has no digest: give another --out"),
        "{error}"
    );
}

#[test]
fn a_damaged_report_is_named_and_left_alone() {
    let held = tempfile::tempdir().unwrap();
    let path = held.path().join("report.json");
    for damage in ["", "{\"data\":\"x\",\"hosts\":[{", "null"] {
        fs::write(&path, damage).unwrap();
        let failure = Kept::open(path.clone(), "x").err().unwrap().to_string();
        assert!(failure.contains("report.json"), "{failure}");
        assert_eq!(fs::read_to_string(&path).unwrap(), damage);
    }
}
