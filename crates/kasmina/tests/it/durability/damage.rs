//! What is damaged on the disk is named, and what was there before it is used.

use std::{
    collections::BTreeSet,
    ops::{ControlFlow, Range},
};

use super::{portrait, settings, world};
use crate::common::{self, B, Mlp, World, model_of, optimizer, seed};
use kasmina::{
    BuildError, SeedManager,
    leyline::{
        SlotId, TrainingRunId,
        v1::{SeedLifecycleStage::*, SeedOperation::*},
    },
    rollback::{Digest, Entry, Journal, Store, StoreError, Visitor, doubles::MemoryStore},
    safety::Clock,
};

/// The loss with the seed's kernel: it tells its weights.
fn told_by_weights(world: &World, host: &kasmina::Grown<B, Mlp<B>>) -> Vec<f32> {
    let mut grafts = world.manager.seed_view(host, &seed("seed-1"));
    common::loss(&common::twin(host), 77, &mut grafts).into_data().to_vec().unwrap()
}

fn recovery_error(store: &MemoryStore) -> &'static str {
    let run = TrainingRunId::new("run-7").unwrap();
    let builder = SeedManager::<B>::builder(run).journal(store.clone(), store.clone());
    let Err(BuildError::Checkpoint(error)) = builder.recover::<B>(&Default::default()) else { panic!("recovered") };
    error.reason()
}

