//! Hosts with a parameter that Burn saves through a mapper.

use burn::backend::{Autodiff, Flex};
use burn::module::{AutodiffModule, Module};
use burn::nn::{Linear, LinearConfig, LinearLayout};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use kasmina_grown::{Grown, GrownFile, GrownLimits};
use safetensors::SafeTensors;

#[derive(Module, Debug)]
struct Columns<B: Backend> {
    wide: Linear<B>,
    square: Linear<B>,
}

impl<B: Backend> Columns<B> {
    fn new(layout: fn() -> LinearLayout) -> Self {
        let linear = |inputs| LinearConfig::new(inputs, 4).with_layout(layout()).init(&Default::default());
        Self { wide: linear(3), square: linear(4) }
    }

    fn forward(&self, x: Tensor<B, 2>) -> Vec<f32> {
        self.square.forward(self.wide.forward(x)).into_data().iter().collect()
    }
}

fn column() -> LinearLayout {
    LinearLayout::Col
}

fn row() -> LinearLayout {
    LinearLayout::Row
}

fn file<B: Backend>(network: &Grown<B, Columns<B>>) -> GrownFile {
    GrownFile::verify(network.to_bytes().unwrap(), GrownLimits::default()).unwrap()
}

fn build(file: &GrownFile, layout: fn() -> LinearLayout) -> Result<Grown<Flex, Columns<Flex>>, String> {
    file.build(Columns::new(layout), &Default::default()).map_err(|error| error.to_string())
}

#[test]
fn column_layout_survives_a_file_twice() {
    let network = Grown::new(Columns::<Flex>::new(column));
    let once = build(&file(&network), column).unwrap();
    let twice = build(&file(&once), column).unwrap();
    let x = Tensor::from_floats([[0.5, -1.0, 2.0]], &Default::default());
    for loaded in [&once, &twice] {
        let weights = |host: &Columns<Flex>| [&host.wide, &host.square].map(|linear| linear.weight.val().into_data());
        assert_eq!(weights(&loaded.host), weights(&network.host));
        assert_eq!(loaded.host.forward(x.clone()), network.host.forward(x.clone()));
    }
    let bytes = twice.to_bytes().unwrap();
    assert_eq!(SafeTensors::deserialize(&bytes).unwrap().tensor("host.wide.weight").unwrap().shape(), [4, 3]);
    assert_eq!(network.to_bytes().unwrap(), bytes);
}

#[test]
fn layouts_are_not_confused_even_if_shapes_agree() {
    let error = build(&file(&Grown::new(Columns::<Flex>::new(row))), column).unwrap_err();
    assert!(error.contains("[4, 3] through a mapper here, and floats [3, 4] in the file"), "{error}");
    // Burn drops the mappers of a copy without autodiff, so that this file holds the weights as they are in memory.
    let mut valid = Grown::new(Columns::<Autodiff<Flex>>::new(column)).valid();
    valid.host.wide = LinearConfig::new(3, 4).with_layout(LinearLayout::Col).init(&Default::default());
    let error = build(&file(&valid), column).unwrap_err();
    assert!(error.contains("square.weight is floats [4, 4] through a mapper here, and floats [4, 4] in"), "{error}");
}
