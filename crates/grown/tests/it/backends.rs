//! A network that was trained on one backend is served on another.

use burn::backend::{Autodiff, Flex, NdArray};
use burn::module::{AutodiffModule, Module, ModuleMapper, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{FloatDType, Tensor};
use kasmina_grown::{Grown, GrownFile, GrownLimits};

use crate::common::{Host, answers, trained};

fn file<B: Backend>(network: &Grown<B, Host<B>>) -> GrownFile {
    GrownFile::verify(network.to_bytes().unwrap(), GrownLimits::default()).unwrap()
}

#[test]
fn network_of_flex_answers_on_ndarray() {
    let network = trained();
    let file = file(&network);
    let served = file.build::<NdArray, _>(Host::new(), &Default::default()).unwrap();
    let numbers = |bits: Vec<u32>| bits.into_iter().map(f32::from_bits);
    for (here, there) in numbers(answers(&served)).zip(numbers(answers(&network.valid()))) {
        assert!((here - there).abs() <= 1e-5 * (1.0 + there.abs()), "{here} for {there}");
    }
    // Saved there, it comes back bit for bit. The file may be longer or shorter: running statistics get other ids.
    let saved = GrownFile::verify(served.to_bytes().unwrap(), GrownLimits::default()).unwrap();
    let back = saved.build::<Flex, _>(Host::new(), &Default::default()).unwrap();
    assert_eq!(answers(&back), answers(&network.valid()));
    let trains = file.build::<Autodiff<NdArray>, _>(Host::new(), &Default::default()).unwrap();
    let loss = trains.forward(|host, grafts| host.forward(crate::common::batch(1), grafts)).unwrap().square().mean();
    assert_eq!(burn::optim::GradientsParams::from_grads(loss.backward(), &trains).len(), 18);
}

struct Half;

impl<B: Backend> ModuleMapper<B> for Half {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.map(|tensor| tensor.cast(FloatDType::BF16))
    }
}

#[test]
fn element_type_that_the_backend_does_not_have_is_refused() {
    let mut network = Grown::new(Host::<Flex>::new());
    network.host.stem = network.host.stem.map(&mut Half);
    let error = file(&network).build::<NdArray, _>(Host::new(), &Default::default()).unwrap_err();
    assert_eq!(error.reason(), "dtype_unsupported");
    assert!(error.to_string().contains("host.stem.weight has dtype BF16") || error.to_string().contains("stem.bias"));
}
