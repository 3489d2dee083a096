//! Decides what happens to every seed. Holds no tensor, touches no file, reads no clock.
//!
//! The engine has one record for each seed, with the payload of its stage in the stage, and a few numbers for the run. Whatever
//! happens is an [`Input`]: an order, a kernel that arrived or failed, what a training step showed, a tick. An input goes
//! through three steps. The code that drives the engine, the *shell*, does the rest:
//!
//! 1. [`Engine::wants`] names the facts that only the shell can measure.
//! 2. [`Engine::decide`] is pure. A [`Decision`] is data: the records that change, effects for the shell, events to emit, and
//!    the answer.
//! 3. The shell makes the change durable; then [`Engine::commit`] makes it so, and the shell performs the effects, emits the
//!    events and answers. If the change cannot be made durable, the decision is dropped: there is nothing to undo.
//!
//! Several inputs that shall happen together are decided on an [`Overlay`].
//!
//! In a training step the shell reports the host's pass ([`Input::HostPass`]) and the pass of all seeds that learn
//! ([`Input::LearningPass`]), measures what [`State::measurements`] asks for, and reports the step ([`Input::StepTaken`]). A seed is
//! judged by what it changes: by losses on one batch with it and without it. A gate *refuses* a seed for what it does, and the seed is
//! culled; what is not its fault, or not known yet, *postpones* ([`Refusal::Postponed`]), and nothing moves. A loss of the blend that
//! misbehaves starts a [`Hunt`], which finds out whose fault that is before anybody is culled.
//!
//! ```
//! use kasmina_engine::{Engine, EngineSettings, Effect, Facts, Input, Want, commands::Order, seed::Contract};
//! use kasmina_gates::GatePolicy;
//! use kasmina_leyline::{BlueprintId, Monotonic, SeedId, SlotId, TrainingRunId, v1::{BlueprintDescriptor, BlueprintTier}};
//!
//! let mut engine = Engine::new(EngineSettings::new(TrainingRunId::new("run-7")?), GatePolicy::default());
//! let (now, seed, blueprint) = (Monotonic::ORIGIN, SeedId::new("seed-1")?, BlueprintId::new("bottleneck")?);
//!
//! let registered = engine.decide(Input::Register(seed.clone(), SlotId::new("mid")?), &Facts::default(), now);
//! engine.commit(registered.delta);
//!
//! let order = Input::Order(Order::Germinate {
//!     seed: seed.clone(), blueprint: blueprint.clone(), tier: None, parameters: Default::default(), lr_scale: 1.0,
//! });
//! assert!(engine.wants(&order, now).contains(&Want::Descriptor(blueprint.clone())));
//! let tier = BlueprintTier::Safe.into();
//! let facts = Facts {
//!     descriptor: Some(Ok(Some(BlueprintDescriptor { blueprint_id: blueprint.to_string(), tier, ..Default::default() }))),
//!     slot: Some(Contract { rank: 2, channels: (4, 4), dtype: "f32".into() }),
//!     ..Facts::default()
//! };
//! let decision = engine.decide(order, &facts, now);
//! assert_eq!(decision.answer, Ok(()));
//! assert!(decision.effects.contains(&Effect::Fetch { seed: seed.clone(), blueprint }));
//! // Nothing has happened yet: now is the time to write `decision.delta` to a journal.
//! engine.commit(decision.delta);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod breakers;
mod conservation;
mod decision;
mod draft;
mod ending;
mod engine;
mod fossil;
mod germination;
mod growth;
mod hunt;
mod leaving;
mod measurement;
mod moves;
mod overlay;
mod policy;
mod recent;
mod records;
mod refusal;
mod rollback;
mod settings;
mod step;
mod wants;

pub mod input;
pub mod seed;
pub mod state;
pub mod vitals;

pub use kasmina_commands as commands;

pub use decision::{Decision, Effect, Event};
pub use ending::LifeEnded;
pub use engine::Engine;
pub use hunt::{Hunt, Trend};
pub use input::{Facts, Input, Want};
pub use measurement::Measurement;
pub use overlay::Overlay;
pub use policy::{NoPolicy, Observation, Policy, StepPolicy};
pub use records::Records;
pub use refusal::Refusal;
pub use seed::{Seed, Stage};
pub use settings::EngineSettings;
pub use state::{Deadline, Delta, State};
