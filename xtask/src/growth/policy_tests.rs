use kasmina::{
    engine::seed::{Blend, Contract, Embargo, Fossil, Trial},
    engine::vitals::Vitals,
    gates::Contribution,
    leyline::{Monotonic, SlotId},
};

use super::*;

const RULES: Rules = Rules {
    first_step: 10,
    last_step: 100,
    scout_steps: 5,
    alpha_steps: 4,
    blend_steps: 7,
    shadowing_steps: 3,
    probation_steps: 6,
    patience: 50,
    least_contribution: 0.01,
    weak_seeds: 2,
    fossils_per_slot: usize::MAX,
    budget: 1_000,
};

/// Two seeds at each of two slots, of 300 and 500 parameters.
fn policy() -> (GrowWhereItPulls, State) {
    let candidate = |name: &str, slot: &'static str, parameters: u64| Candidate {
        seed: id(name),
        slot,
        blueprint: BlueprintId::new(name).unwrap(),
        parameters,
    };
    let candidates = vec![
        candidate("a-1", "a", 300),
        candidate("b-1", "b", 500),
        candidate("a-2", "a", 300),
        candidate("b-2", "b", 500),
    ];
    let mut state = State::default();
    for candidate in &candidates {
        let seed = Seed::dormant(candidate.seed.clone(), SlotId::new(candidate.slot).unwrap());
        state.seeds.insert(candidate.seed.clone(), seed);
    }
    state.run.step = 10;
    state.run.host_gradient_norm = Some(2.0);
    (GrowWhereItPulls::new(RULES, candidates), state)
}

fn id(name: &str) -> SeedId {
    SeedId::new(name).unwrap()
}

fn graft(steps: u64, gradient_norm: Option<f32>) -> Graft {
    Graft {
        blueprint: BlueprintId::new("any").unwrap(),
        contract: Contract { rank: 2, channels: (4, 4), dtype: "f32".into() },
        parameters: 2,
        lr_scale: 1.0,
        epoch: 0,
        paused: false,
        vitals: Vitals { steps, gradient_norm, ..Vitals::default() },
        idle: None,
        leaving: None,
        ending: None,
    }
}

fn trial(without: f32, with: f32) -> Trial {
    let mut contribution = Contribution::default();
    contribution.record(without, with);
    Trial { blend: BlendConfig::residual(), contribution }
}

fn put(state: &mut State, name: &str, stage: Stage) {
    let seed = state.seeds.get_mut(&id(name)).unwrap();
    (seed.stage, seed.lives) = (stage, 1);
}

fn ask(policy: &mut GrowWhereItPulls, state: &State) -> Vec<String> {
    let orders = policy.orders(&Observation { state, host_loss: 1.0, seeds: &[] });
    orders.iter().map(|order| format!("{} {}", order.name(), order.seed().map_or("", SeedId::as_str))).collect()
}

/// The seed is part of the model, and lowered the loss from 1 by this share.
fn fossilise(policy: &mut GrowWhereItPulls, state: &mut State, name: &str, contribution: f32) {
    put(state, name, Stage::Training(graft(5, Some(1.0))));
    assert_eq!(ask(policy, state), [format!("start_grafting {name}")]);
    put(state, name, Stage::Probationary(graft(0, None), trial(1.0, 1.0 - contribution), Probation::OnTrial));
    assert!(ask(policy, state).is_empty());
    let blueprint = BlueprintId::new(name).unwrap();
    put(state, name, Stage::Fossilized(Fossil { blueprint, blend: BlendConfig::residual(), terminated: false }));
    state.run.fossils.push(id(name));
}

#[test]
fn one_seed_germinates_at_every_slot_when_it_is_time() {
    let (mut policy, mut state) = policy();
    assert_eq!(ask(&mut policy, &state), ["germinate a-1", "germinate b-1"]);
    state.run.step = 9;
    assert!(ask(&mut policy, &state).is_empty());
    state.run.step = 101;
    assert!(ask(&mut policy, &state).is_empty());
}

#[test]
fn the_seed_with_the_largest_gradient_ratio_is_grafted() {
    let (mut policy, mut state) = policy();
    // While a kernel is on its way, and as long as one has learned too little, nothing is chosen.
    put(&mut state, "a-1", Stage::Training(graft(4, Some(1.0))));
    put(&mut state, "b-1", Stage::Training(graft(4, Some(1.5))));
    assert!(ask(&mut policy, &state).is_empty());
    // The mean counts: (1 + 4) / 2 against (1.5 + 1.5) / 2, each over the host's 2.
    put(&mut state, "a-1", Stage::Training(graft(5, Some(4.0))));
    put(&mut state, "b-1", Stage::Training(graft(5, Some(1.5))));
    assert_eq!(ask(&mut policy, &state), ["cull b-1", "start_grafting a-1"]);
    let [grown] = &policy.history[..] else { panic!("{:?}", policy.history) };
    assert_eq!((grown.seed.as_str(), grown.gradient_ratio, grown.others["b-1"]), ("a-1", 1.25, 0.75));
}

