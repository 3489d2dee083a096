//! Hosts of other element types.

use burn::backend::{Autodiff, Flex};
use burn::module::{AutodiffModule, Module, ModuleMapper, Param};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, Optimizer, SgdConfig};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, FloatDType, Tensor};
use kasmina_blending::BlendConfig;
use kasmina_grown::{Fossil, FossilSpec, Grown, GrownFile, GrownLimits, Provenance};
use kasmina_kernel_load::{
    KernelDtype, SlotContract,
    blueprints::{Blueprint, Start},
};
use kasmina_leyline::{SeedId, SlotId};

#[derive(Module, Debug)]
struct Pair<B: Backend> {
    low: Linear<B>,
    high: Linear<B>,
}

struct Cast(FloatDType);

impl<B: Backend> ModuleMapper<B> for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.map(|tensor| {
            let learns = tensor.is_require_grad();
            tensor.cast(self.0).detach().set_require_grad(learns)
        })
    }
}

fn pair() -> Pair<Flex> {
    let device = Default::default();
    Pair { low: LinearConfig::new(3, 5).init(&device), high: LinearConfig::new(5, 1).init(&device) }
}

#[test]
fn hosts_keep_their_float_types() {
    let types = [
        (FloatDType::BF16, DType::BF16),
        (FloatDType::F16, DType::F16),
        (FloatDType::F32, DType::F32),
        (FloatDType::F64, DType::F64),
    ];
    for (cast, dtype) in types {
        let host = Pair { low: pair().low.map(&mut Cast(cast)), high: pair().high };
        let network = Grown::new(host);
        let bytes = network.to_bytes().unwrap();
        let file = GrownFile::verify(bytes.clone(), GrownLimits::default()).unwrap();
        let loaded = file.build::<Flex, _>(pair(), &Default::default()).unwrap();
        assert_eq!(loaded.host.low.weight.val().dtype(), dtype);
        assert_eq!(loaded.host.low.weight.val().into_data(), network.host.low.weight.val().into_data());
        assert_eq!(loaded.to_bytes().unwrap(), bytes, "{dtype:?}");
    }
}

#[test]
fn half_precision_that_is_not_finite_is_refused() {
    for (cast, huge) in [(FloatDType::F16, 1e5), (FloatDType::BF16, f32::INFINITY)] {
        let mut host = pair();
        host.low.bias = host.low.bias.map(|bias| bias.map(|bias| (bias * 0.0 + huge).cast(cast)));
        assert_eq!(Grown::new(host).to_bytes().unwrap_err().reason(), "non_finite_weight", "{cast:?}");
    }
}

#[test]
fn bf16_host_grows_trains_and_is_loaded_in_bf16() {
    type Train = Autodiff<Flex>;
    let device = Default::default();
    let host =
        Pair::<Train> { low: LinearConfig::new(3, 5).init(&device), high: LinearConfig::new(5, 1).init(&device) };
    let slot = SlotContract::f32(2, 5, 5).with_dtype(KernelDtype::Bf16);
    let manifest = Blueprint::Bottleneck.for_slot(slot, Start::Zero).unwrap();
    let kernel = crate::common::kernel(&manifest, 3);
    let (seed, slot, provenance) = (SeedId::new("a").unwrap(), SlotId::new("mid").unwrap(), Provenance::default());
    let fossil = Fossil::new(FossilSpec { seed, slot, blend: BlendConfig::residual(), manifest, provenance }, kernel);
    let mut network = Grown::from_parts(host.map(&mut Cast(FloatDType::BF16)), [fossil.unwrap()]).unwrap();
    let x = Tensor::<Train, 2>::ones([4, 3], (&device, DType::BF16));
    for _ in 0..3 {
        let y =
            network.forward(|host, grafts| host.high.forward(grafts.at("mid", host.low.forward(x.clone())))).unwrap();
        let gradients = GradientsParams::from_grads((y - 1.0).square().mean().backward(), &network);
        assert_eq!(gradients.len(), 8);
        network = SgdConfig::new().init().step(0.1, network, gradients);
    }
    let file = GrownFile::verify(network.to_bytes().unwrap(), GrownLimits::default()).unwrap();
    let loaded = file.build::<Flex, _>(pair(), &device).unwrap();
    let answer = |network: &Grown<Flex, Pair<Flex>>| {
        let x = x.clone().inner();
        network.forward(|host, grafts| host.high.forward(grafts.at("mid", host.low.forward(x)))).unwrap().into_data()
    };
    assert_eq!(answer(&loaded), answer(&network.valid()));
    assert_eq!(answer(&loaded).dtype, DType::BF16);
}
