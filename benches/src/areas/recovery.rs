//! Going back: to an epoch in memory or in the store, and after a kill.

use std::time::Duration;

use burn::tensor::{Distribution, Tensor};
use kasmina::{
    Grafts, Settings,
    doubles::{Act, B, Host, Stack, Trainee, World},
    rollback::Store,
    safety::{Clock, SystemClock},
    security::doubles::AcceptAll,
};
use kasmina_measure::{Limit, Row, Side};
use tempfile::TempDir;

use super::commands::verifier;
use crate::case::Case;

/// Four layers of this have ten million parameters.
const WIDTH: usize = 1_600;
const SEED: &str = "seed-1";

pub(crate) fn cases(quick: bool) -> Vec<Case> {
    let row = Row::new("recovery/roll_back_memory_10m", "roll back 10M parameters, from memory");
    let mut cases = vec![roll_back(row.budget(Limit::AtMost(50e6)).aim(Limit::AtMost(5e6)), 1)];
    if !quick {
        let row = Row::new("recovery/roll_back_store_10m", "roll back 10M parameters, from the store");
        cases.push(roll_back(row.budget(Limit::AtMost(12e9)), 0));
    }
    let row = Row::new("recovery/commands_1600", "recover a run of 1,600 commands").beside("of 100").doing(16.0);
    // Sixteen times the commands in no more than sixteen times the time.
    cases.push(Case::new(row.budget(Limit::RatioAtLeast(1.0)), |meter| {
        let (many, few) = (Killed::after(1_600), Killed::after(100));
        meter.slow().pair(Side::repeat(|| many.recover()), Side::repeat(|| few.recover()))
    }));
    cases
}

fn roll_back(row: Row, keep_in_memory: usize) -> Case {
    Case::new(row, move |meter| {
        let directory = tempfile::tempdir().expect("a directory");
        let mut settings = Settings::default();
        settings.rollback.keep_in_memory = keep_in_memory;
        let mut trainee = Trainee::new(Stack::<B>::init(WIDTH, 4, 1));
        let mut world = World::with_clock(settings, SystemClock::new(), |builder| {
            let builder = builder.verifier(AcceptAll::default()).store(store(&directory));
            builder.build(&Default::default()).expect("an empty store")
        });
        grow(&mut world, &trainee, WIDTH);
        let forward = |host: &Stack<B>, grafts: &mut Grafts<B>| loss(host, WIDTH, grafts);
        let step = world.manager.train_batch(&mut trainee.model, &mut trainee.optimizer, 1e-4, forward);
        step.expect("the loss is finite");
        world.manager.checkpoint(&trainee.model, &trainee.optimizer).expect("there is space");
        let clock = SystemClock::new();
        let mut back = || {
            let wire = world.sender.roll_back(0, world.clock.unix()).expect("short");
            world.manager.submit(&wire).expect("there is a checkpoint");
            let started = clock.monotonic();
            world.manager.roll_back(&mut trainee.model, &mut trainee.optimizer).expect("it was ordered");
            clock.monotonic().since(started)
        };
        meter.slow().alone(Side::timed(move |count| (0..count).map(|_| back()).sum::<Duration>()))
    })
}

/// The store of a run that has ended.
pub(crate) struct Killed(TempDir);

impl Killed {
    /// With a seed in TRAINING in a small host, after so many commands.
    pub(crate) fn after(commands: usize) -> Self {
        const WIDTH: usize = 64;
        let directory = tempfile::tempdir().expect("a directory");
        let mut world = World::with_clock(Settings::default(), SystemClock::new(), |builder| {
            let builder = builder.verifier(verifier()).store(store(&directory));
            builder.build(&Default::default()).expect("an empty store")
        });
        grow(&mut world, &Trainee::new(Stack::<B>::init(WIDTH, 4, 1)), WIDTH);
        let mut left = commands;
        while left > 0 {
            let together = left.min(1_000);
            let wires: Vec<_> = (0..together).map(|_| world.wire(SEED, Act::Scale(0.5))).collect();
            let answers = world.manager.submit_all(wires.iter().map(Vec::as_slice));
            assert!(answers.iter().all(Result::is_ok));
            left -= together;
        }
        Self(directory)
    }

    /// Goes on with it.
    pub(crate) fn recover(&self) -> World<SystemClock> {
        World::with_clock(Settings::default(), SystemClock::new(), |builder| {
            let builder = builder.verifier(verifier()).store(store(&self.0));
            builder.recover(&Default::default()).expect("a sound store").0
        })
    }
}

/// A seed 1:50 of the host's width, in TRAINING.
fn grow(world: &mut World<SystemClock>, trainee: &Trainee<Stack<B>>, width: usize) {
    world.add(&Stack::<B>::kernel(width, (width / 50).max(1)));
    world.manager.attach_host(&trainee.model, |host, grafts| loss(host, width, grafts)).expect("a host alone");
    world.register(&trainee.model.host);
    world.act(SEED, Act::Germinate).expect("the kernel fits");
}

fn loss(host: &Stack<B>, width: usize, grafts: &mut Grafts<B>) -> Tensor<B, 1> {
    let x = Tensor::<B, 2>::random([4, width], Distribution::Default, &Default::default());
    (host.forward(x.clone(), grafts) - x).square().mean()
}

fn store(directory: &TempDir) -> Store {
    Store::open(directory.path()).expect("a store")
}
