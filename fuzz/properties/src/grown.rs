//! Files of grown networks.

use burn::backend::Flex;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::backend::Backend;
use kasmina_blending::BlendConfig;
use kasmina_grown::{DIGEST_KEY, Fossil, FossilSpec, Grown, GrownFile, GrownLimits, Provenance};
use kasmina_kernel_load::{ArtifactLimits, Digest, Digests, Initialisation, initialise, verify};
use kasmina_leyline::{SeedId, SlotId};

use crate::{choices::Choices, kernels::kernel};

#[derive(Module, Debug)]
struct Host<B: Backend> {
    stem: Linear<B>,
}

type Network = Grown<Flex, Host<Flex>>;

const DIGITS: usize = 64;

/// Bytes of a file as they are, or a file that somebody changed, with its old digest or with a new one.
pub fn grown(data: &[u8]) {
    let mut choices = Choices::new(&data[..data.len().min(64 << 10)]);
    let kind = choices.byte() % 3;
    if kind == 0 {
        return drop(loaded(choices.rest().to_vec()));
    }
    let Some(network) = network(&mut choices) else { return };
    let original = network.to_bytes().expect("its weights are finite");
    let same = loaded(original.clone()).expect("what was saved is loaded");
    assert_eq!(same.to_bytes().as_ref(), Ok(&original));

    let mut bytes = original.clone();
    choices.spoil(&mut bytes);
    if kind == 1 {
        assert!(bytes == original || loaded(bytes).is_none(), "loaded although bytes were changed");
    } else {
        seal(&mut bytes);
        loaded(bytes);
    }
}

/// Loads a file. What is loaded is what the file names, and can be saved and loaded again.
fn loaded(bytes: Vec<u8>) -> Option<Network> {
    let limits = GrownLimits { max_bytes: 1 << 20, max_header_bytes: 64 << 10, ..GrownLimits::default() };
    let built = GrownFile::verify(bytes, limits).and_then(|file| Ok((file.build(host(), &Default::default())?, file)));
    match built {
        Ok((network, file)) => {
            assert!(network.fossils().iter().map(Fossil::spec).eq(file.fossils()));
            let again = network.to_bytes().expect("what is loaded is finite");
            assert!(GrownFile::verify(again, GrownLimits::default()).is_ok());
            Some(network)
        }
        Err(error) => {
            assert!(!error.reason().is_empty() && !error.to_string().is_empty());
            None
        }
    }
}

fn host() -> Host<Flex> {
    Host { stem: LinearConfig::new(2, 2).init(&Default::default()) }
}

/// A host with up to two fossils.
fn network(choices: &mut Choices<'_>) -> Option<Network> {
    let mut network = Grown::new(host());
    for index in 0..choices.below(3) {
        let manifest = kernel(choices)?;
        let initialisation = Initialisation { seed: choices.byte().into(), zero_last: choices.flag() };
        let (bytes, limits) = (initialise(&manifest, &initialisation).ok()?, ArtifactLimits::default());
        let kernel = verify(&bytes, &Digests::of(&bytes, &limits).ok()?, &limits).ok()?.build(&Default::default());
        let seed = SeedId::new(format!("seed-{index}{}", choices.text(3))).ok()?;
        let spec = FossilSpec {
            seed,
            slot: SlotId::new("mid").ok()?,
            blend: if choices.flag() { BlendConfig::residual() } else { BlendConfig::convex() },
            manifest,
            provenance: Provenance::default(),
        };
        network.push(Fossil::new(spec, kernel).ok()?).ok()?;
    }
    Some(network)
}

/// Gives the file the digest that it should have, if it still has a place for one.
fn seal(bytes: &mut [u8]) {
    let key = format!("\"{DIGEST_KEY}\":\"");
    let Some(at) = bytes.windows(key.len()).position(|window| window == key.as_bytes()) else { return };
    let Some(place) = bytes.get_mut(at + key.len()..at + key.len() + DIGITS) else { return };
    place.fill(b'0');
    let digest = Digest::of(bytes).to_string();
    if let Some(place) = bytes.get_mut(at + key.len()..at + key.len() + DIGITS) {
        place.copy_from_slice(digest.as_bytes());
    }
}
