// @generated from proto/leyline.proto by `cargo xtask codegen`. Do not edit.

use super::schema::{Child, Schema, Value};

/// The field of a command's annotations.
pub(super) const ANNOTATIONS: u32 = 20;

/// The field of a command's id.
pub(super) const COMMAND_ID: u32 = 2;

/// The field of a command's time of issue.
pub(super) const ISSUED_AT: u32 = 6;

/// `esper.leyline.v1.AdaptationCommand`
pub(super) static ADAPTATION_COMMAND: Schema = Schema(&[
    Child::Unknown,
    Child::Varint, // 1 version
    Child::Text, // 2 command_id
    Child::Varint, // 3 command_type
    Child::Text, // 4 target_seed_id
    Child::Varint, // 5 execution_deadline_ms
    Child::Plain(&TIMESTAMP), // 6 issued_at
    Child::Text, // 7 issued_by
    Child::Unknown,
    Child::Unknown,
    Child::Message(&COMMAND_SEED_OPERATION), // 10 seed_operation
    Child::Message(&COMMAND_OPTIMIZER_ADJUSTMENT), // 11 optimizer_adjustment
    Child::Plain(&COMMAND_CIRCUIT_BREAKER), // 12 circuit_breaker
    Child::Message(&STRUCT), // 13 rollback_payload
    Child::Unknown,
    Child::Unknown,
    Child::Unknown,
    Child::Unknown,
    Child::Unknown,
    Child::Unknown,
    Child::Map(Value::Text), // 20 annotations
]);

/// `esper.leyline.v1.BlendConfig`
static BLEND_CONFIG: Schema = Schema(&[
    Child::Unknown,
    Child::Varint, // 1 mode
    Child::Text, // 2 source
    Child::Fixed32, // 3 gate_k
    Child::Fixed32, // 4 gate_tau
    Child::Fixed32, // 5 alpha_lo
    Child::Fixed32, // 6 alpha_hi
    Child::Floats, // 7 alpha_vec
]);

/// `esper.leyline.v1.CommandCircuitBreaker`
static COMMAND_CIRCUIT_BREAKER: Schema = Schema(&[
    Child::Unknown,
    Child::Varint, // 1 desired_state
    Child::Text, // 2 rationale
]);

/// `esper.leyline.v1.CommandOptimizerAdjustment`
static COMMAND_OPTIMIZER_ADJUSTMENT: Schema = Schema(&[
    Child::Unknown,
    Child::Text, // 1 optimizer_id
    Child::Map(Value::Float), // 2 hyperparameters
]);

/// `esper.leyline.v1.CommandSeedOperation`
static COMMAND_SEED_OPERATION: Schema = Schema(&[
    Child::Unknown,
    Child::Varint, // 1 operation
    Child::Text, // 2 blueprint_id
    Child::Map(Value::Float), // 3 parameters
    Child::Unknown,
    Child::Unknown,
    Child::Unknown,
    Child::Unknown,
    Child::Unknown,
    Child::Unknown,
    Child::Plain(&BLEND_CONFIG), // 10 blend
]);

/// `google.protobuf.ListValue`
static LIST_VALUE: Schema = Schema(&[
    Child::Unknown,
    Child::Message(&VALUE), // 1 values
]);

/// `google.protobuf.Struct`
static STRUCT: Schema = Schema(&[
    Child::Unknown,
    Child::Map(Value::Message(&VALUE)), // 1 fields
]);

/// `google.protobuf.Timestamp`
static TIMESTAMP: Schema = Schema(&[
    Child::Unknown,
    Child::Varint, // 1 seconds
    Child::Varint, // 2 nanos
]);

/// `google.protobuf.Value`
static VALUE: Schema = Schema(&[
    Child::Unknown,
    Child::Varint, // 1 null_value
    Child::Fixed64, // 2 number_value
    Child::Text, // 3 string_value
    Child::Varint, // 4 bool_value
    Child::Message(&STRUCT), // 5 struct_value
    Child::Message(&LIST_VALUE), // 6 list_value
]);
