//! The mean of gradients over the workers of a data-parallel run.
//!
//! Each worker has a replica of the model and a share of every batch. A step calls [`Reduce`] between the check of its gradients and its
//! optimizers: the host's gradients first, then those of the seeds, each as one flat tensor. All workers get the same bits,
//! so replicas that began alike stay alike. What a step has shown beside its gradients, such as its loss, is
//! [gathered](Reduce::gather): each worker gets what all have shown.
//!
//! | | for | how |
//! |---|---|---|
//! | [`Alone`] | one worker | the identity, which costs nothing |
//! | [`Unmet`] | a worker that has not met the others yet | the null object: every exchange fails |
//! | [`Threads`] | workers that are threads of one process | the last to come adds the tensors up as a tree |
//! | [`Linked`] | workers that are processes | each gets what all have sent, and adds it up as a tree |
//!
//! A [`Link`] carries the bytes of [`Linked`]. With the feature `redis`, [`RedisLink`](redis_link::RedisLink) is one. The crate
//! `examples/collective` of the repository has workers that need no server, and workers with a device each. The feature `doubles` brings the suite
//! that all of them pass.
//!
//! The order of a sum is that of the workers' ranks, in pairs: (0 + 1) + (2 + 3). It does not depend on who comes first.
//!
//! ```
//! use burn::{backend::Flex, tensor::Tensor};
//! use kasmina_reduce::{Part, Reduce, Threads};
//! use std::{thread, time::Duration};
//!
//! let workers = Threads::<Flex>::group(3, Duration::from_secs(5));
//! let means: Vec<Vec<f32>> = thread::scope(|scope| {
//!     let run = |mut worker: Threads<Flex>| {
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
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is promised
//! - **The same bits on all workers**, if they run the same program on the same kind of processor.
//! - **All or none**, for [`Threads`]: an exchange that one worker gave up fails on every worker.
//!   Over a [`RedisLink`](redis_link::RedisLink), too, unless a worker loses the server. It then refuses a step that the others may
//!   take, and the next exchange shows that: the manager compares the workers' states in every step.
//! - **No worker waits for ever**: each has its own [time-out](ReduceError::TimedOut).
//! - **What does not fit is refused**: another part, another length, or a step that the others are not in.

mod alone;
#[cfg(feature = "doubles")]
#[cfg_attr(docsrs, doc(cfg(feature = "doubles")))]
pub mod conformance;
mod error;
mod link;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub mod redis_link;
mod reduce;
mod threads;
mod tree;

pub use alone::{Alone, Unmet};
pub use error::ReduceError;
pub use link::{Link, Linked};
pub use reduce::{Part, Place, Reduce};
pub use threads::Threads;
