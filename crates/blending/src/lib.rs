//! Blends a seed into its host: how much ([`Alpha`], [`AlphaSchedule`]), how ([`BlendConfig`]), and the tensor operations.
//!
//! [`tap`] copies the host's gradient for a seed that learns behind the host, and [`pull_back`] passes it to the seed's own graph.
//! [`barrier_blend`] blends a live seed in; the operation *is* the gradient barrier, because the host is not a parent in its graph.
//! [`committed_blend`] is for a seed that has become part of the host: both learn.
//! [`BlendBackend::run_plain`] runs a [`PlainFunction`] past the fusion of a backend that fuses. Without the default feature `tensor`, only the
//! values remain, and no Burn.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use burn::backend::{Autodiff, Flex};
//! use burn::tensor::Tensor;
//! use kasmina_blending::{AlphaSchedule, BlendConfig, barrier_blend};
//!
//! type B = Autodiff<Flex>;
//!
//! let annotations = BTreeMap::from([("blend_mode".to_owned(), "convex".to_owned())]);
//! let config = BlendConfig::from_annotations(&annotations, BlendConfig::DEFAULT_MAX_ALPHA_VEC)?;
//! let alpha = AlphaSchedule::Linear { total_steps: 4 }.at(1);
//!
//! let host = Tensor::<B, 2>::from_floats([[1.0, 2.0]], &Default::default()).require_grad();
//! let seed = Tensor::<B, 2>::from_floats([[5.0, 6.0]], &Default::default()).require_grad();
//! let out = barrier_blend(host.clone(), seed.clone(), &config, alpha, None)?;
//! assert_eq!(out.to_data().to_vec::<f32>().unwrap(), [2.0, 3.0]);
//!
//! let grads = out.sum().backward();
//! assert!(host.grad(&grads).is_none());
//! assert_eq!(seed.grad(&grads).unwrap().to_data().to_vec::<f32>().unwrap(), [0.25, 0.25]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | backend | implementation |
//! |---|---|
//! | [`Flex`](burn::backend::Flex) (feature `flex`, default) | `f32` in one pass, in parallel if it pays; other element types in plain operations |
//! | CUDA, ROCm, Vulkan, Metal (features `cuda`, `rocm`, `vulkan`, `metal`) | plain operations, which Burn's fusion makes one kernel |
//! | NdArray, LibTorch (features `ndarray`, `tch`) | plain operations |
//! | [`Autodiff`](burn::backend::Autodiff) over any of them | its own backward pass |
//! | a backend of your own | `impl BlendBackend for Mine {}`: plain operations |

mod alpha;
#[cfg(feature = "tensor")]
mod autodiff;
#[cfg(feature = "tensor")]
mod backend;
#[cfg(feature = "tensor")]
mod blend;
mod config;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "tensor")]
mod error;
#[cfg(feature = "flex")]
mod flex;
mod gate;
#[cfg(feature = "ndarray")]
mod ndarray;
#[cfg(feature = "tensor")]
mod plain;
mod refusal;
mod schedule;
#[cfg(feature = "tensor")]
mod stats;
#[cfg(feature = "tensor")]
mod tap;
#[cfg(feature = "tch")]
mod tch;
mod wire;

pub use alpha::{Alpha, InvalidAlpha};
#[cfg(feature = "tensor")]
pub use backend::{BlendBackend, GraftBackend, Weights};
#[cfg(feature = "tensor")]
pub use blend::{barrier_blend, blend_weights, channel_axis, check_fit, committed_blend};
pub use config::{BlendConfig, BlendMode};
#[cfg(feature = "tensor")]
pub use error::BlendError;
#[cfg(feature = "tensor")]
pub use plain::PlainFunction;
pub use refusal::BlendRefusal;
pub use schedule::{AlphaSchedule, SCHEDULE, TEMPERATURE, TOTAL_STEPS};
#[cfg(feature = "tensor")]
pub use stats::{BlendStats, Sampled, sample, stats};
#[cfg(feature = "tensor")]
pub use tap::{Stash, pull_back, tap};
pub use wire::{ALPHA_HI, ALPHA_LO, ALPHA_VEC, ALPHA_VEC_LEN, Conflict, GATE_K, GATE_TAU, MODE, SOURCE};
