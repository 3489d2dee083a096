//! A fossil's kernel can be planted elsewhere.

use burn::backend::Flex;
use burn::module::AutodiffModule;
use burn::tensor::Tensor;
use kasmina_grown::Fossil;
use kasmina_kernel_load::{ArtifactLimits, Digests, verify};

use crate::common::{fossil, spec, trained};

#[test]
fn artifact_of_a_fossil_is_its_kernel() {
    let network = trained();
    let limits = ArtifactLimits::default();
    let artifact = network.fossils()[0].to_artifact().unwrap();
    let verified = verify(&artifact, &Digests::of(&artifact, &limits).unwrap(), &limits).unwrap();
    assert_eq!(verified.manifest(), &spec("seed-1", "mid").manifest);
    let x = Tensor::<Flex, 2>::from_floats([[0.5, -1.0, 2.0, 0.1]], &Default::default());
    let planted = verified.build::<Flex>(&Default::default()).forward(x.clone()).unwrap();
    let here = network.valid().fossils()[0].kernel().forward(x.clone()).unwrap();
    assert_eq!(planted.to_data(), here.to_data());
    let fresh = fossil::<Flex>("seed-1", "mid").kernel().forward(x).unwrap();
    assert_ne!(planted.to_data(), fresh.to_data(), "with what it has learned");
    let again = Fossil::new(spec("seed-1", "mid"), verified.build::<Flex>(&Default::default())).unwrap();
    assert_eq!(again.to_artifact().unwrap(), artifact);
}
