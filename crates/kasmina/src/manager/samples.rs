//! What a step reads from the device for telemetry and the gates: all of it at once.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use kasmina_blending::{BlendConfig, BlendStats, GraftBackend, Sampled};
use kasmina_leyline::SeedId;

/// Numbers that are still on the device, and what they are.
pub(super) struct Samples<B: GraftBackend> {
    tensors: Vec<Tensor<B::InnerBackend, 1>>,
    names: Vec<Name>,
    /// Blends that need no reading.
    known: Vec<(SeedId, BlendConfig, BlendStats)>,
}

enum Name {
    Host,
    Kernel(SeedId),
    Blend(SeedId, BlendConfig),
}

/// The numbers of a step.
#[derive(Default)]
pub(super) struct Numbers {
    /// The L2 norm of the host's gradient.
    pub(super) host: Option<f32>,
    /// The L2 norms of kernels' gradients.
    pub(super) kernels: BTreeMap<SeedId, f32>,
    pub(super) blends: Vec<(SeedId, BlendConfig, BlendStats)>,
}

impl<B: GraftBackend> Samples<B> {
    pub(super) const fn new() -> Self {
        Self { tensors: Vec::new(), names: Vec::new(), known: Vec::new() }
    }

    /// The squares of the host's gradient, of shape `[1]`.
    pub(super) fn host(&mut self, squares: Option<Tensor<B::InnerBackend, 1>>) {
        self.push(Name::Host, squares);
    }

    /// The squares of a kernel's gradient, of shape `[1]`.
    pub(super) fn kernel(&mut self, seed: &SeedId, squares: Option<Tensor<B::InnerBackend, 1>>) {
        self.push(Name::Kernel(seed.clone()), squares);
    }

    pub(super) fn blend(&mut self, seed: &SeedId, blend: &BlendConfig, sampled: Sampled<B>) {
        match sampled {
            Sampled::Known(stats) => self.known.push((seed.clone(), blend.clone(), stats)),
            Sampled::OnDevice(_, numbers) => {
                self.push(Name::Blend(seed.clone(), blend.clone()), Some(numbers.inner()));
            }
        }
    }

    /// Waits for the device once, or not at all if there is nothing to read.
    pub(super) fn read(self) -> Numbers {
        let mut numbers = Numbers { blends: self.known, ..Numbers::default() };
        let lengths: Vec<_> = self.tensors.iter().map(|tensor| tensor.dims()[0]).collect();
        if self.tensors.is_empty() {
            return numbers;
        }
        let read: Vec<f32> = Tensor::cat(self.tensors, 0).into_data().iter::<f32>().collect();
        let mut rest = read.as_slice();
        for (name, length) in self.names.into_iter().zip(lengths) {
            let Some((these, others)) = rest.split_at_checked(length) else { break };
            rest = others;
            let norm = these.first().map(|squares| squares.sqrt());
            match name {
                Name::Host => numbers.host = norm,
                Name::Kernel(seed) => numbers.kernels.extend(norm.map(|norm| (seed, norm))),
                Name::Blend(seed, blend) => {
                    let stats = BlendStats::from_numbers(blend.mode(), these);
                    numbers.blends.extend(stats.map(|stats| (seed, blend, stats)));
                }
            }
        }
        numbers
    }

    fn push(&mut self, name: Name, tensor: Option<Tensor<B::InnerBackend, 1>>) {
        if let Some(tensor) = tensor {
            self.tensors.push(tensor);
            self.names.push(name);
        }
    }
}
