//! Keeps a seed from touching its host: the passes of a training step, and the proof of who got a gradient.
//!
//! A host's forward hands its activations to [`Grafts`]: `let h = grafts.at("mid", h);`. The seeds' stages decide which kernel is
//! applied there, and how: [`Row`] is the table, and a [`Cast`] builds the views from it.
//!
//! - In the host's pass ([`host_pass`]) the host learns, and TRAINING seeds learn behind it, from the gradient at their slot.
//! - In the learning pass ([`learning_pass`]) all seeds learn that are blended in (BLENDING, and PROBATIONARY under fine-tuning): one
//!   forward and one backward pass for all of them, on a [frozen twin](frozen_twin) of the host. What is frozen is the barrier.
//! - A [`measure`] is a forward pass without a graph, in which an [`Override`] puts a seed in or leaves it out; and two such passes
//!   prove a pause ([`prove_pause`]).
//! - Before its first pass, a kernel can be run alone ([`prewarm`]), and in a [`trial`] with its gradients, on the path that the backend
//!   fuses and on the plain one ([`Route`]).
//!
//! A pass returns facts: losses, gradients by owner, violations, faults, and a [`Trace`] of its slots. It steps nothing, culls
//! nothing and emits nothing.
//!
//! # What is promised
//!
//! **Until a seed is fossilised, the host's bytes after every step are those of the same run through [`host_pass`] without that
//! seed**, for every host, whatever its graph. At each slot the host's graph has one node with one parent, a
//! [tap](kasmina_blending::tap), whether a seed is there or not; what seeds compute is in graphs of their own. An activation without
//! a gradient, as behind a frozen stem, becomes a leaf at its slot, so Burn differentiates what lies behind it.
//!
//! **They are those of plain Burn, too, if every tensor (activation or parameter) that the host uses three times or more meets two
//! conditions:**
//! - All of its uses read it through the same slots, or none reads it through a slot. (A slot whose result has one use, by an operation
//!   with no other operand than parameters, counts as that use.)
//! - Of any two of its uses, one depends on the other, or both are behind the same slots and get what was computed before those slots
//!   only through them.
//!
//! So a host in which no tensor is used three times meets them, and so does a chain of blocks with slots between them, whatever is in
//! the blocks. Count the operations that layers consist of: a batch normalisation uses its input three times. In other hosts,
//! plain Burn may differ by the rounding of sums: a sum of three floats depends on their order, Burn adds gradients in the order
//! of the graph's depth, and a tap makes the way through a slot one node deeper. A host that draws random numbers must draw the same
//! ones: see [`StepRng`]. [`Grafts::none`] is plain Burn, without taps.
//!
//! **A seed's gradients in the learning pass are those of a pass in which it learns alone**, up to the order of sums. If a seed makes
//! the loss not finite, shares a parameter or fails, the others get what they would get without it.
//!
//! **The losses of one step can be compared**: the learning pass and all measures draw the same random numbers at the same places of the
//! host, whichever kernels are in them, if [`StepRng`] has a seed.
//!
//! Running statistics are the host's own: only its own pass moves them, and [`Statistics`] puts them back in place.
//! They do not fit a view with live seeds; [`refit_statistics`] estimates them for one, in a copy.
//!
//! # The proof
//!
//! The [`GradientLedger`] of a pass says whose parameters got a gradient, exactly and without tensor arithmetic. It finds a
//! parameter that two modules share, by id or by tensor. The ledger is not behind a trait: its methods are generic over modules,
//! so a double would need a factory of ledgers in every pass. Tests let kernels share real parameters instead, and code above the
//! passes is tested with [`HostPass`] and [`LearningPass`] values. What a pass asks *about* parameters is a seam:
//! [`Ownership`](kasmina_registry::Ownership).
//!
//! A trainer with a loop of its own and without a manager, in which one seed learns behind the host:
//!
//! ```
//! use std::sync::Arc;
//!
//! use burn::{
//!     backend::{Autodiff, Flex},
//!     module::Module,
//!     nn::{Linear, LinearConfig},
//!     optim::{AdamWConfig, Optimizer},
//!     tensor::{Distribution, Tensor, activation::relu, backend::Backend},
//! };
//! use kasmina_blending::{Alpha, BlendBackend, BlendConfig};
//! use kasmina_isolation::{Cast, Grafts, Participant, RngStream, StepRng, host_pass};
//! use kasmina_kernel_load::{ArtifactLimits, Digests, Initialisation, LayerSpec, Manifest, SlotContract, initialise, verify};
//! use kasmina_leyline::{BlueprintId, SeedId, SlotId, v1::SeedLifecycleStage::SeedStageTraining};
//! use kasmina_registry::{Registry, parameter_ids};
//! use kasmina_safety::{Clock, SystemClock};
//!
//! type B = Autodiff<Flex>;
//!
//! #[derive(Module, Debug)]
//! struct Host<B: Backend> {
//!     stem: Linear<B>,
//!     head: Linear<B>,
//! }
//!
//! impl<B: BlendBackend> Host<B> {
//!     fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
//!         let h = relu(self.stem.forward(x));
//!         self.head.forward(grafts.at("mid", h))
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = Default::default();
//! let mut host = Host::<B> { stem: LinearConfig::new(8, 4).init(&device), head: LinearConfig::new(4, 1).init(&device) };
//! let manifest =
//!     Manifest::new(BlueprintId::new("linear-4")?, SlotContract::f32(2, 4, 4), vec![LayerSpec::linear(4, 4)])?;
//! let (artifact, limits) = (initialise(&manifest, &Initialisation::default())?, ArtifactLimits::default());
//! let mut kernel = verify(&artifact, &Digests::of(&artifact, &limits)?, &limits)?.build::<B>(&device);
//!
//! let (seed, slot, blend) = (SeedId::new("seed-1")?, SlotId::new("mid")?, BlendConfig::default());
//! let mut registry = Registry::default();
//! registry.register_seed(&seed, parameter_ids(&kernel))?;
//! let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
//! let (mut optimizer, mut seeds_optimizer) = (AdamWConfig::new().init(), AdamWConfig::new().init());
//!
//! let x = Tensor::<B, 2>::random([16, 8], Distribution::Default, &device);
//! let loss = |host: &Host<B>, grafts: &mut Grafts<B>| {
//!     (host.forward(x.clone(), grafts) - x.clone().sum_dim(1)).square().mean()
//! };
//! for step in 0..5 {
//!     let rng = StepRng::new(&device, Some(7), step);
//!     let rider = Participant {
//!         seed: &seed,
//!         slot: &slot,
//!         stage: SeedStageTraining,
//!         kernel: &kernel,
//!         blend: &blend,
//!         alpha: Alpha::ZERO,
//!         paused: false,
//!         learns: true,
//!     };
//!     let pass = host_pass(&host, &loss, &Cast::new([rider], Arc::clone(&clock)), &mut registry, &rng)?;
//!     assert!(pass.violations.is_empty());
//!     host = optimizer.step(1e-2, host, pass.gradients);
//!     for (_, gradients) in pass.kernels {
//!         kernel = seeds_optimizer.step(1e-2, kernel, gradients);
//!     }
//!     rng.start(RngStream::Trainer);
//! }
//! # Ok(())
//! # }
//! ```

