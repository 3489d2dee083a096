//! Files that are whole, but do not say what they must. Each was sealed with a right digest.

use burn::backend::Flex;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::backend::Backend;
use kasmina_grown::{DIGEST_KEY, GrownError, GrownFile, GrownLimits, MANIFEST_KEY};
use kasmina_kernel_load::Digest;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::common::Host;
use crate::damage::{load, valid};

/// A valid file, changed, with the digest that it should have.
fn changed(change: impl FnOnce(&mut Value, &mut Value, &mut Vec<u8>)) -> Vec<u8> {
    let length = u64::from_le_bytes(valid()[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&valid()[8..8 + length]).unwrap();
    let mut data = valid()[8 + length..].to_vec();
    let mut manifest: Value = serde_json::from_str(header["__metadata__"][MANIFEST_KEY].as_str().unwrap()).unwrap();
    change(&mut header, &mut manifest, &mut data);
    header["__metadata__"][MANIFEST_KEY] = manifest.to_string().into();
    header["__metadata__"][DIGEST_KEY] = "0".repeat(64).into();
    sealed(&header.to_string(), &data)
}

/// The file of a header whose digest is blank, if it still has one, with the digest that it should have.
fn sealed(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat();
    let digest = Digest::of(&bytes).to_string();
    if let Some(at) = bytes.windows(64).position(|window| window == [b'0'; 64]) {
        bytes[at..at + 64].copy_from_slice(digest.as_bytes());
    }
    bytes
}

fn refused(change: impl FnOnce(&mut Value, &mut Value, &mut Vec<u8>)) -> GrownError {
    load(changed(change)).unwrap_err()
}

/// Overwrites the first bytes of a tensor.
fn write(header: &Value, data: &mut [u8], name: &str, bytes: &[u8]) {
    let start = header[name]["data_offsets"][0].as_u64().unwrap() as usize;
    data[start..start + bytes.len()].copy_from_slice(bytes);
}

/// Renames a tensor and its id.
fn rename(header: &mut Value, manifest: &mut Value, from: &str, to: &str) {
    let entry = header.as_object_mut().unwrap().remove(from).unwrap();
    header[to] = entry;
    let id = manifest["ids"].as_object_mut().unwrap().remove(from).unwrap();
    manifest["ids"][to] = id;
}

const FIRST: &str = "fossil.seed-1.layers.1.Linear.weight";
const STEM: &str = "host.stem.weight";

#[test]
fn unchanged_file_is_loaded() {
    assert_eq!(load(changed(|_, _, _| {})).unwrap().fossils().len(), 2);
}

#[test]
fn missing_and_unknown_tensors_have_their_errors() {
    let error = refused(|header, manifest, _| rename(header, manifest, FIRST, "fossil.seed-1.layers.9.Linear.weight"));
    assert_eq!(error, GrownError::TensorMissing { name: FIRST.into() });
    let error = refused(|header, manifest, data| {
        header["extra"] = json!({"dtype": "F32", "shape": [1], "data_offsets": [data.len(), data.len() + 4]});
        manifest["ids"]["extra"] = 7.into();
        data.extend([0; 4]);
    });
    assert_eq!(error, GrownError::TensorUnknown { name: "extra".into() });
    let error = refused(|header, manifest, _| rename(header, manifest, STEM, "host.trunk.weight"));
    assert_eq!(error.reason(), "host_mismatch");
    assert!(error.to_string().contains("stem.weight is floats [3, 4] here, and missing in the file"), "{error}");
    let error = refused(|header, manifest, data| {
        header["host.more"] = json!({"dtype": "U8", "shape": [1], "data_offsets": [data.len(), data.len() + 1]});
        manifest["ids"]["host.more"] = 7.into();
        data.push(0);
    });
    assert!(error.to_string().contains("more is missing here, and integers [1] in the file"), "{error}");
}

#[test]
fn wrong_shapes_have_their_errors() {
    let error = refused(|header, _, _| header[FIRST]["shape"] = json!([2, 4]));
    let (expected, got) = (vec![4, 2], vec![2, 4]);
    assert_eq!(error, GrownError::TensorShape { name: FIRST.into(), expected, got });
    let error = refused(|header, _, _| header[STEM]["shape"] = json!([4, 3]));
    assert!(error.to_string().contains("floats [3, 4] here, and floats [4, 3] in the file"), "{error}");
    let error = refused(|header, _, _| header[STEM]["shape"] = json!([3, 5]));
    assert_eq!(error.reason(), "tensor_layout");
    let error = refused(|header, _, _| header[STEM]["shape"] = json!([u64::MAX, 2]));
    assert_eq!(error.reason(), "tensor_layout");
}

#[test]
fn wrong_element_types_have_their_errors() {
    assert_eq!(refused(|header, _, _| header[FIRST]["dtype"] = "I32".into()).reason(), "tensor_dtype");
    assert_eq!(refused(|header, _, _| header[FIRST]["dtype"] = "F8_E4M3".into()).reason(), "tensor_dtype");
    assert_eq!(refused(|header, _, _| header[STEM]["dtype"] = "I32".into()).reason(), "host_mismatch");
    assert_eq!(refused(|header, _, _| header[STEM]["dtype"] = "F64".into()).reason(), "tensor_layout");
}

#[test]
fn numbers_that_no_module_may_have_are_refused() {
    let at = |name: &'static str, bytes: Vec<u8>| refused(move |header, _, data| write(header, data, name, &bytes));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for name in [FIRST, STEM] {
            let error = at(name, [0.5_f32, bad].map(f32::to_le_bytes).concat());
            assert_eq!(error, GrownError::NonFinite { name: name.into(), index: 1 });
        }
    }
    assert_eq!(at("host.mask", vec![0, 2]), GrownError::NotBool { name: "host.mask".into(), index: 1 });
}

