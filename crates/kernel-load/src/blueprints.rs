//! Blueprints that need no library: useful kernels for any slot, as a function of what the slot carries.
//!
//! | blueprint | ranks | `f(x)`, for C channels in and O out | parameters, if O = C and nothing is rounded |
//! |---|---|---|---|
//! | `norm` | 2, 3, 4 | `norm` with its `gamma` and `beta` | 2 C |
//! | `bottleneck` | 2, 3, 4 | to C / 4, GELU, to O | C² / 2 + 5 C / 4 |
//! | `mlp` | 2, 3, 4 | `norm`, to 4 C, GELU, to O | 8 C² + 7 C |
//! | `low-rank` | 2, 3, 4 | to 8, to O, without biases | 16 C |
//! | `depthwise-separable` | 4 | 3x3 of each channel, `norm`, SiLU, 1x1 to O | C² + 13 C |
//! | `squeeze-excite` | 2, 3, 4 | each channel times a gate of C / 4, then a scale | C² / 2 + 9 C / 4 |
//! | `conv-residual` | 4 | `norm`, 3x3, ReLU, 3x3 to O | 18 C² + 4 C |
//! | `attention` | 3 | `norm`, self-attention of heads of 32 to 64 channels | 4 C² + 6 C |
//! | `causal-attention` | 3 | the same, each token sees itself and those before it | 4 C² + 6 C |
//!
//! In a network that predicts the next token, `attention` and, on rank 3, `squeeze-excite` must not be grafted: through them a token sees what
//! follows, and nothing can find that out, because the loss falls. `causal-attention` is for such networks.
//!
//! `norm` is a layer norm on ranks 2 and 3 and a group norm of at most 32 groups on rank 4. On rank 4, `to` is a 1x1 convolution. If O is
//! not C, `norm`, `squeeze-excite` and the two of attention are followed by a map from C to O. The widths are our choice: those of residual adapters
//! and squeeze-excite (a quarter), transformers (four times), low-rank adapters (8).
//!
//! # At first
//!
//! The last map of `f` starts at zero, so that **a new kernel changes nothing**, and gets a gradient from the first step on:
//! - [`Start::Identity`]: the kernel is `x + f(x)` and returns its input, bit for bit (but for the sign of a zero). With a CONVEX, CHANNEL or
//!   CONFIDENCE blend the network is what it was, whatever alpha is.
//! - [`Start::Zero`]: the kernel is `f(x)` and returns zeros. With a RESIDUAL blend the network is what it was. Slots with other channels in
//!   than out have only this one.
//!
//! ```
//! use burn::{backend::Flex, tensor::Tensor};
//! use kasmina_kernel_load::blueprints::{Blueprint, BuiltInLibrary, Start};
//! use kasmina_kernel_load::{KernelLoader, SlotContract};
//! use kasmina_leyline::Monotonic;
//!
//! let slot = SlotContract::f32(2, 64, 64);
//! let manifest = Blueprint::Bottleneck.for_slot(slot, Start::Identity)?;
//! assert_eq!(manifest.blueprint_id.as_str(), "bottleneck-r2-c64");
//! assert_eq!(manifest.parameter_count, 2128);
//!
//! let mut loader = KernelLoader::new(BuiltInLibrary::new(7), 64 << 20, std::time::Duration::from_secs(3600));
//! let artifact = loader.load(&manifest.blueprint_id, Monotonic::ORIGIN)?.ready(&manifest.blueprint_id)?;
//! let x = Tensor::<Flex, 2>::ones([3, 64], &Default::default());
//! let y = artifact.build::<Flex>(&Default::default()).forward(x.clone())?;
//! assert_eq!(y.to_data(), x.to_data());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod id;
mod layers;
mod library;

use std::fmt;

use kasmina_leyline::v1::{BlueprintDescriptor, BlueprintTier};

use crate::{Manifest, ManifestError, SlotContract};

pub use library::BuiltInLibrary;

/// A built-in blueprint, before it is fitted to a slot. The module's table says what each is.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Blueprint {
    Norm,
    Bottleneck,
    Mlp,
    LowRank,
    DepthwiseSeparable,
    SqueezeExcite,
    ConvResidual,
    Attention,
    CausalAttention,
}

/// What a new kernel returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Start {
    /// Its input: for CONVEX, CHANNEL and CONFIDENCE blends.
    #[default]
    Identity,
    /// Zeros: for RESIDUAL blends.
    Zero,
}

