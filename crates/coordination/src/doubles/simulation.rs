//! One seed from its beginning to its end.

use std::collections::{BTreeMap, BTreeSet};

use super::{chain::Violation, world::World};

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// How many workers. None draws it: mostly four, and up to seven.
    pub workers: Option<usize>,
    /// How many faults happen: deaths, sleeps and partitions.
    pub faults: u32,
    /// How many happenings (messages, steps, timers) before everything heals.
    pub happenings: u64,
}

impl Default for Simulation {
    fn default() -> Self {
        Self { workers: None, faults: 12, happenings: 4_000 }
    }
}

/// What happened in a simulation.
#[derive(Clone, Debug, Default)]
pub struct Simulated {
    /// Things that happened.
    pub events: u64,
    /// Messages sent.
    pub messages: u64,
    /// Decisions, as often as honest replicas heard of them.
    pub decided: u64,
    /// Decisions, each counted once.
    pub decisions: u64,
    /// Waits of honest replicas that ended without a decision.
    pub undecided: u64,
    /// Waits that ended with a promise.
    pub promised: u64,
    /// Honest replicas that fell out of lock-step.
    pub isolated: u64,
    /// Replicas that began from the state of another one.
    pub restored: u64,
    /// Processes that began again.
    pub restarts: u64,
    /// Times that the lease went to somebody.
    pub leases: u64,
    /// Times that an honest replica went back.
    pub rollbacks: u64,
    /// What liars said besides what their workers said.
    pub lies: u64,
    /// Messages that were not taken.
    pub rejected: u64,
    /// Events of honest replicas about equivocation, forged messages, plans without a reason, and digests that differ.
    pub equivocations: u64,
    /// See there.
    pub forged: u64,
    /// See there.
    pub unjustified: u64,
    /// See there.
    pub mismatches: u64,
    /// Groups in which no honest replica was left in lock-step: people have to begin anew.
    pub lost: u64,
    /// Simulated milliseconds from the end of the faults to the next decision on all honest replicas.
    pub healed_in_ms: u64,
    pub(super) waiting: BTreeSet<usize>,
    pub(super) armed: BTreeMap<usize, u64>,
}

/// Microseconds that a healed group may take until all honest replicas apply a new decision: a lease that runs out, three
/// timeouts of two seconds by a slow clock, and the steps between.
const SOON: u64 = 20_000_000;

/// Runs the world of one seed.
///
/// # Errors
/// [`Violation`], if something does not hold.
pub fn simulate(seed: u64, simulation: &Simulation) -> Result<Simulated, Violation> {
    let fail = |what: String| Violation { seed, at_ms: 0, what };
    let mut world = World::new(seed, simulation).map_err(fail)?;
    while world.seen.events < simulation.happenings && world.step()? {}
    world.heal().map_err(|what| world.violation(what))?;
    let (healed_at, decided) = (world.now, world.chain.len());
    // Two more, so that everybody takes part in one that began after the end of the faults.
    while !world.all_have_applied(decided + 2) {
        if world.is_lost() {
            world.seen.lost = 1;
            break;
        }
        if world.now - healed_at > SOON || !world.step()? {
            return Err(world.violation(format!("nothing is decided any more: {}", world.describe())));
        }
    }
    world.seen.decisions = world.chain.len() as u64;
    world.seen.healed_in_ms = (world.now - healed_at) / 1_000;
    Ok(world.seen)
}
