//! What must hold after every step, whatever happened in it: property, clause of the contract, check.

use std::collections::BTreeSet;

use burn::module::ParamId;
use kasmina::{
    leyline::{
        Monotonic,
        v1::{SeedLifecycleStage as Stage, SeedLifecycleStage::*, SeedState, TelemetryEvent},
    },
    lifecycle::{TABLE, Transition},
    registry::Owner,
    security::NonceLedger,
};

use super::journal::{Reading, every_answer_is_journaled, nothing_acknowledged_is_lost, what_is_told_is_journaled};

/// Everything that can be seen from outside, without asking the model.
#[derive(Debug, Default)]
pub struct Seen {
    pub before: [Snapshot; 3],
    pub after: [Snapshot; 3],
    /// Seeds that the step's command names, or that time has moved.
    pub touched: BTreeSet<usize>,
    /// Seeds that may learn if the step is a batch.
    pub learners: BTreeSet<usize>,
    /// Seeds whose kernel has been made to share a parameter with the host.
    pub shared: [bool; 3],
    pub is_command: bool,
    /// Whether a batch was stepped.
    pub stepped: bool,
    /// Seeds that the step's report blames.
    pub blamed: Vec<usize>,
    pub host: BTreeSet<ParamId>,
    pub host_bytes: [Vec<u8>; 2],
    /// The bytes of the run in plain Burn, until the first fossil.
    pub control: Option<Vec<u8>>,
    /// Every parameter that ever was a seed's, and whose it is now.
    pub owners: Vec<(ParamId, Option<Owner>)>,
    /// Ids and bytes of commands that passed verification, and when, in order.
    pub obeyed: Vec<(String, Vec<u8>, Monotonic)>,
    /// Since telemetry was looked at: reasons of rejected commands, (id, reason) of refused, ids of accepted ones.
    pub rejected: Vec<String>,
    pub refused: Vec<(String, String)>,
    pub accepted: Vec<String>,
    pub violations: Vec<usize>,
    pub refused_steps: usize,
    /// What telemetry has told, where it was looked at in this step.
    pub told: Option<Told>,
    /// The last stage of each seed that telemetry told, before this step.
    pub last_told: [Option<Stage>; 3],
    /// The moves of each seed since both were compared: as telemetry has told them, as calls have returned them.
    pub heard: [Vec<(Stage, Stage)>; 3],
    pub returned: [Vec<(Stage, Stage)>; 3],
    /// Whether the step's call returned moves, be it none.
    pub handed_over: bool,
    /// Violations in a row since the isolation breaker last told anything, and whether it then was closed.
    pub unanswered: usize,
    pub isolation_closed: bool,
    pub now: Monotonic,
    /// Seeds that have gone back in this step.
    pub went_back: BTreeSet<usize>,
    /// Whether all that has happened is durable.
    pub durable: bool,
    /// When the process died, and how many commands had been obeyed by then.
    pub crashes: Vec<(usize, Monotonic)>,
    pub journal: Reading,
}

/// A seed from outside.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    pub stage: Stage,
    pub alpha: Option<f32>,
    pub slot: &'static str,
    pub registered: Vec<ParamId>,
    pub kernel: Option<(Vec<ParamId>, Vec<u8>)>,
    pub state: SeedState,
}

/// Packets of one look: how many about each seed, and their events by seed.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub packets: [usize; 3],
    pub events: Vec<(Option<usize>, TelemetryEvent)>,
}

impl Seen {
    /// A call returned these moves.
    pub fn hand_over(&mut self, transitions: &[Transition]) {
        self.handed_over = true;
        for moved in transitions {
            let index = self.after.iter().position(|seed| seed.state.seed_id == moved.seed_id.as_str());
            let index = index.unwrap_or_default();
            self.returned[index].push((moved.from, moved.to));
            self.journal.returned.push((index, moved.from, moved.to));
        }
    }
}

impl Told {
    fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (Option<usize>, &'a TelemetryEvent)> {
        self.events.iter().filter(move |(_, event)| event.description == name).map(|(seed, event)| (*seed, event))
    }

    fn attributes(&self, name: &str, attribute: &str) -> Vec<String> {
        let mut found: Vec<_> = self.of(name).map(|(_, event)| event.attributes[attribute].clone()).collect();
        found.sort();
        found
    }