#[test]
fn a_gradient_that_is_no_number_is_not_chosen() {
    let (mut policy, mut state) = policy();
    put(&mut state, "a-1", Stage::Training(graft(5, Some(f32::NAN))));
    put(&mut state, "b-1", Stage::Training(graft(5, Some(0.1))));
    assert_eq!(ask(&mut policy, &state), ["cull a-1", "start_grafting b-1"]);
}

#[test]
fn a_chosen_seed_is_put_before_each_gate_in_time() {
    let (mut policy, mut state) = policy();
    let mut expect = |stage: Stage, orders: &[&str]| {
        put(&mut state, "a-1", stage);
        assert_eq!(ask(&mut policy, &state), orders);
    };
    let blend = |advanced| Blend {
        config: BlendConfig::residual(),
        schedule: AlphaSchedule::Linear { total_steps: 4 },
        advanced,
        contribution: Contribution::default(),
        pause_proven: None,
    };
    expect(Stage::Training(graft(5, Some(1.0))), &["start_grafting a-1"]);
    // The gate postponed.
    expect(Stage::Training(graft(6, Some(1.0))), &["start_grafting a-1"]);
    expect(Stage::Blending(graft(1, None), blend(3)), &[]);
    expect(Stage::Blending(graft(6, None), blend(4)), &[]);
    expect(Stage::Blending(graft(7, None), blend(3)), &[]);
    expect(Stage::Blending(graft(7, None), blend(4)), &["stabilize a-1"]);
    expect(Stage::Shadowing(graft(2, None), trial(1.0, 0.9)), &[]);
    expect(Stage::Shadowing(graft(3, None), trial(1.0, 0.9)), &["evaluate a-1"]);
    expect(Stage::Probationary(graft(5, None), trial(1.0, 0.9), Probation::OnTrial), &[]);
    expect(Stage::Probationary(graft(6, None), trial(1.0, 0.9), Probation::OnTrial), &["fossilize a-1"]);
    expect(Stage::Probationary(graft(51, None), trial(1.0, 0.9), Probation::OnTrial), &["cull a-1"]);
}

#[test]
fn the_next_seeds_are_compared_when_the_last_has_grown() {
    let (mut policy, mut state) = policy();
    fossilise(&mut policy, &mut state, "a-1", 0.25);
    // 300 of 1,000 parameters are used, so both of the next ones fit.
    assert_eq!(ask(&mut policy, &state), ["germinate b-1", "germinate a-2"]);
    let [grown] = &policy.history[..] else { panic!("{:?}", policy.history) };
    assert_eq!((grown.fossilised, grown.contribution), (Some(10), 0.25));
}

#[test]
fn a_seed_that_was_culled_has_contributed_nothing() {
    let (mut policy, mut state) = policy();
    put(&mut state, "a-1", Stage::Training(graft(5, Some(1.0))));
    ask(&mut policy, &state);
    put(&mut state, "a-1", Stage::Probationary(graft(1, None), trial(1.0, 0.5), Probation::OnTrial));
    ask(&mut policy, &state);
    put(&mut state, "a-1", Stage::Embargoed(Embargo { until: Monotonic::ORIGIN }));
    assert_eq!(ask(&mut policy, &state), ["germinate b-1", "germinate a-2"]);
    assert_eq!((policy.history[0].contribution, policy.history[0].fossilised), (0.0, None));
}

#[test]
fn a_seed_beyond_the_budget_does_not_germinate() {
    let (mut policy, mut state) = policy();
    fossilise(&mut policy, &mut state, "b-1", 0.25);
    assert_eq!(ask(&mut policy, &state), ["germinate a-1", "germinate b-2"]);
    fossilise(&mut policy, &mut state, "a-1", 0.25);
    // 800 are used: none of 300 or 500 fits.
    assert!(ask(&mut policy, &state).is_empty());
}

#[test]
fn growth_ends_when_the_last_seeds_were_weak() {
    let (mut policy, mut state) = policy();
    policy.rules.budget = u64::MAX;
    fossilise(&mut policy, &mut state, "a-1", 0.25);
    fossilise(&mut policy, &mut state, "a-2", 0.001);
    assert_eq!(ask(&mut policy, &state), ["germinate b-1"]);
    fossilise(&mut policy, &mut state, "b-1", 0.009);
    assert!(ask(&mut policy, &state).is_empty());
}

#[test]
fn no_seed_germinates_at_a_slot_that_is_full() {
    let (mut policy, mut state) = policy();
    (policy.rules.budget, policy.rules.fossils_per_slot) = (u64::MAX, 1);
    fossilise(&mut policy, &mut state, "a-1", 0.25);
    assert_eq!(ask(&mut policy, &state), ["germinate b-1"]);
    fossilise(&mut policy, &mut state, "b-1", 0.25);
    assert!(ask(&mut policy, &state).is_empty());
}
