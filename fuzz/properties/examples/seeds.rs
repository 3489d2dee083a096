//! Writes the first inputs of every fuzz target to `fuzz/corpus`: recorded commands, real artifacts, manifests, journals,
//! entries, and a few streams of choices. `cargo run -p fuzz-properties --example seeds`; files of other names stay.
#![allow(clippy::unwrap_used, reason = "a tool of one run: what goes wrong is shown")]

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use kasmina_kernel_load::{Activation, Initialisation, LayerSpec, Manifest, SlotContract, initialise};
use kasmina_leyline::{
    BlueprintId,
    v1::{self, BlendMode, BusEnvelope, BusMessageType},
};
use kasmina_rollback::{Journal, Store, doubles::conformance::one_of_each};
use prost::Message;

const ANNOTATIONS: [(&str, &str); 12] = [
    ("empty", ""),
    ("convex", "blend_mode=convex\nblend_mode_source=tamiyo"),
    ("residual", "blend_mode= Residual \nalpha_schedule=linear\nalpha_total_steps:=7"),
    ("channel", "blend_mode=CHANNEL\nalpha_vec=[0.25, 0.5, 1]\nalpha_vec_len=3\nmax:=4"),
    ("channel-commas", "blend_mode=CHANNEL\nalpha_vec=0.1,0.2, 1e-3\nalpha_schedule=cosine\ndefault:=3"),
    ("channel-too-long", "blend_mode=CHANNEL\nalpha_vec=0,0,0\nmax:=2"),
    ("confidence", "blend_mode=confidence\ngate_k=2\ngate_tau=0.5\nalpha_lo=0.75\nalpha_hi=0.25"),
    ("confidence-nan", "blend_mode=CONFIDENCE\ngate_k=NaN\ngate_tau=inf\nalpha_lo=-0\nalpha_hi=1e0"),
    ("sigmoid", "alpha_schedule=sigmoid\nalpha_total_steps:=16777216\nalpha_temperature:=0.125"),
    ("sigmoid-flat", "alpha_total_steps:=100\nalpha_temperature:=3e38"),
    ("sigmoid-steep", "alpha_total_steps:=101\nalpha_temperature:=1e-45"),
    ("endless", "alpha_schedule=linear\ndefault:=18446744073709551615\nmax:=0"),
];

fn main() {
    for (name, text) in ANNOTATIONS {
        put("annotations", name, text.as_bytes());
    }
    fields();
    commands();
    artifacts();
    stores();
    entries();
    for (target, kinds) in
        [("command", &[1][..]), ("artifact", &[2]), ("grown", &[1, 2]), ("journal", &[1, 2, 3]), ("entry", &[1, 2])]
    {
        for kind in kinds {
            for stream in 0..16 / kinds.len() as u64 {
                put(target, &format!("choices-{kind}-{stream}"), &tagged(*kind, &choices(stream)));
            }
        }
    }
}

/// Typed fields behind annotations that agree with them or do not.
fn fields() {
    let field = |mode: BlendMode| v1::BlendConfig { mode: mode.into(), ..v1::BlendConfig::default() };
    let source = || Some("urza".to_owned());
    let gate = v1::BlendConfig { gate_k: Some(2.0), alpha_hi: Some(0.25), ..field(BlendMode::Confidence) };
    let inverted = v1::BlendConfig { alpha_lo: Some(0.75), gate_tau: Some(0.0), source: source(), ..gate.clone() };
    let channel = v1::BlendConfig { alpha_vec: vec![0.0, 0.5, 1.0], ..field(BlendMode::Channel) };
    for (name, text, field) in [
        ("typed", "blend_mode_source=tamiyo", field(BlendMode::Residual)),
        ("typed-agrees", "blend_mode=confidence\ngate_k=2\nalpha_hi=0.25", gate),
        ("typed-conflict", "blend_mode=CONVEX\ngate_k=3\nblend_mode_source=tamiyo", inverted),
        ("typed-channel", "blend_mode=CHANNEL\nalpha_vec=0,0.5,1\nalpha_vec_len=3\nmax:=3", channel.clone()),
        ("typed-too-long", "max:=2", channel),
        ("typed-nan", "", v1::BlendConfig { gate_tau: Some(f32::NAN), ..field(BlendMode::Convex) }),
        ("typed-unspecified", "blend_mode=RESIDUAL", field(BlendMode::Unspecified)),
    ] {
        put("annotations", name, &[text.as_bytes(), &[0], &field.encode_to_vec()].concat());
    }
}

