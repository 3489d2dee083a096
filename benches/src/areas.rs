//! Everything that is measured: each area's rows stand beside what they measure.

mod blend;
mod blobs;
mod breaker;
mod bus;
pub(crate) mod commands;
pub(crate) mod engine;
mod gates;
pub(crate) mod journal;
mod kernels;
pub(crate) mod loads;
mod prefetch;
pub(crate) mod recovery;
mod step;
mod telemetry;
pub(crate) mod verify;

use kasmina::GraftBackend;

use crate::{case::Case, setting::Setting};

/// All cases, from what is innermost to the whole step.
pub(crate) fn all<B: GraftBackend>(setting: &Setting<B>) -> Vec<Case> {
    let quick = setting.quick;
    [
        breaker::cases(),
        gates::cases(),
        engine::cases(),
        verify::cases(),
        commands::cases(quick),
        journal::cases(),
        blobs::cases(quick),
        recovery::cases(quick),
        kernels::cases(setting),
        loads::cases(setting),
        prefetch::cases(quick),
        bus::cases(),
        telemetry::cases(),
        blend::cases(setting),
        step::cases(setting),
    ]
    .into_iter()
    .flatten()
    .collect()
}
