//! `kasmina send`, checked by the verifier that a manager uses.

use std::path::Path;

use kasmina_leyline::{
    Monotonic,
    v1::{AdaptationCommand, BlendMode, CommandType, SeedOperation, adaptation_command::Payload},
};
use kasmina_safety::{Clock, SystemClock};
use kasmina_security::{CommandVerifier, KeyRing, Secret, Verifier};
use prost::Message;

use crate::{failure, kasmina};

const SECRET: &str = "a shared secret";

/// The command that these arguments write, verified.
fn sent(arguments: &[&str]) -> AdaptationCommand {
    let mut command = kasmina(&["send"]);
    let output = command.args(arguments).env("ESPER_LEYLINE_SECRET", SECRET).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", failure(&output).1);
    let mut verifier = CommandVerifier::new(KeyRing::of("k1", Secret::new(SECRET).unwrap()));
    verifier.verify(&output.stdout, SystemClock::new().unix(), Monotonic::ORIGIN).unwrap();
    AdaptationCommand::decode(output.stdout.as_slice()).unwrap()
}

#[test]
fn every_order_is_signed_and_verified() {
    use CommandType::*;
    for (arguments, expected) in [
        ("germinate seed-1 mlp --tier high-risk --parameter width=4 --lr-scale 0.5", CommandSeed),
        ("start-training seed-1", CommandSeed),
        ("start-grafting seed-1 --mode residual --schedule cosine --steps 500", CommandSeed),
        ("stabilize seed-1", CommandSeed),
        ("evaluate seed-1", CommandSeed),
        ("fine-tune seed-1 --steps 10", CommandSeed),
        ("fossilize seed-1", CommandSeed),
        ("cull seed-1", CommandSeed),
        ("cull seed-1 --blend-out-steps 20", CommandSeed),
        ("cancel seed-1", CommandSeed),
        ("pause seed-1", CommandPause),
        ("resume seed-1", CommandPause),
        ("optimizer seed-1 --lr-scale 0.25", CommandOptimizer),
        ("circuit-breaker kernels half-open", CommandCircuitBreaker),
        ("circuit-breaker telemetry closed", CommandCircuitBreaker),
        ("emergency --include-teacher", CommandEmergency),
        ("rollback 3", CommandRollback),
        ("roll-back-seed seed-1 --epoch 3", CommandRollback),
    ] {
        let command = sent(&arguments.split(' ').collect::<Vec<_>>());
        assert_eq!(command.command_type(), expected, "{arguments}");
        assert_eq!(command.target_seed_id == "seed-1", arguments.contains("seed-1"), "{arguments}");
    }
}

#[test]
fn arguments_become_fields() {
    let command = sent(&["germinate", "s", "mlp", "--tier=safe", "--parameter", "width=4", "--lr-scale", "0.5"]);
    let Some(Payload::SeedOperation(operation)) = &command.payload else { panic!("{command:?}") };
    assert_eq!((operation.operation(), operation.blueprint_id.as_str()), (SeedOperation::SeedOpGerminate, "mlp"));
    assert_eq!(operation.parameters, [("width".to_owned(), 4.0), ("lr_scale".to_owned(), 0.5)].into());
    assert_eq!(command.annotations["blueprint_tier"], "SAFE");

    let graft = ["start-grafting", "s", "--mode", "channel", "--alpha-vec", "0.5,1", "--schedule", "sigmoid"];
    let command = sent(&[&graft[..], &["--steps", "7", "--temperature", "0.5", "--run", "run-7"]].concat());
    let Some(Payload::SeedOperation(operation)) = &command.payload else { panic!("{command:?}") };
    let parameters = [("alpha_total_steps".to_owned(), 7.0), ("alpha_temperature".to_owned(), 0.5)];
    assert_eq!(operation.parameters, parameters.into());
    let blend = operation.blend.as_ref().unwrap();
    assert_eq!((blend.mode(), blend.alpha_vec.as_slice()), (BlendMode::Channel, &[0.5, 1.0][..]));
    for (name, value) in
        [("blend_mode", "CHANNEL"), ("alpha_vec", "0.5,1"), ("alpha_schedule", "sigmoid"), ("training_run_id", "run-7")]
    {
        assert_eq!(command.annotations[name], value);
    }

    let gate = ["start-grafting", "s", "--mode", "confidence", "--gate-k", "2", "--alpha-hi", "0.9", "--steps", "7"];
    let Some(Payload::SeedOperation(operation)) = sent(&gate).payload else { panic!("a seed operation") };
    let blend = operation.blend.unwrap();
    assert_eq!((blend.gate_k, blend.gate_tau), (Some(2.0), Some(0.2)));
    assert_eq!((blend.alpha_lo, blend.alpha_hi), (Some(0.0), Some(0.9)));

    let command = sent(&["cull", "s", "--blend-out-steps", "20"]);
    assert_eq!(command.annotations["blend_out_steps"], "20");

    let command = sent(&["resume", "s", "--issued-by", "ops", "--deadline-ms", "50", "--annotation", "risk_score=0.2"]);
    assert_eq!((command.issued_by.as_str(), command.execution_deadline_ms), ("ops", 50));
    assert!(command.command_id.starts_with("ops-"));
    assert_eq!((command.annotations["resume"].as_str(), command.annotations["risk_score"].as_str()), ("true", "0.2"));
}

