//! A managed run under burn-train's learner. `docs/BURN_TRAIN.md` says why it is written this way, and what does not work.
//!
//! - [`Managed`] is the model that the learner owns. Its [`TrainStep`](burn_train::TrainStep) hands each batch to the manager.
//! - [`Run`] is the manager and what the learner and it exchange; every clone of the model has the same one.
//! - [`Network`] is what has grown, under a learner without a manager.
//!
//! ```
//! use burn::{module::Module, optim::AdamWConfig};
//! use burn_train::{Interrupter, Learner};
//! use kasmina::{Grown, SeedManager, Settings, kernel_load::blueprints::Blueprint};
//! use kasmina_burn_train::{Host, Managed, Run, Train, data, training};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (device, interrupter) = (Default::default(), Interrupter::new());
//! let model = Grown::new(Host::<Train>::new(&device));
//! let mut manager = SeedManager::<Train>::local(Settings::automatic(), &device)?;
//! manager.attach_host(&model, |host, grafts| host.loss(&data::first_batch(&device), grafts))?;
//! manager.plant("mid", Blueprint::Mlp)?;
//!
//! let run = Run::new(manager, interrupter.clone(), data::BATCHES);
//! let directory = std::env::temp_dir().join("kasmina-burn-train-example");
//! let learner = Learner::new(Managed { model, run: run.clone() }, AdamWConfig::new().init(), 1e-2);
//! let trained = training(&directory, 8, interrupter).launch(learner).model;
//! assert!(!run.moves().is_empty());
//! let model = trained.train::<Train>().model;
//! # let _ = model;
//! # Ok(())
//! # }
//! ```

pub mod data;
mod host;
mod managed;
mod metrics;
mod network;
mod quiet;

use std::path::Path;

use burn::{
    backend::{Autodiff, Flex},
    optim::{AdamW, adaptor::OptimizerAdaptor},
};
use burn_train::{Interrupter, LearningComponentsMarker, SupervisedTraining, metric::LossMetric};

pub use host::{Batch, Host};
pub use managed::{Managed, Run};
pub use metrics::{Loss, Trained};
pub use network::Network;
pub use quiet::Quiet;

/// The backend that trains.
pub type Train = Autodiff<Flex>;

/// The components of a learner over the model `M`, with AdamW and a constant rate.
pub type Components<M> = LearningComponentsMarker<Train, f64, M, OptimizerAdaptor<AdamW, M, Train>>;

/// A training of a managed host over this crate's [`data`], for so many epochs, with the loss as its metric.
#[must_use]
pub fn training(
    directory: &Path,
    epochs: usize,
    interrupter: Interrupter,
) -> SupervisedTraining<Components<Managed<Train>>> {
    SupervisedTraining::new(directory, data::loader(), data::loader())
        .num_epochs(epochs)
        .with_interrupter(interrupter)
        .with_application_logger(None)
        .renderer(Quiet)
        .metric_train_numeric(LossMetric::<Flex>::new())
        .metric_valid_numeric(LossMetric::<Flex>::new())
}
