//! Simulates groups of replicas: `cargo run --release -p kasmina-coordination --example simulate -- --seeds 100000`.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::process::ExitCode;

use kasmina_coordination::doubles::{Scenario, Simulated, Simulation, explore, simulate};
use kasmina_safety::{Clock, SystemClock};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|it| it == "--explore") {
        return explore_small(arguments.get(1).and_then(|it| it.parse().ok()).unwrap_or(100_000));
    }
    let number = |name: &str| -> Option<u64> {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse().ok()
    };
    let (first, seeds) = (number("--first").unwrap_or(0), number("--seeds").unwrap_or(1_000));
    let most = number("--violations").unwrap_or(3);
    let mut simulation =
        Simulation { workers: number("--workers").and_then(|it| it.try_into().ok()), ..Simulation::default() };
    if let Some(faults) = number("--faults") {
        simulation.faults = faults.try_into().unwrap_or(u32::MAX);
    }
    if let Some(happenings) = number("--happenings") {
        simulation.happenings = happenings;
    }
    let clock = SystemClock::new();
    let (mut all, mut violations, mut slowest) = (Simulated::default(), 0, (0, 0));
    for seed in first..first + seeds {
        match simulate(seed, &simulation) {
            Ok(one) => {
                slowest = slowest.max((one.healed_in_ms, seed));
                add(&mut all, &one);
            }
            Err(violation) => {
                println!("{violation}");
                violations += 1;
                if violations >= most {
                    break;
                }
            }
        }
    }
    let seconds = clock.monotonic().as_nanos() / 1_000_000_000;
    println!(
        "{seeds} seeds from {first} in {seconds} s: {violations} violations, slowest to heal (ms, seed) {slowest:?}"
    );
    println!("{all:#?}");
    if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Looks at small groups exhaustively.
fn explore_small(most_states: usize) -> ExitCode {
    for (workers, holder_lies, lease_changes) in
        [(2, false, false), (2, false, true), (3, false, false), (3, false, true), (4, true, false), (4, true, true)]
    {
        let scenario = Scenario { workers, holder_lies, lease_changes, most_states };
        match explore(scenario) {
            Ok(explored) => println!("{scenario:?}: {explored:?}"),
            Err(violation) => {
                println!("{scenario:?}: {violation}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn add(all: &mut Simulated, one: &Simulated) {
    all.events += one.events;
    all.messages += one.messages;
    all.decided += one.decided;
    all.decisions += one.decisions;
    all.undecided += one.undecided;
    all.promised += one.promised;
    all.isolated += one.isolated;
    all.restored += one.restored;
    all.restarts += one.restarts;
    all.leases += one.leases;
    all.rollbacks += one.rollbacks;
    all.lies += one.lies;
    all.rejected += one.rejected;
    all.equivocations += one.equivocations;
    all.forged += one.forged;
    all.unjustified += one.unjustified;
    all.mismatches += one.mismatches;
    all.lost += one.lost;
}