    /// The moves of a seed, in order.
    pub fn moves(&self, seed: usize) -> Vec<(Stage, Stage)> {
        let of_seed = self.of("seed_state").filter(|(about, _)| *about == Some(seed));
        let stage = |event: &TelemetryEvent, end: &str| {
            Stage::from_str_name(&event.attributes[end]).unwrap_or(SeedStageUnknown)
        };
        of_seed.map(|(_, event)| (stage(event, "from"), stage(event, "to"))).collect()
    }

    /// What the breakers said, in order.
    pub fn breakers(&self) -> Vec<(String, String)> {
        let about = |(_, event): &(Option<usize>, TelemetryEvent)| {
            Some((event.attributes.get("breaker")?.clone(), event.description.clone()))
        };
        self.events.iter().filter_map(about).collect()
    }
}

type Check = fn(&Seen) -> Result<(), String>;

/// Property, clause of the contract, check.
pub const LEDGER: &[(&str, &str, Check)] = &[
    ("only moves of the table", "what is not in the table does not happen", only_moves_of_the_table),
    ("moves join up", "every transition is told", moves_join_up),
    ("moves are returned once", "every call returns the moves since the last", moves_are_returned_once),
    ("a fossil never moves", "FOSSILIZED has no way back", a_fossil_never_moves),
    ("no kernel, no parameter", "G5: a culled seed owns nothing", no_kernel_no_parameter),
    ("a kernel's own parameters", "G3: the registry covers exactly this seed's", a_kernels_own_parameters),
    ("one owner", "ARCHITECTURE, registry: a parameter has at most one owner", one_owner),
    ("alpha rises", "alpha in [0, 1], monotone", alpha_rises),
    ("one trial per slot", "G0: the slot is free", one_trial_per_slot),
    ("the host's bytes", "a live seed cannot touch the host", the_hosts_bytes),
    ("who may not learn stands still", "gradients in TRAINING and BLENDING only", stands_still),
    ("others are left alone", "ARCHITECTURE: a refusal changes nothing but the nonce ledger", others_are_left_alone),
    ("only the guilty are blamed", "the set of shared parameters is exact", only_the_guilty),
    ("every command is told", "every rejection is an event", every_command_is_told),
    ("every violation is told", "a violation is critical telemetry", every_violation_is_told),
    ("one packet per seed and step", "one packet per seed and step at most", one_packet),
    ("no id twice", "no replay is ever accepted, an id once in 300 s", no_id_twice),
    ("three violations open the breaker", "three violations in a row, or by one seed, open it", three_violations),
    ("the export is true", "states as they are", the_export_is_true),
    ("what is told is journaled", "durable before it is told, in this order", what_is_told_is_journaled),
    ("every answer is journaled", "durable before it is answered, or it has not happened", every_answer_is_journaled),
    ("nothing acknowledged is lost", "a crash loses nothing that was acknowledged", nothing_acknowledged_is_lost),
];

fn all(mut holds: impl FnMut(usize) -> Option<String>) -> Result<(), String> {
    (0..3).find_map(|seed| holds(seed).map(|why| format!("seed-{}: {why}", seed + 1))).map_or(Ok(()), Err)
}

