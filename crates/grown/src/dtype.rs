//! Element types, as safetensors names them.

use burn::tensor::{BoolStore, DType, TensorData};

use crate::collect::Kind;

/// An element type in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: &'static str,
    pub(crate) dtype: DType,
    /// Bytes of one element.
    pub(crate) width: usize,
    pub(crate) kind: Kind,
}

const fn element(name: &'static str, dtype: DType, width: usize, kind: Kind) -> Element {
    Element { name, dtype, width, kind }
}

const ELEMENTS: [Element; 13] = [
    element("F64", DType::F64, 8, Kind::Float),
    element("F32", DType::F32, 4, Kind::Float),
    element("F16", DType::F16, 2, Kind::Float),
    element("BF16", DType::BF16, 2, Kind::Float),
    element("I64", DType::I64, 8, Kind::Int),
    element("I32", DType::I32, 4, Kind::Int),
    element("I16", DType::I16, 2, Kind::Int),
    element("I8", DType::I8, 1, Kind::Int),
    element("U64", DType::U64, 8, Kind::Int),
    element("U32", DType::U32, 4, Kind::Int),
    element("U16", DType::U16, 2, Kind::Int),
    element("U8", DType::U8, 1, Kind::Int),
    element("BOOL", DType::Bool(BoolStore::Native), 1, Kind::Bool),
];

impl Element {
    /// The type of this name in a file.
    pub(crate) fn named(name: &str) -> Option<Self> {
        ELEMENTS.into_iter().find(|element| element.name == name)
    }

    /// The type that tensors of this type have in a file; `None` for quantised ones.
    pub(crate) fn of(dtype: DType) -> Option<Self> {
        // A backend may store a truth value in more than a byte, and a Flex32 in four bytes like an F32.
        let same = |element: &Self| {
            element.dtype == dtype
                || element.kind == Kind::Bool && matches!(dtype, DType::Bool(_))
                || element.dtype == DType::F32 && dtype == DType::Flex32
        };
        ELEMENTS.into_iter().find(same)
    }

    /// The bytes of a tensor of this type in a file.
    pub(crate) fn bytes(self, data: &TensorData) -> Vec<u8> {
        match self.kind {
            Kind::Bool => data.iter::<bool>().map(u8::from).collect(),
            Kind::Float | Kind::Int => data.as_bytes().to_vec(),
        }
    }

    /// The first element that no module may have: one that is not finite, or a truth value that is neither 0 nor 1.
    pub(crate) fn first_invalid(self, bytes: &[u8]) -> Option<usize> {
        match self.name {
            "F64" => bytes.as_chunks().0.iter().position(|bytes| !f64::from_le_bytes(*bytes).is_finite()),
            "F32" => bytes.as_chunks().0.iter().position(|bytes| !f32::from_le_bytes(*bytes).is_finite()),
            "F16" => all_ones(bytes, 0x7c00),
            "BF16" => all_ones(bytes, 0x7f80),
            "BOOL" => bytes.iter().position(|byte| *byte > 1),
            _ => None,
        }
    }
}

/// The first number whose exponent has only ones: infinity or NaN.
fn all_ones(bytes: &[u8], exponent: u16) -> Option<usize> {
    bytes.as_chunks().0.iter().position(|bytes| u16::from_le_bytes(*bytes) & exponent == exponent)
}
