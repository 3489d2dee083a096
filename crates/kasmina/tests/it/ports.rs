//! The manager and its fake, as policies and trainers see them.

use crate::common::{B, Mlp, World, blueprint, model_of, seed};
use kasmina::{
    CommandPort, Refusal, Settings, StepError, TrainPort,
    commands::Order,
    doubles::{Act::*, FakeHandle, FakeManager, conformance, loss, optimizer, sender},
    engine,
    leyline::{
        Monotonic, TrainingRunId, UnixTime,
        v1::{SeedLifecycleStage::*, SeedState},
    },
    lifecycle::Transition,
    safety::Clock,
};

fn fake() -> (FakeManager, FakeHandle) {
    let (fake, handle) = FakeManager::pair(TrainingRunId::new("run-7").unwrap());
    for name in ["seed-2", "seed-1"] {
        let stage = SeedStageTraining.into();
        handle.set_seed(SeedState { seed_id: name.into(), stage, ..SeedState::default() });
    }
    (fake, handle)
}

#[test]
fn manager_is_a_command_port() {
    conformance::command_port(|| {
        let mut world = World::new(Settings::default());
        for name in ["seed-2", "seed-1"] {
            world.manager.register_seed(seed(name), kasmina::doubles::slot("mid")).unwrap();
        }
        // Registering has moved both; nobody is told with the first order.
        world.manager.tick();
        let now = world.clock.unix();
        (world.manager, sender(), now)
    });
}

#[test]
fn fake_is_a_command_port() {
    conformance::command_port(|| (fake().0, sender(), UnixTime::from_millis(1_700_000_000_000)));
}

#[test]
fn manager_is_a_train_port() {
    conformance::train_port(|| World::new(Settings::default()).manager);
}

#[test]
fn fake_is_a_train_port() {
    conformance::train_port(|| fake().0);
}

/// A policy of somebody else's, written against the port alone.
fn culls_what_trains(port: &mut impl CommandPort) -> usize {
    let states = port.seed_states();
    let training = states.iter().filter(|state| state.stage() == SeedStageTraining);
    training.filter(|state| port.order(Order::Cull { seed: seed(&state.seed_id), blend_out_steps: 0 }).is_ok()).count()
}

#[test]
fn fake_answers_as_its_handle_says() {
    let (mut fake, handle) = fake();
    let moved =
        |to| Transition { seed_id: seed("seed-1"), from: SeedStageTraining, to, gate: None, at: Monotonic::ORIGIN };
    handle.answer(Ok(vec![moved(SeedStageCulled), moved(SeedStageEmbargoed)]));
    handle.answer(Err(Refusal::Decided(engine::Refusal::UnknownSeed(seed("seed-2")))));
    assert_eq!(culls_what_trains(&mut fake), 1);
    let stages: Vec<_> = fake.seed_states().iter().map(SeedState::stage).collect();
    assert_eq!(stages, [SeedStageEmbargoed, SeedStageTraining]);
    let orders = [
        (None, Order::Cull { seed: seed("seed-1"), blend_out_steps: 0 }),
        (None, Order::Cull { seed: seed("seed-2"), blend_out_steps: 0 }),
    ];
    assert_eq!(handle.take_orders(), orders);

    let order = Germinate.order(seed("seed-1"), blueprint("mlp"));
    let wire = sender().order(&order, UnixTime::from_millis(5)).unwrap();
    let receipt = fake.submit(&wire).unwrap();
    assert_eq!(handle.take_orders(), [(Some(receipt.command), order)]);
}

#[test]
fn fake_fails_the_steps_that_its_handle_names() {
    let (mut fake, handle) = fake();
    let (mut host, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
    let mut step = |fake: &mut FakeManager| {
        fake.train_batch(&mut host, &mut optimizer, 1e-2, |host, grafts| loss(host, 1, grafts)).map(|it| it.step)
    };
    handle.fail_step(StepError::LossShape { got: vec![2] });
    assert_eq!(step(&mut fake), Err(StepError::LossShape { got: vec![2] }));
    handle.command_rollback(Some(3));
    assert_eq!(step(&mut fake), Err(StepError::RollbackPending { epoch: 3 }));
    assert_eq!(TrainPort::<B, Mlp<B>>::rollback_commanded(&fake), Some(3));
    handle.command_rollback(None);
    assert_eq!((step(&mut fake), handle.steps()), (Ok(1), 1));
    TrainPort::<B, Mlp<B>>::end_epoch(&mut fake);
    assert_eq!(handle.epochs(), 1);
}
