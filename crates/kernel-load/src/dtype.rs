//! The element types of kernels.

use burn::tensor::DType;
use half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// The element type of a kernel: of its input, its output and its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum KernelDtype {
    /// 32-bit IEEE floats.
    F32,
    /// 16-bit floats with the exponent of a 32-bit one.
    Bf16,
    /// 16-bit IEEE floats.
    F16,
}

impl KernelDtype {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::F16];

    /// Burn's name for this element type.
    #[must_use]
    pub const fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }

    /// The element type that Burn calls so; `None` if kernels do not have it.
    #[must_use]
    pub fn of(dtype: DType) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.dtype() == dtype)
    }

    /// Its name in a manifest.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    /// Its name in a safetensors file.
    #[must_use]
    pub const fn safetensors_name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::Bf16 => "BF16",
            Self::F16 => "F16",
        }
    }

    /// Bytes of one element in a file.
    #[must_use]
    pub const fn width(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }

    /// Appends the numbers in a file. Every 16-bit float is a 32-bit float, so that nothing is rounded.
    pub(crate) fn decode(self, bytes: &[u8], numbers: &mut Vec<f32>) {
        match self {
            Self::F32 => numbers.extend(bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes))),
            Self::Bf16 => numbers.extend(bytes.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32())),
            Self::F16 => numbers.extend(bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32())),
        }
    }

    /// The number in a file, rounded to this type.
    pub(crate) fn encode(self, number: f32, bytes: &mut Vec<u8>) {
        match self {
            Self::F32 => bytes.extend(number.to_le_bytes()),
            Self::Bf16 => bytes.extend(bf16::from_f32(number).to_le_bytes()),
            Self::F16 => bytes.extend(f16::from_f32(number).to_le_bytes()),
        }
    }

    /// Whether the number is finite when it is rounded to this type.
    pub(crate) fn holds(self, number: f32) -> bool {
        match self {
            Self::F32 => number.is_finite(),
            Self::Bf16 => bf16::from_f32(number).is_finite(),
            Self::F16 => f16::from_f32(number).is_finite(),
        }
    }
}
