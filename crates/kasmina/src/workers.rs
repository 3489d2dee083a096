//! Several workers with a replica each: what they agree on in a step, so that their engines stay alike.
//!
//! The engine is a function of its inputs. What differs between workers is what each of them measures: its share of the batch, its clock, its
//! disk. So before an input goes in, every worker gets what all have measured, and makes one input of it, the same on all. The exchanges are in `manager/together.rs`.

mod facts;
#[cfg(test)]
mod facts_tests;
mod group;
mod kernels;
mod start;

pub(crate) use facts::{HostPassed, LearningPassed, Probed, Probing, mean, proven};
pub(crate) use group::Group;
pub(crate) use kernels::KernelCame;
pub(crate) use start::{Beginning, Delivery};