#[test]
fn wrong_manifests_have_their_errors() {
    let reason = |change: fn(&mut Value)| refused(|_, manifest, _| change(manifest)).reason();
    assert_eq!(reason(|manifest| manifest["format_version"] = 2.into()), "grown_version");
    assert_eq!(reason(|manifest| *manifest = json!([])), "grown_manifest_malformed");
    assert_eq!(reason(|manifest| manifest["more"] = 1.into()), "grown_manifest_malformed");
    assert_eq!(reason(|manifest| manifest["fossils"][0]["seed"] = "a b".into()), "grown_manifest_malformed");
    assert_eq!(reason(|manifest| manifest["fossils"][0]["seed"] = "second".into()), "seed_twice");
    assert_eq!(reason(|manifest| manifest["fossils"][0]["manifest"]["parameter_count"] = 1.into()), "parameter_count");
    assert_eq!(
        reason(|manifest| manifest["fossils"][0]["manifest"]["layers"][0] = json!({"exec": {}})),
        "grown_manifest_malformed"
    );
    assert_eq!(reason(|manifest| drop(manifest["ids"].as_object_mut().unwrap().remove(FIRST))), "tensor_id");
    assert_eq!(reason(|manifest| manifest["ids"]["host.ghost"] = 1.into()), "tensor_missing");
}

#[test]
fn headers_with_gaps_or_a_repeated_tensor_are_refused() {
    let error = refused(|header, _, _| {
        let end = header[STEM]["data_offsets"][1].as_u64().unwrap();
        header[STEM]["data_offsets"][1] = (end + 4).into();
    });
    assert_eq!(error.reason(), "tensor_layout");
    let bytes = changed(|_, _, _| {});
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let text = std::str::from_utf8(&bytes[8..8 + length]).unwrap();
    let twice = format!("{{\"host.order\":{{\"dtype\":\"I64\",\"shape\":[0],\"data_offsets\":[0,0]}},{}", &text[1..]);
    let bytes = [&(twice.len() as u64).to_le_bytes()[..], twice.as_bytes(), &bytes[8 + length..]].concat();
    assert_eq!(load(bytes).unwrap_err().reason(), "grown_header_malformed");
}

#[test]
fn kernels_that_take_more_than_the_file_has_are_refused() {
    // The header promises weights that are not there. Nothing is allocated for them.
    let error = refused(|header, _, _| {
        header[FIRST]["shape"] = json!([65536, 65536]);
        header[FIRST]["data_offsets"] = json!([0, 17_179_869_184_u64]);
    });
    assert!(["tensor_layout", "grown_truncated"].contains(&error.reason()));
}

#[derive(Module, Debug)]
struct Other<B: Backend> {
    stem: Linear<B>,
}

#[test]
fn another_host_is_refused() {
    let file = GrownFile::verify(valid().to_vec(), GrownLimits::default()).unwrap();
    let device = Default::default();
    let error = file.build::<Flex, _>(Other { stem: LinearConfig::new(3, 4).init(&device) }, &device).unwrap_err();
    assert_eq!(error.reason(), "host_mismatch");
    let mut host = Host::<Flex>::new();
    host.stem = LinearConfig::new(3, 4).with_bias(false).init(&device);
    assert_eq!(file.build(host, &device).unwrap_err().reason(), "host_mismatch");
}

/// The header of a valid file with a blank digest, and the data.
fn blank() -> (Vec<u8>, Vec<u8>) {
    let bytes = changed(|_, _, _| {});
    let (header, data) = bytes[8..].split_at(u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize);
    let mut header = header.to_vec();
    let key = format!("\"{DIGEST_KEY}\":\"");
    let at = header.windows(key.len()).position(|window| window == key.as_bytes()).unwrap() + key.len();
    header[at..at + 64].fill(b'0');
    (header, data.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn forged_header_is_refused_or_loads_what_it_says(
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(&b"0123456789{}[]\",:.aF-"[..])), 1..4),
    ) {
        let (mut header, data) = blank();
        for (at, byte) in changes {
            let at = at.index(header.len());
            header[at] = byte;
        }
        let Ok(text) = std::str::from_utf8(&header) else { return Ok(()) };
        let bytes = sealed(text, &data);
        match load(bytes.clone()) {
            Err(error) => prop_assert!(!error.reason().is_empty() && error.to_string().len() < 700, "{error}"),
            Ok(network) => {
                let said = GrownFile::verify(bytes, GrownLimits::default()).unwrap();
                let again = GrownFile::verify(network.to_bytes().unwrap(), GrownLimits::default()).unwrap();
                prop_assert_eq!(said.fossils(), again.fossils());
            }
        }
    }
}
