//! The ids of built-in blueprints: `<name>-r<rank>-c<channels in>[-<channels out>][-bf16|-f16][-zero][-w<draw>]`.

use kasmina_leyline::BlueprintId;

use super::{Blueprint, Start};
use crate::{KernelDtype, ManifestError, SlotContract};

pub(super) fn write(
    blueprint: Blueprint,
    slot: SlotContract,
    start: Start,
    draw: u32,
) -> Result<BlueprintId, ManifestError> {
    let SlotContract { rank, channels_in, channels_out, dtype } = slot;
    let dtype = if dtype == KernelDtype::F32 { String::new() } else { format!("-{}", dtype.name()) };
    let out = if channels_out == channels_in { String::new() } else { format!("-{channels_out}") };
    let zero = if start == Start::Zero { "-zero" } else { "" };
    let draw = if draw > 1 { format!("-w{draw}") } else { String::new() };
    // It is short and visible: this cannot fail.
    BlueprintId::new(format!("{blueprint}-r{rank}-c{channels_in}{out}{dtype}{zero}{draw}"))
        .map_err(|error| ManifestError::Malformed { detail: error.to_string() })
}

/// What [`write`] wrote. Another spelling of the same numbers is not an id.
pub(super) fn read(id: &BlueprintId) -> Option<(Blueprint, SlotContract, Start, u32)> {
    let named = |blueprint: &Blueprint| id.as_str().strip_prefix(blueprint.name())?.strip_prefix("-r");
    let (blueprint, rest) = Blueprint::ALL.iter().find_map(|blueprint| Some((*blueprint, named(blueprint)?)))?;
    let (rest, draw) = match rest.rsplit_once("-w") {
        Some((rest, draw)) => (rest, draw.parse().ok()?),
        None => (rest, 1),
    };
    let (rest, start) = rest.strip_suffix("-zero").map_or((rest, Start::Identity), |rest| (rest, Start::Zero));
    let typed = |dtype: KernelDtype| Some((rest.strip_suffix(dtype.name())?.strip_suffix('-')?, dtype));
    let (rest, dtype) = KernelDtype::ALL.into_iter().find_map(typed).unwrap_or((rest, KernelDtype::F32));
    let (rank, channels) = rest.split_once("-c")?;
    let (channels_in, channels_out) = channels.split_once('-').unwrap_or((channels, channels));
    let slot =
        SlotContract::f32(rank.parse().ok()?, channels_in.parse().ok()?, channels_out.parse().ok()?).with_dtype(dtype);
    (write(blueprint, slot, start, draw).as_ref() == Ok(id)).then_some((blueprint, slot, start, draw))
}
