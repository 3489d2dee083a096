// @generated from proto/leyline.proto by `cargo xtask codegen`. Do not edit.

use super::schema::{Child, Schema, Value};

/// The field of a command's annotations.
pub(super) const ANNOTATIONS: u32 = 20;

/// `esper.leyline.v1.AdaptationCommand`
pub(super) static ADAPTATION_COMMAND: Schema = Schema(&[
    (10, Child::Message(&COMMAND_SEED_OPERATION)), // seed_operation
    (11, Child::Message(&COMMAND_OPTIMIZER_ADJUSTMENT)), // optimizer_adjustment
    (13, Child::Message(&STRUCT)), // rollback_payload
    (20, Child::Map(Value::Text)), // annotations
]);

/// `esper.leyline.v1.CommandOptimizerAdjustment`
static COMMAND_OPTIMIZER_ADJUSTMENT: Schema = Schema(&[
    (2, Child::Map(Value::Float)), // hyperparameters
]);

/// `esper.leyline.v1.CommandSeedOperation`
static COMMAND_SEED_OPERATION: Schema = Schema(&[
    (3, Child::Map(Value::Float)), // parameters
]);

/// `google.protobuf.ListValue`
static LIST_VALUE: Schema = Schema(&[
    (1, Child::Message(&VALUE)), // values
]);

/// `google.protobuf.Struct`
static STRUCT: Schema = Schema(&[
    (1, Child::Map(Value::Message(&VALUE))), // fields
]);

/// `google.protobuf.Value`
static VALUE: Schema = Schema(&[
    (5, Child::Message(&STRUCT)), // struct_value
    (6, Child::Message(&LIST_VALUE)), // list_value
]);
