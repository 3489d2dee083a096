//! A seed cannot touch its host: which pass may give a gradient to whom, and the proof that none went elsewhere.
//!
//! The network is looked at in three [views](View), and [`part`] says what a seed does in each. In the host's pass the
//! host learns, with TRAINING seeds behind it; in a seed's pass that seed learns, and everything else is a
//! [frozen twin](frozen_twin). The [`GradientLedger`] of a pass then says, exactly and without any tensor arithmetic, whose
//! parameters got a gradient: a parameter that two modules share, by id or by tensor, shows at once.
//!
//! ```
//! use burn::{backend::{Autodiff, Flex}, nn::LinearConfig, tensor::{Distribution, Tensor}};
//! use kasmina_isolation::{GradientLedger, frozen_twin};
//!
//! type B = Autodiff<Flex>;
//! let device = Default::default();
//! let host = LinearConfig::new(4, 2).init::<B>(&device);
//! let kernel = LinearConfig::new(4, 2).init::<B>(&device);
//! let x = Tensor::<B, 2>::random([8, 4], Distribution::Default, &device);
//!
//! // A seed's pass: the host is its frozen twin.
//! let loss = (frozen_twin(&host).forward(x.clone()) + kernel.forward(x)).mean();
//! let mut ledger = GradientLedger::new(loss.backward());
//! assert!(ledger.present(&host).is_empty());
//! let gradients = ledger.take(&kernel).map_err(|shared| format!("shared: {shared:?}"))?;
//! assert_eq!(gradients.len(), 2);
//! # Ok::<(), String>(())
//! ```

mod ledger;
mod measure;
mod twin;
mod view;
mod violation;

pub use ledger::GradientLedger;
pub use measure::{cosine_similarity, gradient_norm};
pub use twin::frozen_twin;
pub use view::{Part, View, part};
pub use violation::{Pass, Violation, ViolationLog};