/// A blueprint does not fit a slot. The caller is to blame.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    #[error("{blueprint} fits rank {expected:?}, the slot has rank {got}")]
    Rank { blueprint: Blueprint, expected: &'static [usize], got: usize },
    /// A kernel that returns its input has as many channels out as in.
    #[error("{blueprint} cannot start as the identity from {channels_in} to {channels_out} channels")]
    Identity { blueprint: Blueprint, channels_in: usize, channels_out: usize },
    /// The slot is too wide.
    #[error("{blueprint}: {error}")]
    Manifest { blueprint: Blueprint, error: ManifestError },
}

impl Unfit {
    /// A stable name for telemetry.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Rank { .. } => "blueprint_rank",
            Self::Identity { .. } => "blueprint_identity",
            Self::Manifest { error, .. } => error.reason(),
        }
    }
}

impl Blueprint {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Norm,
        Self::Bottleneck,
        Self::Mlp,
        Self::LowRank,
        Self::DepthwiseSeparable,
        Self::SqueezeExcite,
        Self::ConvResidual,
        Self::Attention,
        Self::CausalAttention,
    ];

    /// The blueprint's name, with which the ids of its manifests begin.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Norm => "norm",
            Self::Bottleneck => "bottleneck",
            Self::Mlp => "mlp",
            Self::LowRank => "low-rank",
            Self::DepthwiseSeparable => "depthwise-separable",
            Self::SqueezeExcite => "squeeze-excite",
            Self::ConvResidual => "conv-residual",
            Self::Attention => "attention",
            Self::CausalAttention => "causal-attention",
        }
    }

    /// The ranks of the activations that it takes.
    #[must_use]
    pub const fn ranks(self) -> &'static [usize] {
        match self {
            Self::Norm | Self::Bottleneck | Self::Mlp | Self::LowRank | Self::SqueezeExcite => &[2, 3, 4],
            Self::DepthwiseSeparable | Self::ConvResidual => &[4],
            Self::Attention | Self::CausalAttention => &[3],
        }
    }

    /// The blueprints that fit a slot, with their manifests.
    pub fn fitting(slot: SlotContract, start: Start) -> impl Iterator<Item = (Self, Manifest)> {
        Self::ALL.into_iter().filter_map(move |blueprint| Some((blueprint, blueprint.for_slot(slot, start).ok()?)))
    }

    /// The layers of this blueprint for a slot, with their parameter count and an id like `bottleneck-r2-c64` or, in 16-bit floats,
    /// `bottleneck-r2-c64-bf16`, by which a [`BuiltInLibrary`] finds them.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn for_slot(self, slot: SlotContract, start: Start) -> Result<Manifest, Unfit> {
        self.drawn(slot, start, 1)
    }

    /// Like [`for_slot`](Self::for_slot), but with weights of another draw: the second, third and so on. From the second on, the id ends in
    /// it (`bottleneck-r2-c64-w2`). Seeds of one blueprint that are not to learn the same need this. Draw 0 is the first too.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn drawn(self, slot: SlotContract, start: Start, draw: u32) -> Result<Manifest, Unfit> {
        let SlotContract { rank, channels_in, channels_out, dtype: _ } = slot;
        if !self.ranks().contains(&rank) {
            return Err(Unfit::Rank { blueprint: self, expected: self.ranks(), got: rank });
        }
        if start == Start::Identity && channels_in != channels_out {
            return Err(Unfit::Identity { blueprint: self, channels_in, channels_out });
        }
        let layers = layers::of(self, slot, start);
        let refused = |error| Unfit::Manifest { blueprint: self, error };
        Manifest::new(id::write(self, slot, start, draw).map_err(refused)?, slot, layers).map_err(refused)
    }

    /// The description of its kernel for a slot: tier SAFE, no parameters to set, risk 0.1, or 0.2 from 4 C² parameters on (our choice: as
    /// large as what the slot is usually part of).
    ///
    /// # Errors
    /// As [`for_slot`](Self::for_slot).
    pub fn descriptor(self, slot: SlotContract, start: Start) -> Result<BlueprintDescriptor, Unfit> {
        let manifest = self.for_slot(slot, start)?;
        let effect = match start {
            Start::Identity => "returns its input",
            Start::Zero => "returns zeros",
        };
        let large = matches!(self, Self::Mlp | Self::ConvResidual | Self::Attention | Self::CausalAttention);
        Ok(BlueprintDescriptor {
            blueprint_id: manifest.blueprint_id.as_str().to_owned(),
            name: self.name().to_owned(),
            tier: BlueprintTier::Safe.into(),
            risk: if large { 0.2 } else { 0.1 },
            description: format!("{} parameters; at first it {effect}", manifest.parameter_count),
            ..Default::default()
        })
    }
}

impl fmt::Display for Blueprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
