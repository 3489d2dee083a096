//! What is saved is what is loaded.

use burn::backend::Flex;
use burn::module::{AutodiffModule, Module};
use burn::optim::{AdamWConfig, Optimizer};
use kasmina_grown::{DIGEST_KEY, Grown, GrownFile, GrownLimits, MANIFEST_KEY};
use kasmina_kernel_load::Digest;
use safetensors::SafeTensors;

use crate::common::{Host, STEM, Train, answers, grown, spec, step, trained};

fn reload(network: &Grown<Train, Host<Train>>) -> Grown<Train, Host<Train>> {
    let file = GrownFile::verify(network.to_bytes().unwrap(), GrownLimits::default()).unwrap();
    file.build(Host::new(), &Default::default()).unwrap()
}

#[test]
fn loaded_network_answers_bit_for_bit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("network.safetensors");
    let network = trained();
    network.save(&path).unwrap();
    let served = Grown::<Flex, _>::load(&path, Host::new(), &Default::default()).unwrap();
    assert_eq!(answers(&served), answers(&network.valid()));
    let specs: Vec<_> = served.fossils().iter().map(|fossil| fossil.spec().clone()).collect();
    assert_eq!(specs, [spec("seed-1", "mid"), spec("second", "late")]);
}

#[test]
fn saving_again_writes_the_same_bytes() {
    let network = trained();
    let bytes = network.to_bytes().unwrap();
    assert_eq!(network.to_bytes().unwrap(), bytes);
    assert_eq!(network.clone().to_bytes().unwrap(), bytes);
    // Running statistics get new ids in a module that was built elsewhere; everything else is restored.
    let again = reload(&network).to_bytes().unwrap();
    let (ours, theirs) = (SafeTensors::deserialize(&bytes).unwrap(), SafeTensors::deserialize(&again).unwrap());
    assert_eq!(ours.len(), theirs.len());
    assert!(ours.iter().all(|(name, view)| theirs.tensor(name).unwrap() == view));
}

#[test]
fn plain_safetensors_reader_finds_every_tensor() {
    let network = trained();
    let bytes = network.to_bytes().unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut names: Vec<_> = file.names();
    names.sort_unstable();
    let fossil = |seed: &str| {
        [
            "0.LayerNorm.beta",
            "0.LayerNorm.gamma",
            "1.Linear.bias",
            "1.Linear.weight",
            "3.Linear.bias",
            "3.Linear.weight",
        ]
        .map(|tensor| format!("fossil.{seed}.layers.{tensor}"))
    };
    let host = [
        "host.head.bias",
        "host.head.weight",
        "host.mask",
        "host.norm.beta",
        "host.norm.gamma",
        "host.norm.running_mean",
        "host.norm.running_var",
        "host.order",
        "host.stem.bias",
        "host.stem.weight",
    ];
    let expected: Vec<_> =
        [fossil("second"), fossil("seed-1")].concat().into_iter().chain(host.map(String::from)).collect();
    assert_eq!(names, expected);
    let stem = file.tensor(STEM).unwrap();
    let expected: Vec<f32> = network.host.stem.weight.val().into_data().iter().collect();
    let stored: Vec<f32> = stem.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    assert_eq!((stem.shape(), stored), (&[3, 4][..], expected));
}

#[test]
fn digest_is_that_of_the_file_with_zeros_in_its_place() {
    let bytes = trained().to_bytes().unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = metadata.metadata().clone().unwrap();
    let digest = &metadata[DIGEST_KEY];
    assert!(metadata[MANIFEST_KEY].contains("\"training_run\":\"run-1\""));
    let position = bytes.windows(64).position(|window| window == digest.as_bytes()).unwrap();
    let mut blank = bytes.clone();
    blank[position..position + 64].fill(b'0');
    assert_eq!(Digest::of(&blank).to_string(), *digest);
    assert_eq!(GrownFile::verify(bytes, GrownLimits::default()).unwrap().digest().to_string(), *digest);
}

#[test]
fn last_update_of_running_statistics_is_saved() {
    let network = trained();
    let loaded = reload(&network);
    let valid = network.valid();
    let statistics = |host: &Host<Flex>| {
        [host.norm.running_mean.value(), host.norm.running_var.value()].map(|tensor| tensor.into_data())
    };
    assert_eq!(statistics(&loaded.valid().host), statistics(&valid.host));
}

#[test]
fn optimizer_record_applies_after_loading() {
    let mut optimizer = AdamWConfig::new().init();
    let mut network = grown();
    for index in 0..4 {
        network = step(network, &mut optimizer, 1e-2, index);
    }
    let mut loaded = reload(&network);
    let record = Optimizer::<Grown<Train, Host<Train>>, Train>::to_record(&optimizer);
    let mut restored = AdamWConfig::new().init().load_record(record);
    for index in 4..7 {
        network = step(network, &mut optimizer, 1e-2, index);
        loaded = step(loaded, &mut restored, 1e-2, index);
    }
    assert_eq!(answers(&loaded.valid()), answers(&network.valid()));
    assert_eq!(Optimizer::<Grown<Train, Host<Train>>, Train>::to_record(&restored).len(), 18);
}

#[test]
fn loaded_network_trains_unless_the_host_is_frozen() {
    let network = trained();
    assert_eq!(crate::common::gradients(&reload(&network), 1).len(), 18);
    let file = GrownFile::verify(network.to_bytes().unwrap(), GrownLimits::default()).unwrap();
    let frozen = file.build::<Train, _>(Host::new().no_grad(), &Default::default()).unwrap();
    assert_eq!(crate::common::gradients(&frozen, 1).len(), 12, "only the fossils learn");
}

#[test]
fn saving_replaces_the_file_and_leaves_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("network.safetensors");
    std::fs::write(&path, "old").unwrap();
    trained().save(&path).unwrap();
    trained().save(&path).unwrap();
    let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["network.safetensors"]);
    assert_eq!(GrownFile::read(&path).unwrap().fossils().len(), 2);
    let error = trained().save(directory.path().join("none/network")).unwrap_err();
    assert_eq!(error.reason(), "grown_io");
}

#[test]
fn network_with_nan_is_not_saved() {
    let mut network = grown::<Flex>();
    network.host.stem.bias = network.host.stem.bias.map(|bias| bias.map(|bias| bias * f32::NAN));
    let error = network.to_bytes().unwrap_err();
    assert_eq!(error.reason(), "non_finite_weight");
    assert!(error.to_string().contains("host.stem.bias"));
}
