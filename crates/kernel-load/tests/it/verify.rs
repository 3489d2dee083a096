//! Every way in which a file can differ from the promised artifact, each with its own error.

use crate::common::{artifact, digests, manifest, put_together, take_apart, verified, weights};
use burn::backend::Flex;
use burn::tensor::Tensor;
use kasmina_kernel_load::{
    Activation, ArtifactError, ArtifactLimits, Digest, Digests, LayerSpec, MANIFEST_KEY, Manifest, ManifestError,
    SlotContract, verify, write_artifact,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const WEIGHT: &str = "layers.0.Linear.weight";
const BIAS: &str = "layers.0.Linear.bias";

#[test]
fn round_trip_is_bit_exact_and_the_file_is_safetensors() {
    let manifest = sample();
    let expected = weights(&manifest, 9);
    let bytes = artifact(&manifest, 9);
    let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(read.len(), expected.len());
    for (name, weights) in &expected {
        let data: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
        assert_eq!(read.tensor(name).unwrap().data(), data, "{name}");
    }
    let verified = verified(&bytes);
    assert_eq!(verified.manifest(), &manifest);
    assert_eq!(verified.digests(), &digests(&bytes));
    assert_eq!(verified.parameters_bytes(), 4 * manifest.parameter_count);
}

#[test]
fn file_written_by_the_safetensors_crate_is_read() {
    let manifest = sample();
    let data: Vec<_> = weights(&manifest, 9)
        .into_iter()
        .map(|(name, weights)| (name, weights.iter().flat_map(|weight| weight.to_le_bytes()).collect::<Vec<_>>()))
        .collect();
    let shapes = manifest.tensors(&ArtifactLimits::default()).unwrap();
    let tensors = data.iter().map(|(name, data)| {
        let shape = shapes.iter().find(|spec| spec.name == *name).unwrap().shape.clone();
        (name, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, data).unwrap())
    });
    let metadata = [(MANIFEST_KEY.to_owned(), manifest.canonical())].into_iter().collect();
    let bytes = safetensors::serialize(tensors, Some(metadata)).unwrap();
    let forward = |bytes: &[u8]| {
        let x = Tensor::<Flex, 2>::ones([2, 4], &Default::default());
        verified(bytes).build::<Flex>(&Default::default()).forward(x).unwrap().to_data().to_vec::<f32>().unwrap()
    };
    assert_eq!(forward(&bytes), forward(&artifact(&manifest, 9)));
}

#[test]
fn file_cut_at_any_byte_is_refused() {
    let bytes = artifact(&sample(), 9);
    let promised = digests(&bytes);
    for length in 0..bytes.len() {
        let cut = &bytes[..length];
        assert_eq!(refusal(cut, &promised).reason(), "checksum_mismatch", "cut at {length}");
        let redigested = Digests { checksum: Digest::of(cut), ..promised };
        assert_eq!(refusal(cut, &redigested).reason(), "artifact_truncated", "cut at {length}, promised so");
    }
    let longer = [&bytes[..], &[0]].concat();
    let (expected, got) = (bytes.len(), bytes.len() + 1);
    let redigested = Digests { checksum: Digest::of(&longer), ..promised };
    assert_eq!(refusal(&longer, &redigested), ArtifactError::TrailingBytes { expected, got });
}

#[test]
fn size_beyond_a_limit_is_refused() {
    let bytes = artifact(&sample(), 9);
    let with = |limits| verify(&bytes, &digests(&bytes), &limits).unwrap_err();
    let (default, limit) = (ArtifactLimits::default(), bytes.len() - 1);
    let error = with(ArtifactLimits { max_bytes: limit, ..default });
    assert_eq!(error, ArtifactError::Oversized { limit, got: bytes.len() });
    assert_eq!(with(ArtifactLimits { max_header_bytes: 16, ..default }).reason(), "header_oversized");
    assert_eq!(with(ArtifactLimits { max_parameters: 5, ..default }).reason(), "too_many_parameters");
    assert_eq!(with(ArtifactLimits { max_layers: 1, ..default }).reason(), "too_many_layers");
    let endless = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    let promised = Digests { checksum: Digest::of(&endless), ..digests(&bytes) };
    assert_eq!(refusal(&endless, &promised).reason(), "header_oversized");
}

#[test]
fn digest_of_another_file_is_refused() {
    let bytes = artifact(&sample(), 9);
    let Digests { checksum, guard_digest } = digests(&bytes);
    let other = Digest::of(b"other");
    let error = refusal(&bytes, &Digests { checksum: other, guard_digest });
    assert_eq!(error, ArtifactError::Checksum { expected: other, got: checksum });
    let error = refusal(&bytes, &Digests { checksum, guard_digest: other });
    assert_eq!(error, ArtifactError::GuardDigest { expected: other, got: guard_digest });
}

