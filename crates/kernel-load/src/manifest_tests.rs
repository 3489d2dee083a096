use serde_json::json;

use super::*;
use crate::Activation;

#[test]
fn canonical_form_is_sorted_ascii_without_white_space() {
    let layers = vec![LayerSpec::linear(2, 3), LayerSpec::Activation(Activation::Silu), LayerSpec::Identity {}];
    let manifest = manifest(SlotContract::f32(2, 2, 3), layers).unwrap();
    let expected = concat!(
        r#"{"blueprint_id":"bp-1","contract":{"channels_in":2,"channels_out":3,"dtype":"f32","rank":2},"#,
        r#""format_version":1,"layers":[{"linear":{"bias":true,"channels_in":2,"channels_out":3}},"#,
        r#"{"activation":"silu"},{"identity":{}}],"parameter_count":9}"#,
    );
    assert_eq!(manifest.canonical(), expected);
    // From Python's hashlib and json.dumps, as the docs of `canonical` describe.
    assert_eq!(manifest.guard_digest().to_string(), "e1eccc06accf7be7ffee226daf774a44c33e341c62f662f9e591b5789550427b");
    assert_eq!(Manifest::from_json(expected), Ok(manifest));
}

#[test]
fn spelling_does_not_change_the_digest() {
    let manifest = manifest(SlotContract::f32(2, 2, 2), vec![LayerSpec::Activation(Activation::Silu)]).unwrap();
    let text = manifest.canonical().replace("silu", "swish").replace(',', " ,\n ");
    assert_eq!(Manifest::from_json(&text).unwrap().guard_digest(), manifest.guard_digest());
}

#[test]
fn every_name_in_the_vocabulary_is_read() {
    for name in LayerSpec::NAMES {
        let text = json!({"format_version": 1, "layers": [{name: {"surprise": 1}}]}).to_string();
        assert_eq!(Manifest::from_json(&text).unwrap_err().reason(), "manifest_malformed", "{name}");
    }
}

#[test]
fn other_version_is_an_error_before_anything_else_is_read() {
    let text = r#"{"format_version": 2, "anything": {}}"#;
    assert_eq!(Manifest::from_json(text), Err(ManifestError::Version { expected: 1, got: 2 }));
}

#[test]
fn unknown_layer_is_named_with_its_place() {
    let layers = json!([{"identity": {}}, {"residual": {"layers": [{"identity": {}}, {"dropout": {}}]}}]);
    let text = json!({"format_version": 1, "layers": layers}).to_string();
    let at = "layers.1.layers.1".to_owned();
    assert_eq!(Manifest::from_json(&text), Err(ManifestError::UnknownLayer { at, name: "dropout".into() }));
}

#[test]
fn layers_that_do_not_form_a_kernel_are_refused() {
    let conv = |padding, groups| LayerSpec::Conv2d {
        channels_in: 4,
        channels_out: 4,
        kernel: [3, 3],
        padding,
        dilation: [1, 1],
        groups,
        bias: true,
    };
    let residual = |layers| LayerSpec::Residual { layers };
    let deep = (0..5).fold(LayerSpec::Identity {}, |inner, _| residual(vec![inner]));
    let cases = [
        (2, vec![], "no_layers"),
        (2, vec![residual(vec![])], "no_layers"),
        (2, vec![LayerSpec::Identity {}; 257], "too_many_layers"),
        (2, vec![deep], "nesting_too_deep"),
        (1, vec![LayerSpec::Identity {}], "contract_rank"),
        (4, vec![LayerSpec::linear(4, 4)], "layer_rank"),
        (2, vec![LayerSpec::Attention { channels: 4, heads: 2, causal: false }], "layer_rank"),
        (2, vec![LayerSpec::linear(5, 4)], "layer_channels"),
        (2, vec![LayerSpec::linear(4, 5)], "output_channels"),
        (2, vec![LayerSpec::linear(4, 0), LayerSpec::linear(0, 4)], "out_of_range"),
        (4, vec![conv([3, 0], 1)], "out_of_range"),
        (4, vec![conv([1, 1], 3)], "not_divisor"),
        (4, vec![conv([1, 1], 0)], "not_divisor"),
        (3, vec![LayerSpec::Attention { channels: 4, heads: 0, causal: false }], "not_divisor"),
        (4, vec![residual(vec![conv([0, 0], 1)])], "residual_shape"),
        (2, vec![residual(vec![LayerSpec::linear(4, 5)])], "residual_shape"),
        (2, vec![LayerSpec::linear(4, 1 << 16), LayerSpec::linear(1 << 16, 1 << 16)], "output_channels"),
    ];
    for (rank, layers, reason) in cases {
        let got = manifest(SlotContract::f32(rank, 4, 4), layers.clone()).map_err(|error| error.reason());
        assert_eq!(got, Err(reason), "{layers:?}");
    }
    let wide = SlotContract::f32(2, 1 << 16, 1 << 16);
    let got = manifest(wide, vec![LayerSpec::linear(1 << 16, 1 << 16)]).map_err(|error| error.reason());
    assert_eq!(got, Err("too_many_parameters"));
}

fn manifest(contract: SlotContract, layers: Vec<LayerSpec>) -> Result<Manifest, ManifestError> {
    Manifest::new(BlueprintId::new("bp-1").unwrap(), contract, layers)
}
