//! Hosts of other element types.

use burn::backend::Flex;
use burn::module::{Module, ModuleMapper, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, FloatDType, Tensor};
use kasmina_grown::{Grown, GrownFile, GrownLimits};

#[derive(Module, Debug)]
struct Pair<B: Backend> {
    low: Linear<B>,
    high: Linear<B>,
}

struct Cast(FloatDType);

impl<B: Backend> ModuleMapper<B> for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.map(|tensor| tensor.cast(self.0))
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