#[test]
fn secret_file_wins_and_its_line_end_is_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let (secret, out) = (directory.path().join("secret"), directory.path().join("command"));
    std::fs::write(&secret, format!("{SECRET}\r\n")).unwrap();
    let mut command = kasmina(&["send", "cull", "seed-1", "--secret-file"]);
    command.arg(&secret).arg("--out").arg(&out).env("ESPER_LEYLINE_SECRET", "another");
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{}", failure(&output).1);
    let mut verifier = CommandVerifier::new(KeyRing::of("k1", Secret::new(SECRET).unwrap()));
    let wire = std::fs::read(out).unwrap();
    verifier.verify(&wire, SystemClock::new().unix(), Monotonic::ORIGIN).unwrap();
}

#[test]
fn missing_or_empty_secrets_fail_with_their_source() {
    let cull = || kasmina(&["send", "cull", "seed-1"]);
    let (code, said) = failure(&cull().output().unwrap());
    assert!(code == Some(1) && said.contains("--secret-file") && said.contains("ESPER_LEYLINE_SECRET"), "{said}");
    let both = [("ESPER_LEYLINE_SECRET", SECRET), ("ESPER_LEYLINE_SECRET_FILE", "/nowhere")];
    assert!(failure(&cull().envs(both).output().unwrap()).1.contains("are both set"));
    assert!(failure(&cull().env("ESPER_LEYLINE_SECRET", "").output().unwrap()).1.contains("is empty"));
    let empty = tempfile::NamedTempFile::new().unwrap();
    for (file, detail) in [(Path::new("/nowhere"), "No such file"), (empty.path(), "it is empty")] {
        let (code, said) = failure(&cull().arg("--secret-file").arg(file).output().unwrap());
        assert!(code == Some(1) && said.contains(&format!("--secret-file {}: {detail}", file.display())), "{said}");
    }
}

#[test]
fn wrong_arguments_exit_with_2_and_write_nothing() {
    for arguments in [
        &["cull", "two words"][..],
        &["cull"],
        &["fine-tune", "seed-1", "--steps", "0"],
        &["optimizer", "seed-1", "--lr-scale", "-1"],
        &["optimizer", "seed-1", "--lr-scale", "nan"],
        &["germinate", "seed-1", "mlp", "--parameter", "width"],
        &["circuit-breaker", "kernels", "ajar"],
        &["rollback", "18446744073709551615"],
        &["terminate", "seed-1"],
        &["start-grafting", "seed-1"],
        &["start-grafting", "seed-1", "--steps", "5", "--gate-k", "2"],
        &["start-grafting", "seed-1", "--steps", "5", "--schedule", "linear", "--temperature", "2"],
        &["start-grafting", "seed-1", "--steps", "5", "--mode", "channel"],
        &["start-grafting", "seed-1", "--steps", "5", "--mode", "channel", "--alpha-vec", "2"],
        &["pause", "seed-1", "--annotation", "resume=true"],
        &["pause", "seed-1", "--annotation", "risk_score=0.1", "--annotation", "risk_score=0.2"],
        &["pause", "seed-1", "--annotation", "signature=x"],
        &["pause", "seed-1", "--issued-by", "two words"],
    ] {
        let mut command = kasmina(&["send"]);
        let output = command.args(arguments).env("ESPER_LEYLINE_SECRET", SECRET).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}");
    }
}

#[test]
fn run_that_an_annotation_contradicts_is_refused() {
    let pause = |annotation: &'static str| {
        let mut command = kasmina(&["send", "pause", "seed-1", "--run", "run-7", "--annotation", annotation]);
        command.env("ESPER_LEYLINE_SECRET", SECRET).output().unwrap()
    };
    let output = pause("training_run_id=run-8");
    let (code, said) = failure(&output);
    assert!(code == Some(2) && output.stdout.is_empty() && said.contains("training_run_id"), "{said}");
    let command = AdaptationCommand::decode(pause("training_run_id=run-7").stdout.as_slice()).unwrap();
    assert_eq!(command.annotations["training_run_id"], "run-7");
}

#[test]
fn unwritable_file_is_named() {
    let mut command = kasmina(&["send", "cull", "seed-1", "--out", "/nowhere/command"]);
    let (code, said) = failure(&command.env("ESPER_LEYLINE_SECRET", SECRET).output().unwrap());
    assert!(code == Some(1) && said.contains("/nowhere/command"), "{said}");
}
