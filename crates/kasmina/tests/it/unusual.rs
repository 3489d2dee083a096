//! Calls in an unusual order, at an unusual moment, or on an unusual model.

mod models;
mod restarts;
mod runs;

use kasmina::{
    Grown,
    doubles::{Act::*, Trainee},
    rollback::doubles::MemoryStore,
};

use crate::common::{B, Cnn, Mlp, World, determined, lenient};

type Model = Grown<B, Mlp<B>>;

const NOTHING: [(u64, kasmina::doubles::Act); 0] = [];

/// A run whose seed-1 is in PROBATIONARY after `until` steps, with all the evidence that it needs.
fn proven(world: &mut World, until: u64) -> Trainee<Mlp<B>> {
    let mut trainee = Trainee::new(determined(Mlp::init()));
    world.attach(&trainee.model);
    world.live(&mut trainee, until, &[(1, Germinate), (14, Graft(5)), (20, Stabilize), (25, Evaluate)]);
    trainee
}

fn on(store: &MemoryStore) -> World {
    World::recover(lenient(), store.clone(), store.clone()).0
}

/// A model that begins anywhere, and an optimizer.
fn blank() -> Trainee<Mlp<B>> {
    Trainee::new(Mlp::init())
}

/// A convolutional network with batch normalisation and a fossil behind it.
fn with_running_statistics(world: &mut World) -> Trainee<Cnn<B>> {
    let mut trainee = Trainee::new(determined(Cnn::init()));
    world.attach(&trainee.model);
    let script = [(1, Germinate), (14, Graft(5)), (20, Stabilize), (25, Evaluate), (40, Fossilize)];
    world.live(&mut trainee, 45, &script);
    assert_eq!(trainee.model.fossils().len(), 1);
    trainee
}
