//! The bytes of a message: protobuf, version 1.
//!
//! Hashes that follow from the content are not sent, so that no message can name a wrong one.

mod decode;
mod encode;

pub(super) use self::{
    decode::{decode, decode_plan},
    encode::{encode, encode_plan},
};

const VERSION: u32 = 1;
const GROUP_BYTES: usize = 8;

#[derive(Clone, PartialEq, prost::Message)]
struct WireMessage {
    #[prost(uint32, tag = "1")]
    version: u32,
    /// The first bytes of the group's hash.
    #[prost(bytes = "vec", tag = "2")]
    group: Vec<u8>,
    #[prost(uint32, tag = "3")]
    kind: u32,
    #[prost(uint64, tag = "4")]
    era: u64,
    #[prost(uint64, tag = "5")]
    step: u64,
    #[prost(uint64, tag = "6")]
    token: u64,
    #[prost(uint32, tag = "7")]
    worker: u32,
    #[prost(bytes = "vec", tag = "8")]
    hash: Vec<u8>,
    #[prost(bytes = "vec", tag = "9")]
    signature: Vec<u8>,
    #[prost(message, optional, tag = "10")]
    promise: Option<WirePromise>,
    #[prost(message, optional, tag = "11")]
    report: Option<WireReport>,
    #[prost(message, optional, tag = "12")]
    plan: Option<WirePlan>,
    #[prost(message, repeated, tag = "13")]
    promises: Vec<WirePromise>,
    #[prost(message, optional, tag = "14")]
    certificate: Option<WireCertificate>,
}

/// A promise. Within a list it has its worker and signature; on its own the message has them.
#[derive(Clone, PartialEq, prost::Message)]
struct WirePromise {
    #[prost(uint32, tag = "1")]
    worker: u32,
    #[prost(bytes = "vec", tag = "2")]
    signature: Vec<u8>,
    #[prost(uint32, tag = "3")]
    holder: u32,
    #[prost(bytes = "vec", tag = "4")]
    report: Vec<u8>,
    #[prost(sfixed64, tag = "5")]
    at_ns: i64,
    #[prost(uint64, repeated, tag = "6")]
    checkpoints: Vec<u64>,
    #[prost(uint64, tag = "7")]
    locked_token: u64,
    #[prost(bytes = "vec", tag = "8")]
    locked_hash: Vec<u8>,
    #[prost(bool, tag = "9")]
    present: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireReport {
    #[prost(bytes = "vec", tag = "1")]
    state: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    parameters: Vec<u8>,
    #[prost(float, repeated, tag = "3")]
    sketch: Vec<f32>,
    #[prost(message, repeated, tag = "4")]
    pending: Vec<WireOrder>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireOrder {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(sfixed64, tag = "2")]
    issued_at_ns: i64,
    #[prost(bytes = "vec", tag = "3")]
    bytes: Vec<u8>,
    #[prost(uint64, optional, tag = "4")]
    rollback_to: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WirePlan {
    #[prost(message, repeated, tag = "1")]
    orders: Vec<WireOrder>,
    #[prost(message, optional, tag = "2")]
    rollback: Option<WireRollback>,
    #[prost(uint64, tag = "3")]
    apply_at: u64,
    #[prost(sfixed64, tag = "4")]
    at_ns: i64,
    #[prost(uint64, tag = "5")]
    previous_era: u64,
    #[prost(uint64, tag = "6")]
    previous_step: u64,
    #[prost(bytes = "vec", tag = "7")]
    previous_hash: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireRollback {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(bool, tag = "3")]
    refused: bool,
    #[prost(uint32, repeated, tag = "4")]
    missing: Vec<u32>,
    #[prost(uint32, repeated, tag = "5")]
    without: Vec<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireCertificate {
    #[prost(uint32, tag = "1")]
    phase: u32,
    #[prost(uint64, tag = "2")]
    token: u64,
    #[prost(bytes = "vec", tag = "3")]
    hash: Vec<u8>,
    #[prost(uint32, repeated, tag = "4")]
    workers: Vec<u32>,
    /// 64 bytes for each of the workers.
    #[prost(bytes = "vec", tag = "5")]
    signatures: Vec<u8>,
}

const PROPOSE: u32 = 1;
const PREPARE: u32 = 2;
const VOTE: u32 = 3;
const LOCK: u32 = 4;
const ACCEPT: u32 = 5;
const COMMIT: u32 = 6;
const QUERY: u32 = 7;
