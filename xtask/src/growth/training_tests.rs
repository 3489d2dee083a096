use burn::{
    module::{ModuleVisitor, Param},
    tensor::TensorData,
};
use kasmina::{
    blending::BlendConfig,
    grown::Provenance,
    kernel_load::{ArtifactLimits, Manifest},
    leyline::{BlueprintId, SeedId, SlotId},
};

use super::*;
use crate::growth::{
    data::Source,
    hosts::{CnnShape, MlpShape, TransformerShape},
    recipe::HostName,
    take_turns,
};

/// The shapes of all parameters, in the order in which a module visits them.
fn shapes<M: Module<B>>(module: &M) -> Vec<Vec<usize>> {
    struct Shapes(Vec<Vec<usize>>);
    impl<B: Backend> ModuleVisitor<B> for Shapes {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.0.push(param.val().dims().to_vec());
        }
    }
    let mut shapes = Shapes(Vec::new());
    module.visit(&mut shapes);
    shapes.0
}

/// One fossil for each site of a shape.
fn kernels(shape: &Shape) -> Vec<FossilSpec> {
    let spec = |site: crate::growth::hosts::Site| FossilSpec {
        seed: SeedId::new(site.slot).unwrap(),
        slot: SlotId::new(site.slot).unwrap(),
        blend: BlendConfig::residual(),
        manifest: Manifest::new(BlueprintId::new(site.slot).unwrap(), site.contract, site.layers).unwrap(),
        provenance: Provenance::default(),
    };
    shape.sites().into_iter().map(spec).collect()
}

/// A new kernel changes nothing, so a network with one at every slot says what its host alone says.
fn starts_as_its_host(shape: &Shape, batch: &Batch) {
    let (alone, with) = (assemble(shape, &[], 3).unwrap(), assemble(shape, &kernels(shape), 3).unwrap());
    assert!(with.num_params() > alone.num_params());
    let loss = |model: &Grown<B, Network<B>>| -> TensorData {
        model.forward(|host, grafts| loss(host, batch, grafts)).unwrap().into_data()
    };
    assert_eq!(loss(&alone), loss(&with), "{}", shape.describe());
}

#[test]
fn every_host_has_its_slots_and_kernels_that_fit() {
    let _turn = take_turns();
    let digits = Source::Digits.read().unwrap();
    let batch = digits.train.batch(&[0, 1, 2], None);
    starts_as_its_host(&Shape::Mlp(MlpShape::digits()), &batch);
    starts_as_its_host(&Shape::Cnn(CnnShape::of(8)), &batch);
    let sums = Source::Addition.read().unwrap();
    let asked = sums.sequences().unwrap();
    starts_as_its_host(
        &Shape::Transformer(TransformerShape::new(sums.classes, asked.length, asked.asked_from, 12)),
        &sums.train.batch(&[0, 1], None),
    );
}

#[test]
fn a_grown_network_from_scratch_has_its_exact_shapes() {
    let _turn = take_turns();
    let data = Source::Digits.read().unwrap();
    let recipe = Recipe { epochs: 12, ..Recipe::of(&Source::Digits, HostName::Mlp) };
    let progress = Progress::start("test");
    let run = Run { data: &data, recipe: &recipe, seed: 1, progress: &progress };
    let shape = Shape::Mlp(MlpShape::digits());
    let grown = run.grown(&shape).unwrap();
    assert!(!grown.fossils.is_empty(), "{:?}", grown.growth);
    let scratch = assemble(&shape, &grown.fossils, 1).unwrap();
    assert_eq!(scratch.num_params() as u64, grown.parameters);
    let mut expected = shapes(&shape.init(&Device::default()));
    for fossil in &grown.fossils {
        let tensors = fossil.manifest.tensors(&ArtifactLimits::default()).unwrap();
        expected.extend(tensors.into_iter().map(|it| it.shape));
    }
    assert_eq!(shapes(&scratch), expected);
    // What was trained is at least the host in every step, and less than the whole in every step.
    let host = shape.parameters() as u64;
    assert!((host * grown.steps..grown.parameters * grown.steps).contains(&grown.parameter_steps));
    let same = run.alone(Contender::ScratchSame, &shape, &grown.fossils).unwrap();
    assert_eq!((same.parameters, same.parameter_steps), (grown.parameters, grown.parameters * grown.steps));
    let proved_nothing = |fossil: &FossilSpec| FossilSpec { provenance: Provenance::default(), ..fossil.clone() };
    assert_eq!(same.fossils, grown.fossils.iter().map(proved_nothing).collect::<Vec<_>>());
}