fn told(seen: &Seen, check: impl FnOnce(&Told) -> Result<(), String>) -> Result<(), String> {
    seen.told.as_ref().map_or(Ok(()), check)
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Result<(), String> {
    if got == expected { Ok(()) } else { Err(format!("{what}: {got:?}, expected {expected:?}")) }
}

fn only_moves_of_the_table(seen: &Seen) -> Result<(), String> {
    told(seen, |told| {
        all(|seed| {
            let known = |&(from, to): &(Stage, Stage)| TABLE.iter().any(|entry| (entry.from, entry.to) == (from, to));
            told.moves(seed).into_iter().find(|told| !known(told)).map(|unknown| format!("{unknown:?}"))
        })
    })
}

fn moves_join_up(seen: &Seen) -> Result<(), String> {
    told(seen, |told| {
        all(|seed| {
            let mut at = seen.last_told[seed].unwrap_or(SeedStageUnknown);
            for (from, to) in told.moves(seed) {
                if from != at {
                    return Some(format!("told to leave {from:?} from {at:?}"));
                }
                at = to;
            }
            let is = seen.after[seed].stage;
            (at != is).then(|| format!("told to be in {at:?}, is in {is:?}"))
        })
    })
}

fn moves_are_returned_once(seen: &Seen) -> Result<(), String> {
    let both = seen.told.is_some() && seen.handed_over && seen.durable;
    all(|seed| {
        let (heard, returned) = (&seen.heard[seed], &seen.returned[seed]);
        (both && heard != returned).then(|| format!("returned {returned:?}, told {heard:?}"))
    })
}

fn a_fossil_never_moves(seen: &Seen) -> Result<(), String> {
    all(|seed| {
        let (before, after) = (&seen.before[seed], &seen.after[seed]);
        let moved = !seen.went_back.contains(&seed)
            && before.stage == SeedStageFossilized
            && (after.stage != SeedStageFossilized || after.registered != before.registered);
        moved.then(|| format!("is in {:?}", after.stage))
    })
}

fn no_kernel_no_parameter(seen: &Seen) -> Result<(), String> {
    all(|seed| {
        let Snapshot { stage, kernel, registered, .. } = &seen.after[seed];
        let grafted =
            [SeedStageGerminated, SeedStageTraining, SeedStageBlending, SeedStageShadowing, SeedStageProbationary];
        if kernel.is_some() != grafted.contains(stage) {
            return Some(format!("in {stage:?} with a kernel: {}", kernel.is_some()));
        }
        (kernel.is_none() && !registered.is_empty()).then(|| format!("owns {} without a kernel", registered.len()))
    })
}

fn a_kernels_own_parameters(seen: &Seen) -> Result<(), String> {
    all(|seed| {
        let Snapshot { kernel, registered, .. } = &seen.after[seed];
        let (own, _) = kernel.as_ref()?;
        let (own, registered): (BTreeSet<_>, BTreeSet<_>) = (own.iter().collect(), registered.iter().collect());
        let covered = own == registered || seen.shared[seed] && own.len() == registered.len();
        (!covered).then(|| format!("has {own:?}, owns {registered:?}"))
    })
}

fn one_owner(seen: &Seen) -> Result<(), String> {
    let mut owned = seen.host.clone();
    let of_seeds = seen.after.iter().flat_map(|seed| &seed.registered);
    if let Some(twice) = of_seeds.clone().find(|parameter| !owned.insert(**parameter)) {
        return Err(format!("{twice} is owned twice"));
    }
    for (parameter, owner) in &seen.owners {
        let holder = seen.after.iter().find(|seed| seed.registered.contains(parameter));
        let right = match owner {
            None => holder.is_none() && !seen.host.contains(parameter),
            Some(Owner::Seed(id)) => holder.is_some_and(|seed| seed.state.seed_id == id.as_str()),
            // The model has what has become a fossil.
            Some(Owner::Host) => seen.host.contains(parameter),
            Some(Owner::Teacher) => false,
        };
        if !right {
            return Err(format!("{parameter} is said to be of {owner:?}"));
        }
    }
    Ok(())
}

fn alpha_rises(seen: &Seen) -> Result<(), String> {
    all(|seed| {
        let (before, after) = (&seen.before[seed], &seen.after[seed]);
        let alpha = after.alpha?;
        if !(0.0..=1.0).contains(&alpha) {
            return Some(format!("alpha {alpha}"));
        }
        // START_GRAFTING begins at 0, from 0.
        let fell = !seen.went_back.contains(&seed)
            && before.stage == after.stage
            && before.alpha.is_some_and(|before| before > alpha);
        fell.then(|| format!("alpha fell from {:?} to {alpha}", before.alpha))
    })
}

fn one_trial_per_slot(seen: &Seen) -> Result<(), String> {
    let under_trial = |seed: &&Snapshot| seed.kernel.is_some() && seed.stage != SeedStageFossilized;
    let mut slots = BTreeSet::new();
    match seen.after.iter().filter(under_trial).find(|seed| !slots.insert(seed.slot)) {
        Some(second) => Err(format!("{} is the second at {}", second.state.seed_id, second.slot)),
        None => Ok(()),
    }
}

fn the_hosts_bytes(seen: &Seen) -> Result<(), String> {
    let [before, after] = &seen.host_bytes;
    if !seen.stepped && before != after {
        return Err("the host has changed without a step".to_owned());
    }
    match &seen.control {
        Some(control) if control != after => Err("the host is not what it would have been".to_owned()),
        Some(_) | None => Ok(()),
    }
}

fn stands_still(seen: &Seen) -> Result<(), String> {
    all(|seed| {
        let (before, after) = (seen.before[seed].kernel.as_ref()?, seen.after[seed].kernel.as_ref()?);
        let may = seen.stepped && seen.learners.contains(&seed) && !seen.blamed.contains(&seed);
        // What was replaced by another is no matter of learning; neither is tampering, which names the seed.
        let other = before.0 != after.0 || !seen.is_command && !seen.stepped && seen.touched.contains(&seed);
        (!may && !other && !seen.went_back.contains(&seed) && before.1 != after.1)
            .then(|| "its weights have changed".to_owned())
    })
}

fn others_are_left_alone(seen: &Seen) -> Result<(), String> {
    all(|seed| {
        let (before, after) = (&seen.before[seed], &seen.after[seed]);
        let disturbed = seen.is_command && !seen.touched.contains(&seed) && before != after;
        disturbed.then(|| format!("was disturbed: {before:?} has become {after:?}"))
    })
}

fn only_the_guilty(seen: &Seen) -> Result<(), String> {
    match seen.blamed.iter().find(|seed| !seen.shared[**seed]) {
        Some(innocent) => Err(format!("seed-{} shares nothing", innocent + 1)),
        None => Ok(()),
    }
}

fn every_command_is_told(seen: &Seen) -> Result<(), String> {
    told(seen, |told| {
        let sorted = |list: &[String]| {
            let mut list = list.to_vec();
            list.sort();
            list
        };
        let each = |(_, event): (_, &TelemetryEvent)| {
            let count = event.attributes.get("count").map_or(1, |count| count.parse().unwrap());
            vec![event.attributes["reason"].clone(); count]
        };
        let rejected: Vec<_> = told.of("command_rejected").flat_map(each).collect();
        equal("rejected", sorted(&rejected), sorted(&seen.rejected))?;
        equal("accepted", told.attributes("command_accepted", "command_id"), sorted(&seen.accepted))?;
        let both = |(_, event): (_, &TelemetryEvent)| {
            (event.attributes["command_id"].clone(), event.attributes["reason"].clone())
        };
        let mut refused: Vec<_> = told.of("command_refused").map(both).collect();
        let mut expected = seen.refused.clone();
        refused.sort();
        expected.sort();
        equal("refused", refused, expected)?;
        equal("refused steps", told.of("step_refused").count(), seen.refused_steps)
    })
}

fn every_violation_is_told(seen: &Seen) -> Result<(), String> {
    told(seen, |told| {
        let mut violations: Vec<_> = told.of("isolation_violation").filter_map(|(seed, _)| seed).collect();
        let mut expected = seen.violations.clone();
        violations.sort_unstable();
        expected.sort_unstable();
        equal("violations", violations, expected)
    })
}

fn one_packet(seen: &Seen) -> Result<(), String> {
    told(seen, |told| all(|seed| (told.packets[seed] > 1).then(|| format!("{} packets", told.packets[seed]))))
}

fn no_id_twice(seen: &Seen) -> Result<(), String> {
    let Some(((id, wire, at), earlier)) = seen.obeyed.split_last() else { return Ok(()) };
    if earlier.iter().any(|(_, bytes, _)| bytes == wire) {
        return Err(format!("{id} was replayed"));
    }
    // Whoever knows the secret may use an id again for another command when it has been forgotten.
    // A crash lets every id be remembered for as long again.
    let since = |place: usize, before: Monotonic| {
        let crashes = seen.crashes.iter().filter(|(obeyed, _)| place < *obeyed && *obeyed < seen.obeyed.len());
        crashes.map(|(_, when)| *when).max().unwrap_or(before)
    };
    let fresh = |place, before: Monotonic| at.since(since(place, before)) < NonceLedger::TTL;
    if earlier.iter().enumerate().any(|(place, (other, _, before))| other == id && fresh(place, *before)) {
        return Err(format!("{id} was obeyed twice"));
    }
    Ok(())
}

fn three_violations(seen: &Seen) -> Result<(), String> {
    if seen.isolation_closed && seen.unanswered >= 3 {
        return Err(format!("{} violations, and it is closed", seen.unanswered));
    }
    Ok(())
}

fn the_export_is_true(seen: &Seen) -> Result<(), String> {
    all(|seed| {
        let Snapshot { stage, state, registered, alpha, .. } = &seen.after[seed];
        let tensors = state.metrics.get("parameter_tensors").map_or(0, |tensors| *tensors as usize);
        let same =
            state.stage() == *stage && tensors == registered.len() && state.metrics.get("alpha").copied() == *alpha;
        (!same).then(|| format!("{state:?}"))
    })
}
