//! Workers of a data-parallel run over Burn's own collective operations.
//!
//! | | for | carried by |
//! |---|---|---|
//! | [`Collective`] | workers that are threads of one process, with a device each | the local server of `burn-collective` |
//! | [`Peers`] | workers that are processes, without a server in between | the tensor service of `burn-communication`, which `burn-collective` is made of |
//!
//! Both need the feature `collective`, which is off by default: it links tokio and axum.
//!
//! ```
//! # #[cfg(feature = "collective")] {
//! use burn::{backend::Flex, tensor::Tensor};
//! use kasmina_reduce::{Part, Reduce};
//! use kasmina_reduce_collective::Collective;
//! use std::{thread, time::Duration};
//!
//! let devices = vec![Default::default(); 3];
//! let workers = Collective::<Flex>::group(devices, Duration::from_secs(5))?;
//! let means: Vec<Vec<f32>> = thread::scope(|scope| {
//!     let run = |mut worker: Collective<Flex>| {
//!         scope.spawn(move || {
//!             let rank = worker.place().rank as f32;
//!             let gradients = Tensor::from_floats([rank, 10.0 * rank], &Default::default());
//!             worker.reduce(&Part::Host, gradients).map(|mean| mean.into_data().to_vec().expect("floats"))
//!         })
//!     };
//!     let running: Vec<_> = workers.into_iter().map(run).collect();
//!     running.into_iter().map(|worker| worker.join().expect("a worker does not panic")).collect::<Result<_, _>>()
//! })?;
//! assert_eq!(means, [[1.0, 10.0], [1.0, 10.0], [1.0, 10.0]]);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Why processes do not use the global all-reduce of `burn-collective`
//! In 0.21.0 it works once. At its end all nodes wait for each other, and the list of those who have come is never emptied
//! (`SyncService::sync` in `global/node/sync.rs` clears a copy): the second all-reduce after a registration waits for ever, with every
//! strategy. To register anew for each all-reduce does not help: the orchestrator keeps a task and a socket of each registration until it
//! ends. `burn-collective` was removed after 0.21, so there is no repaired version. Its layer below, the tensor service, does not have this
//! fault, and [`Peers`] takes that.
//!
//! # Limits
//! - **No authentication and no encryption.** Who can reach a port can read gradients. A worker of [`Peers`] listens on all interfaces.
//! - `burn::distributed` of Burn 0.22 takes the place of both crates. Nothing of theirs shows in this crate's interface, so that it
//!   can be rebuilt on that.

#[cfg(feature = "collective")]
mod caller;
#[cfg(feature = "collective")]
mod group;
#[cfg(feature = "collective")]
mod header;
#[cfg(feature = "collective")]
mod local;
#[cfg(feature = "collective")]
mod peers;
#[cfg(feature = "collective")]
mod service;

#[cfg(feature = "collective")]
#[cfg_attr(docsrs, doc(cfg(feature = "collective")))]
pub use local::Collective;
#[cfg(feature = "collective")]
#[cfg_attr(docsrs, doc(cfg(feature = "collective")))]
pub use peers::Peers;
