//! Knowledge distillation: a network, and the seeds that grow in it, learn from a teacher too.
//!
//! It is off unless you use it: nothing of Kasmina depends on this crate. A [`Teacher`] is a module that is only read, on a backend without
//! autodiff. A [`Distillation`] asks it about a batch before the step, once, and the [`Lesson`] that comes of it goes into the loss of
//! every pass: that of the host, and those in which seeds learn and are measured.
//!
//! ```
//! use std::sync::Arc;
//!
//! use burn::{
//!     backend::{Autodiff, Flex},
//!     module::Module,
//!     nn::{Linear, LinearConfig, loss::CrossEntropyLossConfig},
//!     optim::AdamWConfig,
//!     store::{ModuleSnapshot, SafetensorsStore},
//!     tensor::{Distribution, Int, Tensor, activation::relu, backend::Backend},
//! };
//! use kasmina::{Grafts, Grown, SeedManager, Settings, blending::BlendBackend, kernel_load::blueprints::Blueprint};
//! use kasmina_distill::{DistillSettings, Distillation, TeacherFile};
//! use kasmina_safety::SystemClock;
//!
//! type B = Autodiff<Flex>;
//!
//! #[derive(Module, Debug)]
//! struct Network<B: Backend> {
//!     stem: Linear<B>,
//!     head: Linear<B>,
//! }
//!
//! impl<B: BlendBackend> Network<B> {
//!     fn new(width: usize, device: &B::Device) -> Self {
//!         Self { stem: LinearConfig::new(8, width).init(device), head: LinearConfig::new(width, 3).init(device) }
//!     }
//!
//!     fn logits(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
//!         let h = relu(self.stem.forward(x));
//!         self.head.forward(grafts.at("mid", h))
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = Default::default();
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("teacher.safetensors");
//! # Network::<Flex>::new(32, &device).save_into(&mut SafetensorsStore::from_file(&path))?;
//! let mut model = Grown::new(Network::<B>::new(4, &device));
//! let mut optimizer = AdamWConfig::new().init();
//! let mut manager = SeedManager::<B>::local(Settings::automatic(), &device)?;
//!
//! // The budget is asked before anything but the header is read.
//! let file = TeacherFile::inspect(&path)?;
//! let promised = manager.reserve_teacher(file.bytes_to_load())?;
//! let teacher = file.load_module(Network::<Flex>::new(32, &device), promised)?;
//! manager.register_teacher(teacher.parameters())?; // nobody may update them
//! let mut distillation =
//!     Distillation::<B, _>::new(DistillSettings::default(), teacher, Arc::new(SystemClock::new()))?;
//!
//! let x = Tensor::<B, 2>::random([16, 8], Distribution::Default, &device);
//! let labels = Tensor::<B, 1, Int>::zeros([16], &device);
//! let task = CrossEntropyLossConfig::new().init(&device);
//! let mut planted = false;
//! for step in 0..20 {
//!     let batch = step % 2; // the same two batches again and again: the number says which
//!     let lesson = distillation
//!         .teach(batch, |teacher, _| Ok(teacher.logits(x.clone().inner(), &mut Grafts::none())));
//!     let loss = |network: &Network<B>, grafts: &mut Grafts<B>| {
//!         let logits = network.logits(x.clone(), grafts);
//!         lesson.loss(logits.clone(), task.forward(logits, labels.clone()))
//!     };
//!     if !planted {
//!         manager.attach_host(&model, &loss)?;
//!         manager.plant("mid", Blueprint::Mlp)?;
//!         planted = true;
//!     }
//!     manager.train_batch(&mut model, &mut optimizer, 1e-2, &loss)?;
//!     distillation.take_events().into_iter().for_each(|event| manager.emit(event));
//! }
//! assert_eq!(distillation.stats().cache.total.hits, 18);
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - **Nothing of a teacher changes.** It has no graph and no optimizer. If the model contains one of its parameters all the same, the
//!   manager takes the gradient out of the step and reports it (`teacher`). A registry says for which of three reasons an update is refused:
//!   `unregistered`, `cross_seed`, `teacher`.
//! - **The budget is asked first.** [`TeacherFile`] knows from the header what a file will take. The default of the manager's
//!   `memory.teacher_bytes` is 7 GB.
//! - **Whatever fails, training goes on.** A teacher that answers with NaN, is gone, or does not fit leaves the task's loss as it is, bit for
//!   bit. Two failures within 180 s open a breaker, and the teacher is not asked while it is open.
//! - **Memory that is asked back is given back.** After EMERGENCY with `include_teacher`, or a reset of the manager, the next call
//!   of [`Distillation::teach`] or [`tend`](Distillation::tend) drops the teacher and what is reserved for it.
//!
//! # The loss
//!
//! `(1 - weight) * task + weight * KL(softmax(teacher / T) || softmax(student / T))`, the divergence summed over the classes and averaged
//! over the rows, with `T` = 4 and a weight of 0.3. It is not multiplied by `T`², which Hinton, Vinyals and Dean (2015) recommend and Esper's
//! reference does not do; [`DistillSettings::temperature_squared`] does. Without it the divergence weighs less than its share says: its
//! gradients shrink with the square of the temperature.
//!
//! Features are matched by activations that both networks record by name ([`Activations`]), with [`Lesson::matching`] added to the loss.
//! It has a weight of your own choice.
//!
//! # Less memory for more time
//!
//! A student on `Autodiff<Backend, BalancedCheckpointing>` (`burn::backend::autodiff::checkpoint::strategy`) computes cheap activations again in its backward pass instead of
//! keeping them. Everything here and in the seed manager is generic over it. docs/DISTILLATION.md in the repository has what it saves.

mod activations;
mod distillation;
mod error;
mod file;
mod lesson;
mod loss;
mod matching;
mod settings;
mod teacher;

pub use activations::Activations;
pub use distillation::{DistillStats, Distillation};
pub use error::DistillError;
pub use file::TeacherFile;
pub use lesson::Lesson;
pub use loss::Softened;
pub use matching::{Projection, matching_loss};
pub use settings::DistillSettings;
pub use teacher::Teacher;
