//! Test doubles: a fused path on which something goes wrong.

use std::{fmt, sync::Arc};

use burn::tensor::{Tensor, backend::Backend};

/// What goes wrong on the fused path of a kernel. Nothing, by default.
#[derive(Clone, Default)]
pub struct FusedFault {
    offset: f32,
    meanwhile: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl FusedFault {
    /// Every number of the output is too large by this much.
    #[must_use]
    pub const fn offset(offset: f32) -> Self {
        Self { offset, meanwhile: None }
    }

    /// Each run does this, too: it moves a test's clock, or panics.
    #[must_use]
    pub fn meanwhile(self, what: impl Fn() + Send + Sync + 'static) -> Self {
        Self { meanwhile: Some(Arc::new(what)), ..self }
    }

    pub(crate) fn spoil<B: Backend, const D: usize>(&self, output: Tensor<B, D>) -> Tensor<B, D> {
        if let Some(meanwhile) = &self.meanwhile {
            meanwhile();
        }
        if self.offset == 0.0 { output } else { output.add_scalar(self.offset) }
    }
}

impl fmt::Debug for FusedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FusedFault").field("offset", &self.offset).finish_non_exhaustive()
    }
}
