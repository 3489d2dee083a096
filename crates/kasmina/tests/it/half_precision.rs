//! Hosts in 16-bit floats.

use burn::{
    backend::Flex,
    module::{AutodiffModule, Module, ModuleMapper, Param},
    tensor::{DType, FloatDType, Tensor},
};
use kasmina::{
    Grafts, Grown, SeedManager, Settings, kernel_load::blueprints::Blueprint, leyline::v1::SeedLifecycleStage::*,
};

use crate::common::{B, Host, Mlp, alone, batch, bytes, determined, lenient, optimizer, twin};

type Model = Grown<B, Mlp<B>>;

/// Every parameter in another type.
struct Cast(FloatDType);

impl ModuleMapper<B> for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.map(|tensor| Tensor::from_inner(tensor.inner().cast(self.0)).require_grad())
    }
}

fn settings() -> Settings {
    let mut settings = Settings::automatic();
    settings.gates = lenient().gates;
    settings.training.rng_seed = Some(1);
    // The loss of 16 bits swings by its last digits.
    (settings.gates.stability.max_rise, settings.gates.stability.max_oscillation) = (10.0, 10.0);
    settings
}

/// The model's bytes after every step, and what became of it.
fn run(mut model: Model, dtype: FloatDType, plants: bool) -> (Vec<Vec<u8>>, Model, SeedManager<B>) {
    let mut manager = SeedManager::<B>::local(settings(), &Default::default()).unwrap();
    let mut optimizer = optimizer();
    let loss = |step: u64| {
        move |host: &Mlp<B>, grafts: &mut Grafts<B>| {
            let x = batch::<B>(step).cast(dtype);
            (host.forward(x.clone(), grafts) - x.sin().sum_dim(1)).square().mean()
        }
    };
    manager.attach_host(&model, loss(0)).unwrap();
    if plants {
        manager.plant("late", Blueprint::Mlp).unwrap();
    }
    let mut all = Vec::new();
    for step in 0..2000 {
        let report = manager.train_batch(&mut model, &mut optimizer, 1e-3, loss(step % 4)).unwrap();
        if !report.joined.is_empty() || (plants && manager.state().seeds.values().all(|it| it.stage.graft().is_none()))
        {
            break;
        }
        all.push(bytes(&model));
        if !plants && step == 1999 {
            break;
        }
    }
    (all, model, manager)
}

#[test]
fn seed_on_a_host_of_16_bits_leaves_no_trace_until_it_joins() {
    if !alone("half_precision::seed_on_a_host_of_16_bits_leaves_no_trace_until_it_joins") {
        return;
    }
    for (float, dtype) in [(FloatDType::BF16, DType::BF16), (FloatDType::F16, DType::F16)] {
        let start = Grown::new(determined(Mlp::<B>::init()).map(&mut Cast(float)));
        let (with, model, manager) = run(twin(&start), float, true);
        let (without, ..) = run(start, float, false);
        assert!(with.len() > 50 && with[..] == without[..with.len()], "{dtype:?}");
        let seed = manager.state().seeds.values().next().unwrap();
        assert_eq!((seed.stage.leyline(), model.fossils().len()), (SeedStageFossilized, 1), "{dtype:?}: {seed:?}");

        let served = kasmina::grown::GrownFile::verify(model.to_bytes().unwrap(), Default::default()).unwrap();
        let served = served.build::<Flex, _>(Mlp::<Flex>::init(), &Default::default()).unwrap();
        let answer = |model: &Grown<Flex, Mlp<Flex>>| {
            let x = batch::<Flex>(9).cast(float);
            model.forward(|host, grafts| host.forward(x, grafts)).unwrap().into_data()
        };
        assert_eq!((answer(&served), answer(&served).dtype), (answer(&model.valid()), dtype));
    }
}
