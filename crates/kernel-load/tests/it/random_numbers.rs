//! A kernel draws no random numbers from the backend, which are shared by the whole process.

use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor};
use kasmina_kernel_load::doubles::{sample_attention, sample_conv, sample_mlp};
use kasmina_kernel_load::{Initialisation, initialise};

#[test]
fn building_and_running_a_kernel_draws_no_random_number() {
    let draw = || {
        let tensor = Tensor::<Flex, 1>::random([8], Distribution::Default, &Default::default());
        tensor.to_data().to_vec::<f32>().unwrap()
    };
    Flex::seed(&Default::default(), 42);
    let (first, second) = (draw(), draw());

    Flex::seed(&Default::default(), 42);
    assert_eq!(draw(), first);
    let id = crate::common::blueprint("bp-random");
    for manifest in [sample_mlp(id.clone(), 8), sample_attention(id.clone(), 8), sample_conv(id, 8)] {
        let manifest = manifest.unwrap();
        let bytes = initialise(&manifest, &Initialisation { seed: 1, zero_last: false }).unwrap();
        let kernel = crate::common::verified(&bytes).build::<Autodiff<Flex>>(&Default::default());
        match manifest.contract.rank {
            2 => drop(kernel.forward::<2>(Tensor::ones([2, 8], &Default::default())).unwrap()),
            3 => drop(kernel.forward::<3>(Tensor::ones([2, 3, 8], &Default::default())).unwrap()),
            _ => drop(kernel.forward::<4>(Tensor::ones([2, 8, 4, 4], &Default::default())).unwrap()),
        }
    }
    assert_eq!(draw(), second);
}