#[test]
fn a_run_that_is_repeated_grows_the_same_network() {
    let _turn = take_turns();
    let data = Source::Digits.read().unwrap();
    let recipe = Recipe { epochs: 5, ..Recipe::of(&Source::Digits, HostName::Mlp) };
    let progress = Progress::start("test");
    let run = Run { data: &data, recipe: &recipe, seed: 2, progress: &progress };
    let [one, other] = [(); 2].map(|()| Record { seconds: 0.0, ..run.grown(&Shape::Mlp(MlpShape::digits())).unwrap() });
    assert_eq!(one, other);
}

#[test]
fn contenders_learn_from_the_same_batches() {
    let data = Source::Digits.read().unwrap();
    let recipe = Recipe { epochs: 2, ..Recipe::of(&Source::Digits, HostName::Mlp) };
    let progress = Progress::start("test");
    let batches = |seed| {
        let run = Run { data: &data, recipe: &recipe, seed, progress: &progress };
        run.batches().map(|(step, batch)| (step, batch.inputs, batch.labels)).collect::<Vec<_>>()
    };
    let (one, again, other) = (batches(4), batches(4), batches(5));
    assert_eq!(one.len() as u64, recipe.steps(data.train.len()));
    assert!(one == again && one != other);
}

#[test]
fn a_score_weighs_every_label_once() {
    let data = Source::Digits.read().unwrap();
    // Logits of the label 3 alone: right for the share of threes, at a loss of log(9 + e) - 1 where it is right.
    let always = |batch: &Batch| {
        let rows = batch.labels.shape[0];
        let row = |class: usize| f32::from(u8::from(class == 3));
        let logits = (0..rows).flat_map(|_| (0..10).map(row)).collect::<Vec<f32>>();
        Ok(Tensor::<B, 2>::from_data(TensorData::new(logits, [rows, 10]), &Device::default()))
    };
    let score = score(&data.test, always).unwrap();
    let Examples::Images(images) = &data.test else { panic!("digits are images") };
    let threes = images.labels.iter().filter(|label| **label == 3).count() as f64 / images.labels.len() as f64;
    assert!((score.accuracy - threes).abs() < 1e-6, "{score:?}");
    let expected = (9.0 + std::f64::consts::E).ln() - threes;
    assert!((score.loss - expected).abs() < 1e-5, "{score:?} {expected}");
}

#[test]
fn runs_that_diverge_are_recorded_as_such() {
    let _turn = take_turns();
    let data = Source::Digits.read().unwrap();
    let recipe = Recipe { epochs: 1, learning_rate: 1e30, ..Recipe::of(&Source::Digits, HostName::Mlp) };
    let progress = Progress::start("test");
    let run = Run { data: &data, recipe: &recipe, seed: 2, progress: &progress };
    let shape = Shape::Mlp(MlpShape::digits());
    for record in [run.alone(Contender::Control, &shape, &[]).unwrap(), run.grown(&shape).unwrap()] {
        assert!(record.diverged && record.validation.is_none() && record.test.is_none(), "{record:?}");
        assert!(record.steps < recipe.steps(data.train.len()), "{record:?}");
        assert_eq!(record.parameter_steps, record.steps * record.parameters);
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
}
