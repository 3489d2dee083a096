//! Riders: TRAINING seeds, which learn from the host's gradient at their slot, each in a graph of its own.

use std::{collections::BTreeSet, time::Duration};

use burn::{
    module::{AutodiffModule, ParamId},
    optim::GradientsParams,
    tensor::Tensor,
};
use kasmina_blending::{BlendBackend, GraftBackend, Stash, check_fit, pull_back};
use kasmina_kernel_load::KernelModule;
use kasmina_leyline::{SeedId, SlotId};
use kasmina_registry::{Owner, Ownership, parameter_ids};

use crate::{
    Cast, Fault, GradientLedger, Idle, Overlap, Part, Participant, Pass, Route, Trace, View, Violation, overlap,
};

/// The visits of slots with riders, in the order of the host's pass.
pub(crate) struct Visits<B: BlendBackend>(Vec<(SlotId, Box<dyn Visit<B> + Send>)>);

/// Why a kernel cannot do its part: machine-readable, and for a reader.
pub(crate) type Misfit = (&'static str, String);

trait Visit<B: BlendBackend> {
    /// A scalar whose backward pass gives the kernel its gradients of the host's loss at this visit; `None` if no gradient has
    /// come to the slot.
    fn pull_back(&self, kernel: &KernelModule<B>, route: &Route) -> Result<Option<Tensor<B, 1>>, Misfit>;
}

/// One visit: what the kernel reads, what it would modify, both detached, and the gradient there.
struct At<B: BlendBackend, const D: usize> {
    input: Tensor<B, D>,
    host: Tensor<B, D>,
    stash: Stash<B>,
}

/// What the riders found.
#[derive(Default)]
pub(crate) struct Ridden {
    pub(crate) kernels: Vec<(SeedId, GradientsParams)>,
    pub(crate) idle: Vec<(SeedId, Idle)>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) faults: Vec<Fault>,
    /// Forward and backward passes of the kernels.
    pub(crate) pass_time: Duration,
    pub(crate) verify_time: Duration,
}

/// The host's side of the proof: what the host's pass gave it.
pub(crate) struct HostGradients<'a> {
    pub(crate) gradients: &'a GradientsParams,
    /// The parameters that have one.
    pub(crate) present: &'a BTreeSet<ParamId>,
}

/// Lets every rider learn from the visits of its slot. The host's backward pass is over, so nothing here can change what it
/// gave; a rider that shares a parameter with the host or an earlier rider, by id or by tensor, gets no gradients.
pub(crate) fn ride<B: GraftBackend, H: AutodiffModule<B>>(
    host: &H,
    theirs: &HostGradients<'_>,
    cast: &Cast<'_, B>,
    visits: &Visits<B>,
    trace: &Trace<B>,
    ownership: &dyn Ownership,
) -> Ridden {
    let mut ridden = Ridden::default();
    let rides = |other: &&Participant<'_, B>| other.part(View::Host) == Part::StraightThrough;
    let mut riders: Vec<_> = cast.participants().iter().filter(rides).collect();
    riders.sort_by_key(|rider| rider.seed);
    // Whoever got gradients before, with the ids of its parameters.
    let mut others = Vec::new();
    for rider in riders {
        let started = cast.clock().monotonic();
        let (seed, slot) = (rider.seed.clone(), rider.slot.clone());
        let scalar = match visits.pull_back(rider, &cast.route(rider.seed)) {
            Ok(Some(scalar)) => scalar,
            Ok(None) => {
                let idle = Idle::at(trace.reached(&slot));
                ridden.idle.push((seed, idle));
                continue;
            }
            Err((reason, detail)) => {
                ridden.faults.push(Fault { seed, slot, reason, detail });
                continue;
            }
        };
        let mut ledger = GradientLedger::<B>::new(scalar.backward());
        let passed = cast.clock().monotonic();
        let verified = verify(rider, host, theirs, &others, &mut ledger, ownership);
        ridden.pass_time += passed.since(started);
        ridden.verify_time += cast.clock().monotonic().since(passed);
        match verified {
            Ok(gradients) => {
                ridden.kernels.push((seed, gradients));
                others.push(rider);
            }
            Err((shared, overlap)) => ridden.violations.push(Violation { seed, pass: Pass::Host, shared, overlap }),
        }
    }
    ridden
}

/// The rider's gradients, if its graph reached nobody else's parameters and none of its own has somebody else's id.
fn verify<B: GraftBackend, H: AutodiffModule<B>>(
    rider: &Participant<'_, B>,
    host: &H,
    theirs: &HostGradients<'_>,
    others: &[&Participant<'_, B>],
    ledger: &mut GradientLedger<B>,
    ownership: &dyn Ownership,
) -> Result<GradientsParams, (BTreeSet<ParamId>, Option<Overlap>)> {
    let present = ledger.present(rider.kernel);
    let reached = ledger.present(host);
    let mut shared: BTreeSet<_> = present.intersection(theirs.present).copied().collect();
    shared.extend(&reached);
    if !shared.is_empty() {
        // What the host would have got from the seed.
        let taken = if reached.is_empty() { ledger.take(rider.kernel) } else { ledger.take(host) };
        let overlap = overlap::<B, _>(host, theirs.gradients, &taken.unwrap_or_default(), &shared);
        return Err((shared, overlap));
    }
    for other in others {
        let mut shared = ledger.present(other.kernel);
        shared.extend(parameter_ids(other.kernel).iter().filter(|id| present.contains(id)));
        if !shared.is_empty() {
            return Err((shared, None));
        }
    }
    let allowed = ownership.validate_update(&Owner::Seed(rider.seed.clone()), &present);
    allowed.map_err(|refusal| (BTreeSet::from([refusal.parameter()]), None))?;
    ledger.take(rider.kernel).map_err(|shared| (shared, None))
}

impl<B: BlendBackend> Default for Visits<B> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<B: BlendBackend> Visits<B> {
    /// Remembers a visit: `tap` is what the kernel reads, if that is not the activation itself.
    pub(crate) fn push<const D: usize>(
        &mut self,
        slot: SlotId,
        tap: Option<Tensor<B, D>>,
        host: &Tensor<B, D>,
        stash: Stash<B>,
    ) {
        let host = host.clone().detach();
        let input = tap.map_or_else(|| host.clone(), Tensor::detach);
        self.0.push((slot, Box::new(At { input, host, stash })));
    }
}

impl<B: GraftBackend> Visits<B> {
    /// The visits of the rider's slot together.
    fn pull_back(&self, rider: &Participant<'_, B>, route: &Route) -> Result<Option<Tensor<B, 1>>, Misfit> {
        let mut sum: Option<Tensor<B, 1>> = None;
        for (_, visit) in self.0.iter().filter(|(slot, _)| slot == rider.slot) {
            if let Some(scalar) = visit.pull_back(rider.kernel, route)? {
                sum = Some(match sum {
                    None => scalar,
                    Some(sum) => sum + scalar,
                });
            }
        }
        Ok(sum)
    }
}

impl<B: BlendBackend, const D: usize> Visit<B> for At<B, D> {
    fn pull_back(&self, kernel: &KernelModule<B>, route: &Route) -> Result<Option<Tensor<B, 1>>, Misfit> {
        // Without a gradient nothing is run: Burn keeps a graph until a backward pass goes through it.
        let Some(gradient) = self.stash.gradient() else { return Ok(None) };
        let seed = route.run(kernel, self.input.clone()).map_err(|error| (error.reason(), error.to_string()))?;
        check_fit(&self.host, &seed).map_err(|error| (error.reason(), error.to_string()))?;
        Ok(Some(pull_back(seed, gradient)))
    }
}