#[test]
fn malformed_header_is_refused() {
    for text in ["", "[]", "null", "{", r#"{"a": 1}"#, "{\"a\": {}}", "\u{0}", r#"{"__metadata__": {"a": 1}}"#] {
        assert_eq!(changed(&put_together(text, &[])), "header_malformed", "{text:?}");
    }
    let tensor = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    assert_eq!(changed(&put_together(&format!(r#"{{"a":{tensor},"a":{tensor}}}"#), &[])), "header_malformed");
    assert_eq!(changed(&put_together("{}", &[])), "manifest_missing");
    assert_eq!(changed(&edit(|header, _| header["__metadata__"].as_object_mut().unwrap().clear())), "manifest_missing");
}

#[test]
fn malformed_manifest_is_refused() {
    let with = |edit: fn(&mut Value)| changed(&edit_manifest(edit));
    assert_eq!(with(|manifest| manifest["format_version"] = json!(2)), "unsupported_version");
    assert_eq!(with(|manifest| manifest["layers"][1] = json!({"mystery": {}})), "unknown_layer");
    assert_eq!(with(|manifest| manifest["layers"] = json!([])), "no_layers");
    assert_eq!(with(|manifest| manifest["parameter_count"] = json!(1)), "parameter_count");
    assert_eq!(with(|manifest| manifest["surprise"] = json!(1)), "manifest_malformed");
    assert_eq!(with(|manifest| manifest["blueprint_id"] = json!("")), "manifest_malformed");
    assert_eq!(with(|manifest| manifest["contract"]["dtype"] = json!("f64")), "manifest_malformed");
    assert_eq!(with(|manifest| manifest["contract"]["rank"] = json!(5)), "contract_rank");
    assert_eq!(with(|manifest| manifest["contract"]["channels_out"] = json!(7)), "output_channels");
    assert_eq!(with(|manifest| *manifest = json!(null)), "manifest_malformed");
    let unknown = Manifest::from_json(&edit_text(|manifest| manifest["layers"][1] = json!({"mystery": {}})));
    assert_eq!(unknown, Err(ManifestError::UnknownLayer { at: "layers.1".into(), name: "mystery".into() }));
}

#[test]
fn missing_tensor_is_refused() {
    let bytes = edit(|header, _| _ = header.as_object_mut().unwrap().remove(BIAS));
    assert_eq!(error(&bytes), ArtifactError::TensorMissing { name: BIAS.into() });
}

#[test]
fn unknown_tensor_is_refused() {
    let bytes = edit(|header, data| {
        header["stowaway"] = json!({"dtype": "F32", "shape": [1], "data_offsets": [data.len(), data.len() + 4]});
        data.extend([0; 4]);
    });
    assert_eq!(error(&bytes), ArtifactError::TensorUnknown { name: "stowaway".into() });
}

#[test]
fn tensor_of_another_shape_is_refused() {
    for shape in [json!([3, 4]), json!([12]), json!([4, 3, 1]), json!([]), json!([0]), json!([u64::MAX, 2])] {
        let bytes = edit(|header, _| header[WEIGHT]["shape"] = shape.clone());
        assert_eq!(error(&bytes).reason(), "tensor_shape", "{shape}");
    }
}

#[test]
fn tensor_of_another_dtype_is_refused() {
    let bytes = edit(|header, _| header[BIAS]["dtype"] = json!("F16"));
    let expected = ArtifactError::TensorDtype { name: BIAS.into(), expected: "F32", got: "F16".into() };
    assert_eq!(error(&bytes), expected);
}

#[test]
fn tensor_in_another_place_is_refused() {
    for offsets in [json!([0, 4]), json!([8, 4]), json!([usize::MAX - 3, usize::MAX]), json!([1_000_000, 1_000_012])] {
        let bytes = edit(|header, _| header[BIAS]["data_offsets"] = offsets.clone());
        assert_eq!(error(&bytes).reason(), "tensor_layout", "{offsets}");
    }
}

#[test]
fn weight_that_is_not_finite_is_refused() {
    for weight in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let bytes = edit(|header, data| {
            let begin = header[WEIGHT]["data_offsets"][0].as_u64().unwrap() as usize;
            data[begin + 8..begin + 12].copy_from_slice(&weight.to_le_bytes());
        });
        let ArtifactError::NonFinite { name, index: 2, got } = error(&bytes) else { panic!("{weight} is not refused") };
        assert_eq!((name.as_str(), got.to_bits()), (WEIGHT, weight.to_bits()));
    }
}

#[test]
fn writer_refuses_what_the_reader_would_refuse() {
    let manifest = sample();
    let good = weights(&manifest, 9);
    let with = |edit: &dyn Fn(&mut crate::common::Weights)| {
        let mut weights = good.clone();
        edit(&mut weights);
        write_artifact(&manifest, &weights).unwrap_err().reason()
    };
    assert_eq!(with(&|weights| _ = weights.remove(BIAS)), "tensor_missing");
    assert_eq!(with(&|weights| _ = weights.insert("stowaway".into(), vec![])), "tensor_unknown");
    assert_eq!(with(&|weights| weights.get_mut(BIAS).unwrap().push(0.0)), "tensor_shape");
    assert_eq!(with(&|weights| weights.get_mut(BIAS).unwrap()[1] = f32::NAN), "non_finite_weight");
    let wrong = Manifest { parameter_count: 1, ..manifest.clone() };
    assert_eq!(write_artifact(&wrong, &good).unwrap_err().reason(), "parameter_count");
}

proptest! {
    #[test]
    fn file_with_flipped_bits_never_verifies(flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 1..9)) {
        let bytes = artifact(&sample(), 9);
        let mut flipped = bytes.clone();
        for (index, bit) in flips {
            flipped[index.index(bytes.len())] ^= 1 << bit;
        }
        prop_assume!(flipped != bytes);
        let promised = digests(&bytes);
        prop_assert_eq!(refusal(&flipped, &promised).reason(), "checksum_mismatch");
    }

    /// The author of a catalogue can promise anything. What verifies must still be a kernel that runs.
    #[test]
    fn garbage_with_matching_digests_is_refused_or_runs(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5)) {
        let mut bytes = artifact(&sample(), 9);
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        for (index, byte) in edits {
            bytes[index.index(header)] = byte;
        }
        let limits = ArtifactLimits::default();
        if let Ok(promised) = Digests::of(&bytes, &limits) && let Ok(artifact) = verify(&bytes, &promised, &limits) {
            let x = Tensor::<Flex, 2>::ones([2, artifact.manifest().contract.channels_in], &Default::default());
            prop_assert!(artifact.build::<Flex>(&Default::default()).forward(x).is_ok());
        }
    }

    #[test]
    fn random_bytes_never_verify(bytes: Vec<u8>, header in "\\PC{0,64}") {
        for bytes in [bytes.clone(), put_together(&header, &bytes)] {
            let promised = Digests { checksum: Digest::of(&bytes), guard_digest: sample().guard_digest() };
            refusal(&bytes, &promised);
        }
    }

    #[test]
    fn random_manifests_never_panic(text in "[\\[\\]{}:,\"a-z_0-9.]{0,80}") {
        prop_assert!(Manifest::from_json(&text).is_err());
    }
}

fn sample() -> Manifest {
    let layers = vec![
        LayerSpec::linear(4, 3),
        LayerSpec::Activation(Activation::Relu),
        LayerSpec::Residual { layers: vec![LayerSpec::LayerNorm { channels: 3 }, LayerSpec::linear(3, 3)] },
    ];
    manifest(SlotContract::f32(2, 4, 3), layers)
}

fn refusal(bytes: &[u8], digests: &Digests) -> ArtifactError {
    verify(bytes, digests, &ArtifactLimits::default()).unwrap_err()
}

/// The refusal of bytes whose digests match, if they have digests.
fn error(bytes: &[u8]) -> ArtifactError {
    let guard_digest =
        Digests::of(bytes, &ArtifactLimits::default()).map_or(Digest::of(b""), |digests| digests.guard_digest);
    refusal(bytes, &Digests { checksum: Digest::of(bytes), guard_digest })
}

fn changed(bytes: &[u8]) -> &'static str {
    error(bytes).reason()
}

fn edit(edit: impl Fn(&mut Value, &mut Vec<u8>)) -> Vec<u8> {
    let (mut header, mut data) = take_apart(&artifact(&sample(), 9));
    edit(&mut header, &mut data);
    put_together(&header.to_string(), &data)
}

fn edit_manifest(change: fn(&mut Value)) -> Vec<u8> {
    edit(|header, _| header["__metadata__"][MANIFEST_KEY] = json!(edit_text(change)))
}

fn edit_text(change: fn(&mut Value)) -> String {
    let mut manifest = serde_json::from_str(&sample().canonical()).unwrap();
    change(&mut manifest);
    manifest.to_string()
}
