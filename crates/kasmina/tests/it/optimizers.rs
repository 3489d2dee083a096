//! Seeds learn by optimizers of their own.

use burn::optim::SgdConfig;
use kasmina::{
    SeedOptimizer, Settings,
    leyline::v1::{SeedLifecycleStage::SeedStageBlending, SeedOperation::SeedOpStabilize},
};

use crate::common::{Mlp, World, bytes, loss, model_of, seed};

/// The learning rates of seed-1 in the steps of a run, on a host that steps at `rate`.
fn rates(settings: Settings, rate: f64, scale: impl Fn(u64) -> f64) -> Vec<f64> {
    let mut host = model_of(Mlp::init());
    let mut optimizer = SgdConfig::new().init();
    let mut world = World::new(settings);
    world.attach(&host);
    world.germinate("seed-1", "mlp").unwrap();
    let mut rates = Vec::new();
    for step in 1..=20 {
        if step == 11 {
            world.graft("seed-1", "RESIDUAL", 100.0).unwrap();
        }
        world.manager.scale_learning_rates(scale(step)).unwrap();
        world.manager.train_batch(&mut host, &mut optimizer, rate, |host, grafts| loss(host, step, grafts)).unwrap();
        let state = world.manager.state();
        rates.push(state.seeds[&seed("seed-1")].stage.graft().unwrap().vitals.learning_rate);
    }
    rates
}

#[test]
fn rate_of_a_seed_does_not_depend_on_the_hosts() {
    let slow = rates(Settings::default(), 1e-4, |_| 1.0);
    let fast = rates(Settings::default(), 0.05, |_| 1.0);
    assert_eq!(slow, fast);
    // A tenth in TRAINING, all of it in BLENDING.
    assert!((slow[0] - 1e-4).abs() < 1e-12 && (slow[19] - 1e-3).abs() < 1e-12, "{slow:?}");
}

#[test]
fn scale_of_a_schedule_multiplies_the_rate() {
    let rates = rates(Settings::default(), 0.01, |step| 1.0 / step as f64);
    assert!((rates[19] - 1e-3 / 20.0).abs() < 1e-12, "{rates:?}");
}

#[test]
fn scale_that_is_not_a_number_is_refused() {
    let mut world = World::new(Settings::default());
    for scale in [f64::NAN, f64::INFINITY, -0.1] {
        assert!(world.manager.scale_learning_rates(scale).is_err());
    }
}

#[test]
fn host_on_sgd_at_a_tenth_grows_with_the_defaults() {
    let mut host = model_of(Mlp::init());
    let mut optimizer = SgdConfig::new().init();
    let mut world = World::new(Settings::default());
    world.attach(&host);
    world.germinate("seed-1", "mlp").unwrap();
    for step in 1..=400 {
        match step {
            21 => drop(world.graft("seed-1", "RESIDUAL", 40.0).unwrap()),
            61 => assert_eq!(world.stage("seed-1"), SeedStageBlending),
            _ => {}
        }
        let report =
            world.manager.train_batch(&mut host, &mut optimizer, 0.1, |host, grafts| loss(host, step % 8, grafts));
        assert!(report.unwrap().loss.is_finite());
    }
    world.operate("seed-1", SeedOpStabilize).unwrap();
    let state = &world.manager.state().seeds[&seed("seed-1")];
    assert!(state.stage.graft().unwrap().vitals.gradient_norm.unwrap() > 0.0);
}

#[test]
fn each_optimizer_of_the_settings_moves_the_kernel() {
    for text in ["name = 'adamw', weight_decay = 0.0", "name = 'adam', beta_1 = 0.8", "name = 'sgd', momentum = 0.9"] {
        let text = format!("[training]\noptimizer = {{ {text} }}");
        let mut host = model_of(Mlp::init());
        let mut optimizer = SgdConfig::new().init();
        let mut world = World::new(Settings::from_toml(&text).unwrap());
        world.attach(&host);
        world.germinate("seed-1", "mlp").unwrap();
        let before = bytes(&world.manager.kernel(&seed("seed-1")).unwrap());
        world.manager.train_batch(&mut host, &mut optimizer, 0.01, |host, grafts| loss(host, 1, grafts)).unwrap();
        assert_ne!(bytes(&world.manager.kernel(&seed("seed-1")).unwrap()), before, "{text}");
    }
}

#[test]
fn optimizer_with_impossible_numbers_is_refused_by_its_key() {
    for (text, key) in [
        ("name = 'adamw', beta_1 = 1.0", "training.optimizer.beta_1"),
        ("name = 'adam', epsilon = 0.0", "training.optimizer.epsilon"),
        ("name = 'sgd', momentum = -0.1", "training.optimizer.momentum"),
    ] {
        let error = Settings::from_toml(&format!("[training]\noptimizer = {{ {text} }}")).unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }
    assert!(Settings::from_toml("[training]\noptimizer = { name = 'lion' }").is_err());
    assert_eq!(Settings::default().training.optimizer, SeedOptimizer::default());
}
