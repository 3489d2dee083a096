//! A manager on a real store, on a disk that fills up and in a directory that goes away: it refuses, loses nothing, and goes on.

use std::{collections::BTreeMap, env, fs, path::Path, process::Command, time::Duration};

use crate::common::{self, B, Mlp, World, model_of, optimizer, refused, seed};
use kasmina::{
    CommandError, Receipt, Recovered, SeedManager, Settings,
    leyline::{TrainingRunId, v1::SeedLifecycleStage::*},
    rollback::Store,
    safety::Clock,
    security::{CommandVerifier, KeyRing, Secret},
};

const DIRECTORY: &str = "KASMINA_FULL_DISK_DIRECTORY";

fn world(directory: &Path) -> (World, Recovered) {
    let Store { journal, blobs, .. } = Store::open(directory).unwrap();
    World::recover(Settings::default(), journal, blobs)
}

#[test]
#[cfg(unix)]
fn a_full_disk_acknowledges_nothing_and_takes_nothing_away() {
    let directory = tempfile::tempdir().unwrap();
    // SIGXFSZ would kill the child; ignored, the write fails instead. 64 blocks of 512 bytes: 32 KiB.
    let output = Command::new("/bin/sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 64 && exec \"$0\" --exact full_disk::full_disk_child --nocapture"])
        .arg(env::current_exe().unwrap())
        .env(DIRECTORY, directory.path())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            println!("SKIPPED: a_full_disk_acknowledges_nothing_and_takes_nothing_away: no /bin/sh: {error}");
            return;
        }
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let told: BTreeMap<&str, &str> = said.lines().filter_map(|line| line.split_once('=')).collect();
    assert!(told.contains_key("done"), "{said}\n{}", String::from_utf8_lossy(&output.stderr));

    let (mut world, recovered) = world(directory.path());
    assert_eq!((world.stage("seed-1"), world.stage("seed-2")), (SeedStageTraining, SeedStageDormant));
    assert_eq!(recovered.grafted, 1);
    // With space again, what was refused can be sent again.
    let (mut model, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
    assert_eq!(world.manager.restore_model(&mut model, &mut optimizer).unwrap().step, 0);
    world.manager.attach_host(&model, |host, grafts| common::loss(host, 0, grafts)).unwrap();
    let later = Duration::from_secs(1);
    world.clock.advance(later);
    world.clock.set_unix(world.clock.unix().after(later));
    // Only a paused seed can be resumed: it is where the last acknowledgement left it.
    assert_eq!(pause(&mut world, true).is_ok(), told["paused"] == "true");
    world.germinate("seed-2", "late").unwrap();
}

fn pause(world: &mut World, resume: bool) -> Result<Receipt, CommandError> {
    let wire = world.sender.pause(&seed("seed-1"), resume, world.clock.unix()).unwrap();
    world.manager.submit(&wire)
}

/// Not a test: what runs under the limit.
#[test]
fn full_disk_child() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let (mut world, _) = world(Path::new(&directory));
    let (mut host, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
    world.attach(&host);
    world.germinate("seed-1", "mlp").unwrap();
    let mut accepted = 0;
    let error = loop {
        match pause(&mut world, accepted % 2 == 1) {
            Ok(_) => accepted += 1,
            Err(error) => break error.to_string(),
        }
    };
    assert!(accepted > 20, "{accepted}");
    // It goes on refusing, and training, whether it tries the disk again or not.
    for at in 1..=5 {
        world.wait(at % 3);
        assert_eq!(refused(pause(&mut world, accepted % 2 == 1)), "not_durable");
        assert_eq!(refused(world.germinate("seed-2", "late")), "not_durable");
        world.step(&mut host, &mut optimizer, at);
    }
    assert!(error.contains("no space left") && error.contains("journal"), "{error}");
    println!("paused={}\ndone=", accepted % 2 == 1);
}

#[test]
fn directory_that_goes_away_is_named_and_used_again_when_back() {
    let parent = tempfile::tempdir().unwrap();
    let (directory, away) = (parent.path().join("store"), parent.path().join("away"));
    let (mut world, _) = world(&directory);
    world.attach(&model_of(Mlp::<B>::init()));
    fs::rename(&directory, &away).unwrap();
    let error = world.germinate("seed-1", "mlp").unwrap_err();
    assert_eq!((error.reason(), world.stage("seed-1")), ("not_durable", SeedStageDormant));
    assert!(error.to_string().contains("store"), "{error}");
    fs::rename(&away, &directory).unwrap();
    world.wait(1);
    world.germinate("seed-1", "mlp").unwrap();
    drop(world);
    let (world, _) = self::world(&directory);
    assert_eq!(world.stage("seed-1"), SeedStageTraining);
}

#[test]
fn store_in_use_and_damaged_weights_are_refused_with_the_place() {
    let directory = tempfile::tempdir().unwrap();
    let (mut world, _) = world(directory.path());
    world.attach(&model_of(Mlp::<B>::init()));
    world.germinate("seed-1", "mlp").unwrap();
    assert_eq!(Store::open(directory.path()).unwrap_err().reason(), "locked");
    drop(world);

    let files = fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path());
    for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "blob")) {
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    let run = TrainingRunId::new("run-7").unwrap();
    let recovered = SeedManager::<B>::builder(run)
        .verifier(CommandVerifier::new(KeyRing::of("k1", Secret::new("a shared secret").unwrap())))
        .store(Store::open(directory.path()).unwrap())
        .recover::<B>(&Default::default());
    let error = recovered.err().unwrap().to_string();
    assert!(error.contains("is damaged: its SHA-256") && error.contains(".blob"), "{error}");
}
