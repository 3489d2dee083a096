//! What Burn does to modules keeps the fossils and what is known about them.

use burn::backend::Flex;
use burn::module::{AutodiffModule, Module};
use burn::record::{BinBytesRecorder, FullPrecisionSettings, NamedMpkFileRecorder, Recorder};
use kasmina_grown::{Fossil, FossilSpec, Grown, Provenance};
use kasmina_kernel_load::Initialisation;

use crate::common::{Host, Train, answers, fossil, grown, spec, trained};

fn is_complete<B: burn::tensor::backend::Backend>(grown: &Grown<B, Host<B>>) {
    let specs: Vec<_> = grown.fossils().iter().map(|fossil| fossil.spec().clone()).collect();
    assert_eq!(specs, [spec("seed-1", "mid"), spec("second", "late")]);
}

#[test]
fn valid_from_inner_clone_and_fork_keep_all_of_it() {
    let network = trained();
    let expected = answers(&network.valid());
    is_complete(&network.valid());
    let back = Grown::<Train, Host<Train>>::from_inner(network.valid());
    is_complete(&back);
    assert_eq!(answers(&back.valid()), expected);
    let forked = network.clone().fork(&Default::default());
    is_complete(&forked);
    assert_eq!(answers(&forked.valid()), expected);
    let moved = network.valid().to_device(&Default::default());
    is_complete(&moved);
    assert_eq!(answers(&moved), expected);
    assert_eq!(
        network.num_params(),
        network.host.num_params() + network.fossils().iter().map(Module::num_params).sum::<usize>()
    );
}

#[test]
fn record_file_of_the_same_structure_loads() {
    let directory = tempfile::tempdir().unwrap();
    let recorder = NamedMpkFileRecorder::<FullPrecisionSettings>::new();
    let network = trained();
    network.clone().save_file(directory.path().join("network"), &recorder).unwrap();
    let loaded = grown::<Flex>().load_file(directory.path().join("network"), &recorder, &Default::default()).unwrap();
    is_complete(&loaded);
    assert_eq!(answers(&loaded), answers(&network.valid()));
}

#[test]
fn record_of_fossils_holds_their_weights() {
    let recorder = BinBytesRecorder::<FullPrecisionSettings>::new();
    let network = trained().valid();
    let bytes = Recorder::<Flex>::record(&recorder, network.clone().into_record(), ()).unwrap();
    let record = Recorder::<Flex>::load(&recorder, bytes, &Default::default()).unwrap();
    assert_eq!(answers(&grown::<Flex>().load_record(record)), answers(&network));
}

#[test]
fn second_fossil_of_a_seed_is_refused() {
    let mut network = grown::<Flex>();
    let error = network.push(fossil("seed-1", "late")).unwrap_err();
    assert_eq!(error.reason(), "seed_twice");
    is_complete(&network);
}

#[test]
fn fresh_fossil_has_the_spec_of_another_and_weights_of_its_own() {
    let weights = |fossil: &Fossil<Flex>| fossil.to_artifact().unwrap();
    let fresh = |seed| {
        let initialisation = Initialisation { seed, zero_last: false };
        Fossil::<Flex>::fresh(spec("seed-1", "mid"), &initialisation, &Default::default()).unwrap()
    };
    let expected = FossilSpec { provenance: Provenance::default(), ..spec("seed-1", "mid") };
    assert_eq!(fresh(1).spec(), &expected, "it has proved nothing");
    assert_eq!(weights(&fresh(6)), weights(&fossil("seed-1", "mid")), "drawn with the same number");
    assert_ne!(weights(&fresh(1)), weights(&fresh(2)));
    let mut broken = spec("seed-1", "mid");
    broken.manifest.parameter_count += 1;
    let weights = Initialisation { seed: 1, zero_last: false };
    assert!(Fossil::<Flex>::fresh(broken, &weights, &Default::default()).is_err());
}

#[test]
fn pending_join_keeps_every_copy_from_being_saved() {
    let network = grown::<Train>();
    let copies = [network.clone(), network.clone().fork(&Default::default())];
    network.pending().set([kasmina_leyline::SeedId::new("next").unwrap()]);
    for copy in &copies {
        let error = copy.to_bytes().unwrap_err();
        assert_eq!(error.reason(), "join_pending");
        assert!(error.to_string().contains("next"), "{error}");
    }
    assert_eq!(network.valid().to_bytes().unwrap_err().reason(), "join_pending");
    assert!(grown::<Train>().to_bytes().is_ok(), "another network is not concerned");
    network.pending().set([]);
    assert!(copies.iter().all(|copy| copy.to_bytes().is_ok()));
}

#[test]
fn fossil_that_is_taken_out_is_gone_and_the_others_stay() {
    let mut network = grown::<Train>();
    let seed = network.fossils()[0].seed().clone();
    let before = answers(&network.valid());
    let fossil = network.remove(&seed).unwrap();
    assert_eq!((fossil.seed(), network.fossils().len()), (&seed, 1));
    assert_ne!(answers(&network.valid()), before);
    assert!(network.remove(&seed).is_none());
    network.push(fossil).unwrap();
    assert_eq!(network.fossils().len(), 2);
}
