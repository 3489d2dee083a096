//! Kernels for the hosts of the test world.

use kasmina_kernel_load::{Activation, Initialisation, LayerSpec, Manifest, SlotContract, doubles::MemoryLibrary};
use kasmina_leyline::{BlueprintId, SeedId, SlotId};

/// An id from a literal.
///
/// # Panics
/// If it cannot be one.
#[must_use]
pub fn seed(name: &str) -> SeedId {
    SeedId::new(name).expect("a seed's id")
}

/// An id from a literal.
///
/// # Panics
/// If it cannot be one.
#[must_use]
pub fn blueprint(name: &str) -> BlueprintId {
    BlueprintId::new(name).expect("a blueprint's id")
}

/// An id from a literal.
///
/// # Panics
/// If it cannot be one.
#[must_use]
pub fn slot(name: &str) -> SlotId {
    SlotId::new(name).expect("a slot's id")
}

/// The kernels that fit the hosts of this module: `mlp` and `late` the slots of an [`Mlp`](super::Mlp), `cnn` that of a
/// [`Cnn`](super::Cnn).
///
/// # Panics
/// Never: the layers chain.
#[must_use]
pub fn stock() -> Vec<Manifest> {
    let mlp = vec![LayerSpec::linear(16, 24), LayerSpec::Activation(Activation::Relu), LayerSpec::linear(24, 6)];
    let cnn = vec![
        LayerSpec::Conv2d {
            channels_in: 3,
            channels_out: 8,
            kernel: [3, 3],
            padding: [1, 1],
            dilation: [1, 1],
            groups: 1,
            bias: true,
        },
        LayerSpec::Activation(Activation::Relu),
        LayerSpec::pointwise(8, 3),
    ];
    [
        ("mlp", SlotContract::f32(2, 16, 6), mlp),
        ("cnn", SlotContract::f32(4, 3, 3), cnn),
        ("late", SlotContract::f32(2, 6, 6), vec![LayerSpec::linear(6, 6)]),
    ]
    .map(|(name, contract, layers)| Manifest::new(blueprint(name), contract, layers).expect("the layers chain"))
    .into()
}

/// Puts fresh kernels into a library. Their last layer is zero, so that they change nothing until they have learned.
pub(super) fn publish(library: &MemoryLibrary, manifest: &Manifest) {
    library.add(manifest, &Initialisation { seed: 3, zero_last: true }).expect("the manifest is valid");
}
