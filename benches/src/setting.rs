//! What the options ask for, as the areas need it.

use kasmina::blending::{Alpha, BlendConfig, BlendMode, GraftBackend};

/// What the options ask for.
#[derive(Clone)]
pub(crate) struct Setting<B: GraftBackend> {
    /// Where tensors live.
    pub(crate) device: B::Device,
    /// Whether the largest sizes are left out.
    pub(crate) quick: bool,
    /// Whether a managed step counts with its isolation checks.
    pub(crate) isolation: bool,
    /// Whether a manager has a sink for its telemetry, as that of a trainer has. Without one it collects none.
    pub(crate) telemetry: bool,
    pub(crate) blend: Blend,
}

/// How seeds are blended, where a row does not say it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blend {
    /// The mode of BLENDING seeds.
    pub(crate) mode: BlendMode,
    /// Every entry of CHANNEL's vector; `None` for entries from 0 to 1.
    pub(crate) channel: Option<f32>,
    /// `gate_k` of CONFIDENCE.
    pub(crate) gate_k: f32,
    /// `gate_tau` of CONFIDENCE.
    pub(crate) gate_tau: f32,
}

impl Blend {
    /// The configuration of a mode for so many channels.
    pub(crate) fn config(self, mode: BlendMode, channels: usize) -> BlendConfig {
        let entry = |channel| self.channel.unwrap_or(channel as f32 / channels as f32);
        match mode {
            BlendMode::Convex => BlendConfig::convex(),
            BlendMode::Residual => BlendConfig::residual(),
            BlendMode::Channel => BlendConfig::channel((0..channels).map(entry).collect()).expect("checked entries"),
            BlendMode::Confidence => {
                BlendConfig::confidence(self.gate_k, self.gate_tau, 0.0, 1.0).expect("checked numbers")
            }
        }
    }
}

/// The alpha of blends that stand still.
pub(crate) fn alpha() -> Alpha {
    Alpha::new(0.3).expect("in [0, 1]")
}

impl<B: GraftBackend> Setting<B> {
    /// Waits until the device has done everything, so that what it does is within the time.
    pub(crate) fn sync(&self) {
        B::sync(&self.device).expect("a device that works");
    }
}