mod behind;
mod cast;
mod divide;
#[cfg(feature = "doubles")]
pub mod doubles;
mod flat;
mod gradients;
mod grafts;
mod host_pass;
mod hunt;
mod idle;
mod learning_pass;
mod ledger;
mod measure;
mod norms;
mod refit;
mod rehearse;
mod reuse;
mod riders;
mod rng;
mod route;
mod slot;
mod statistics;
mod table;
mod trace;
mod trial;
mod twin;
mod violation;
mod watch;
mod withhold;

pub use cast::{Cast, Participant};
pub use flat::{flatten_gradients, gradients_present, unflatten_gradients};
pub use gradients::{add_gradients, scale_gradients};
pub use grafts::Grafts;
pub use host_pass::{HostPass, HostPassCause, HostPassError, host_pass};
pub use hunt::culprits;
pub use idle::Idle;
pub use learning_pass::{LearningPass, learning_pass};
pub use ledger::GradientLedger;
pub use measure::{Measured, Override, measure, prove_pause};
pub use norms::{Overlap, gradient_norm, gradient_squares, overlap};
pub use refit::refit_statistics;
pub use rehearse::{Rehearsal, rehearse};
pub use reuse::Activations;
pub use rng::{RngStream, StepRng};
pub use route::Route;
pub use slot::{Activation, SlotShape, attach};
pub use statistics::{Statistics, independent_copy};
pub use table::{AlphaSource, Part, Role, Row, View};
pub use trace::{Fault, PassKind, Trace};
pub use trial::{PrewarmError, Trial, prewarm, trial};
pub use twin::frozen_twin;
pub use violation::{Pass, Violation, ViolationLog};
pub use withhold::withhold;
