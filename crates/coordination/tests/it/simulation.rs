//! The simulator's short form. Its long one is an example: see docs/COORDINATION.md.

use kasmina_coordination::doubles::{Scenario, Simulation, explore, simulate};

/// Seeds of each kind of world.
const SEEDS: u64 = 500;

fn run(first: u64, simulation: &Simulation) -> u64 {
    let mut decisions = 0;
    for seed in first..first + SEEDS {
        match simulate(seed, simulation) {
            Ok(simulated) => decisions += simulated.decisions,
            Err(violation) => panic!("{violation}"),
        }
    }
    decisions
}

#[test]
fn whatever_goes_wrong_replicas_agree_and_go_on() {
    let simulation = Simulation { happenings: 1_200, ..Simulation::default() };
    let decisions = run(0, &simulation);
    assert!(decisions > 2 * SEEDS, "{decisions} decisions: nothing was tested");
}

#[test]
fn with_seven_workers_two_liars_change_nothing() {
    let simulation = Simulation { workers: Some(7), happenings: 2_000, ..Simulation::default() };
    let decisions = run(100_000, &simulation);
    assert!(decisions > 2 * SEEDS, "{decisions} decisions: nothing was tested");
}

#[test]
fn in_every_order_of_messages_two_workers_decide_one_plan() {
    let scenario = Scenario { workers: 2, holder_lies: false, lease_changes: true, most_states: 100_000 };
    let explored = explore(scenario).unwrap();
    assert!(explored.is_complete && explored.states > 100, "{explored:?}");
}

#[test]
fn in_many_orders_of_messages_a_lying_holder_gets_no_two_plans_decided() {
    let scenario = Scenario { workers: 4, holder_lies: true, lease_changes: true, most_states: 3_000 };
    let explored = explore(scenario).unwrap();
    assert!(explored.plans > 0, "{explored:?}");
}