fn commands() {
    let text = fs::read_to_string(root().join("../crates/security/tests/data/signed_commands.json")).unwrap();
    let vectors: serde_json::Value = serde_json::from_str(&text).unwrap();
    for vector in vectors.as_array().unwrap().iter().step_by(6) {
        let field = |key: &str| vector[key].as_str().unwrap();
        put("command", field("name"), &tagged(0, &STANDARD.decode(field("wire")).unwrap()));
    }
}

fn artifacts() {
    let inner =
        vec![LayerSpec::Attention { channels: 2, heads: 2, causal: false }, LayerSpec::Activation(Activation::Tanh)];
    let low_rank = LayerSpec::LowRank { channels_in: 2, channels_out: 3, rank: 1 };
    let squeeze = LayerSpec::SqueezeExcite { channels: 2, hidden: 1 };
    let kernels = [
        ("identity", 2, vec![LayerSpec::Identity {}], 2),
        ("mlp", 2, vec![LayerSpec::LayerNorm { channels: 2 }, LayerSpec::linear(2, 3), LayerSpec::linear(3, 2)], 2),
        ("attention", 3, vec![LayerSpec::Residual { layers: inner }, low_rank], 3),
        (
            "conv",
            4,
            vec![
                LayerSpec::depthwise(2, 3),
                LayerSpec::GroupNorm { channels: 2, groups: 1 },
                squeeze,
                LayerSpec::pointwise(2, 1),
            ],
            1,
        ),
    ];
    for (name, rank, layers, channels_out) in kernels {
        let blueprint = BlueprintId::new(name).unwrap();
        let manifest = Manifest::new(blueprint, SlotContract::f32(rank, 2, channels_out), layers).unwrap();
        let artifact = initialise(&manifest, &Initialisation { seed: 7, zero_last: rank == 3 }).unwrap();
        put("artifact", name, &tagged(0, &artifact));
        put("artifact", &format!("{name}-manifest"), &tagged(1, manifest.canonical().as_bytes()));
    }
}

/// Envelopes as each kind of sender makes them. The first byte of the rest is the stream, the second the time at which they are read.
fn entries() {
    let envelope = |message_type: BusMessageType, attributes: &[(&str, &str)]| {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        BusEnvelope { message_type: message_type.into(), payload: b"what it carries".to_vec(), attributes }
    };
    let sent = ("sent_at_ms", "1789999999000");
    let stamped =
        [("issued_at_ms", "1789999990000"), sent, ("message_id", "a-1"), ("priority", "MESSAGE_PRIORITY_LOW")];
    for (name, envelope) in [
        ("unstamped", envelope(BusMessageType::AdaptationCommand, &[])),
        ("stamped", envelope(BusMessageType::KernelPrefetchReady, &stamped)),
        ("stale", envelope(BusMessageType::Telemetry, &[("issued_at_ms", "1780000000000")])),
        ("future", envelope(BusMessageType::Telemetry, &[sent, ("issued_at_ms", "1790000999000")])),
        ("illegible", envelope(BusMessageType::FieldReport, &[("priority", "URGENT")])),
        ("typeless", envelope(BusMessageType::Unspecified, &[])),
    ] {
        for (when, at) in [("now", 0), ("late", 2)] {
            put("entry", &format!("{name}-{when}"), &tagged(0, &[&[1, at][..], &envelope.encode_to_vec()].concat()));
        }
    }
    put(
        "entry",
        "emergency",
        &tagged(0, &[&[0, 0][..], &envelope(BusMessageType::Telemetry, &[]).encode_to_vec()].concat()),
    );
}

fn stores() {
    let entries = one_of_each();
    for (number, entry) in entries.iter().enumerate() {
        put("journal", &format!("entry-{number}"), &tagged(4, &entry.encode().unwrap()));
    }
    let directory = tempfile::tempdir().unwrap();
    let bytes = || fs::read(directory.path().join("journal")).unwrap();
    let mut journal = Store::open(directory.path()).unwrap().journal;
    put("journal", "journal-empty", &tagged(0, &bytes()));
    journal.append(&entries[..2]).unwrap();
    put("journal", "journal-one", &tagged(0, &bytes()));
    journal.append(&entries[2..]).unwrap();
    put("journal", "journal-two", &tagged(0, &bytes()));
    put("journal", "journal-torn", &tagged(0, &bytes()[..bytes().len() - 9]));
    let mut hole = bytes();
    let end = hole.len();
    hole[end - 60..].fill(0);
    put("journal", "journal-hole", &tagged(0, &hole));
}

/// A stream of bytes of no meaning, the same every time.
fn choices(stream: u64) -> Vec<u8> {
    let mut state = stream.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..96).map(|_| next()).collect()
}

fn tagged(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind][..], bytes].concat()
}

fn put(target: &str, name: &str, bytes: &[u8]) {
    let directory = root().join("corpus").join(target);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(name), bytes).unwrap();
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