#[test]
fn damaged_weights_give_way_to_those_before() {
    let store = MemoryStore::new();
    let (host, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
    let (mut trained, mut first) = (common::twin(&host), world(&store, settings()));
    first.attach(&host);
    first.germinate("seed-1", "mlp").unwrap();
    for at in 1..=20 {
        first.step(&mut trained, &mut optimizer, at);
    }
    first.graft("seed-1", "RESIDUAL", 10.0).unwrap();
    for at in 21..=25 {
        first.step(&mut trained, &mut optimizer, at);
    }
    let (before, then) = (BTreeSet::from_iter(store.digests()), told_by_weights(&first, &host));
    first.step(&mut trained, &mut optimizer, 26);
    let now = told_by_weights(&first, &host);
    assert!(now != then);
    drop(first);
    let newest: Vec<Digest> = store.digests().into_iter().filter(|digest| !before.contains(digest)).collect();
    assert_eq!(newest.len(), 2);

    store.damage(&newest[0]);
    let (mut second, found) = World::recover(settings(), store.clone(), store.clone());
    assert_eq!(found.older_weights, BTreeSet::from([seed("seed-1")]));
    let event = second.events().into_iter().find(|event| event.description == "recovered").unwrap();
    assert_eq!(event.attributes["older_weights"], "seed-1");
    assert_eq!((second.stage("seed-1"), second.manager.step()), (SeedStageBlending, 26));
    // The alpha is that of step 26, which the record of the seed says.
    second.go_on(&host);
    assert!(told_by_weights(&second, &host) != now, "weights that are damaged");
    drop(second);

    // The next process begins with the weights that were used.
    let (_, found) = World::recover(settings(), store.clone(), store.clone());
    assert!(found.older_weights.is_empty());
    store.digests().iter().for_each(|digest| store.damage(digest));
    assert_eq!(recovery_error(&store), "corrupt_blob");
}

#[test]
fn damaged_weights_with_none_before_are_named() {
    let store = MemoryStore::new();
    let mut first = world(&store, settings());
    first.attach(&model_of(Mlp::<B>::init()));
    let network = store.digests();
    first.germinate("seed-1", "mlp").unwrap();
    drop(first);
    let weights = store.digests().into_iter().find(|digest| !network.contains(digest)).unwrap();
    store.damage(&weights);
    assert_eq!(recovery_error(&store), "corrupt_blob");
}

/// A journal whose newest snapshot says nothing that can be read.
struct Garbled(MemoryStore);

impl Journal for Garbled {
    fn status(&self) -> Result<Range<u64>, StoreError> {
        self.0.status()
    }

    fn append(&mut self, entries: &[Entry]) -> Result<Range<u64>, StoreError> {
        self.0.append(entries)
    }

    fn visit(&mut self, range: Range<u64>, visit: &mut Visitor<'_>) -> Result<(), StoreError> {
        let newest = snapshots(&self.0).pop();
        self.0.visit(range, &mut |mut record| {
            if let Entry::Snapshot { bytes, .. } = &mut record.entry
                && Some(record.sequence) == newest
            {
                bytes.truncate(bytes.len() / 2);
            }
            visit(record)
        })
    }

    fn compact(&mut self, from: u64) -> Result<(), StoreError> {
        self.0.compact(from)
    }
}

fn snapshots(store: &MemoryStore) -> Vec<u64> {
    let mut places = Vec::new();
    let visited = store.clone().visit(0..u64::MAX, &mut |record| {
        if let Entry::Snapshot { .. } = record.entry {
            places.push(record.sequence);
        }
        ControlFlow::Continue(())
    });
    visited.unwrap();
    places
}

/// Two processes, the second with an embargo and a graft that learns.
fn two_lives() -> MemoryStore {
    let store = MemoryStore::new();
    let (mut host, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
    let mut first = world(&store, settings());
    first.wait(500);
    first.attach(&host);
    first.germinate("seed-1", "mlp").unwrap();
    first.germinate("seed-2", "late").unwrap();
    first.step(&mut host, &mut optimizer, 1);
    first.operate("seed-2", SeedOpCull).unwrap();
    drop(first);
    let mut second = world(&store, settings());
    second.go_on(&host);
    for at in 2..=5 {
        second.wait(1);
        second.step(&mut host, &mut optimizer, at);
    }
    second.manager.register_seed(seed("seed-4"), SlotId::new("mid").unwrap()).unwrap();
    drop(second);
    store
}

#[test]
fn snapshot_that_cannot_be_read_is_made_up_for() {
    let (sound, damaged) = (two_lives(), two_lives());
    let place = snapshots(&damaged).pop().unwrap();
    let (mut sound, expected) = World::recover(settings(), sound.clone(), sound);
    let (mut damaged, found) = World::recover(settings(), Garbled(damaged.clone()), damaged);
    assert_eq!((expected.skipped_snapshot, found.skipped_snapshot), (None, Some(place)));
    assert_eq!(found.incarnation, expected.incarnation);
    assert_eq!(portrait(&damaged), portrait(&sound));
    let event = damaged.events().into_iter().find(|event| event.description == "recovered").unwrap();
    assert_eq!(event.attributes["skipped_snapshot"], place.to_string());
    // The embargo that the first process began never ends early.
    for world in [&mut sound, &mut damaged] {
        world.wait(25);
        assert_eq!(world.manager.tick(), []);
        world.wait(5);
        assert_eq!(world.manager.tick().len(), 2);
    }
}

#[test]
fn only_snapshot_that_cannot_be_read_is_an_error() {
    let store = MemoryStore::new();
    let mut first = world(&store, settings());
    first.attach(&model_of(Mlp::<B>::init()));
    std::mem::forget(first);
    assert_eq!(snapshots(&store).len(), 1);
    let run = TrainingRunId::new("run-7").unwrap();
    let builder = SeedManager::<B>::builder(run).journal(Garbled(store.clone()), store.clone());
    let Err(BuildError::Checkpoint(error)) = builder.recover::<B>(&Default::default()) else { panic!("recovered") };
    assert_eq!(error.reason(), "checkpoint_malformed");
}

#[test]
fn store_of_format_1_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("checkpoints")).unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert_eq!(error.reason(), "older_version");
    let advice = error.to_string();
    assert!(advice.contains("release that wrote it") && advice.contains("empty directory"), "{advice}");
}

#[test]
fn cull_that_safety_forced_stays_culled_in_an_epoch_of_the_store() {
    let store = MemoryStore::new();
    let (mut host, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
    let mut first = world(&store, settings());
    first.attach(&host);
    first.germinate("seed-1", "mlp").unwrap();
    for at in 1..=20 {
        first.step(&mut host, &mut optimizer, at);
    }
    first.graft("seed-1", "CONVEX", 50.0).unwrap();
    first.manager.tamper(&seed("seed-1"), common::spoilt);
    first.step(&mut host, &mut optimizer, 21);
    assert_eq!(first.stage("seed-1"), SeedStageEmbargoed);
    first.manager.end_epoch();
    first.manager.checkpoint(&host, &optimizer).unwrap();
    drop(first);
    let mut second = world(&store, settings());
    second.clock.set_unix(second.clock.unix().after(std::time::Duration::from_secs(1)));
    let wire = second.sender.roll_back(1, second.clock.unix()).unwrap();
    second.manager.submit(&wire).unwrap();
    second.manager.roll_back(&mut host, &mut optimizer).unwrap();
    assert_eq!(second.stage("seed-1"), SeedStageEmbargoed);
    assert_eq!(second.manager.registry().parameters_of(&seed("seed-1")).count(), 0);
}
