//! Reads the server's answers, whatever is in them.
//!
//! The library's own types for streams hold field names as UTF-8 strings, so that one entry with another name makes the
//! whole answer unreadable, the other entries in it included, each time it is read. Here a name is bytes.

use redis::{RedisError, Value};

use crate::{BrokerError, EntryId};

/// Names and values of an entry.
pub(super) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What an error of the library says about the server.
pub(super) fn broker_error(error: &RedisError) -> BrokerError {
    let detail = error.to_string();
    match error.code() {
        Some(code) => by_code(code, detail),
        None if error.is_io_error() => BrokerError::Unreachable { detail },
        None => BrokerError::Unexpected { detail },
    }
}

/// The error in an answer, if it is one.
pub(super) fn refusal(value: &Value) -> Option<BrokerError> {
    let Value::ServerError(error) = value else { return None };
    Some(by_code(error.code(), error.details().unwrap_or_default().to_owned()))
}

fn by_code(code: &str, detail: String) -> BrokerError {
    match code {
        "NOAUTH" | "WRONGPASS" => BrokerError::NotAuthenticated { detail },
        "NOPERM" => BrokerError::NoPermission { detail },
        "READONLY" => BrokerError::ReadOnly,
        "OOM" | "MISCONF" | "NOREPLICAS" => BrokerError::StoresNothing { detail: format!("{code} {detail}") },
        "LOADING" => BrokerError::Loading,
        "WRONGTYPE" => BrokerError::NotAStream,
        "NOGROUP" => BrokerError::NoGroup,
        _ => BrokerError::Unexpected { detail: format!("{code} {detail}") },
    }
}

/// Whether the answer is an error that begins with this code.
pub(super) fn is_error(value: &Value, wanted: &str) -> bool {
    matches!(value, Value::ServerError(error) if error.code() == wanted)
}

pub(super) fn array(value: Value) -> Option<Vec<Value>> {
    if let Value::Array(values) = value { Some(values) } else { None }
}

pub(super) fn bytes(value: Value) -> Option<Vec<u8>> {
    if let Value::BulkString(bytes) = value { Some(bytes) } else { None }
}

pub(super) fn entry_id(value: Value) -> Option<EntryId> {
    EntryId::parse(&bytes(value)?)
}

pub(super) fn count(value: &Value) -> Option<u64> {
    if let Value::Int(count) = value { u64::try_from(*count).ok() } else { None }
}

/// Entries, as XREADGROUP and XAUTOCLAIM list them. Fields that are gone are `None`; servers before 7.0 list entries
/// that are gone as nil, which are left out.
pub(super) fn entries(value: Value) -> Option<Vec<(EntryId, Option<Fields>)>> {
    let listed = array(value)?.into_iter().filter(|value| *value != Value::Nil);
    listed.map(|value| entry(array(value)?)).collect()
}

fn entry(parts: Vec<Value>) -> Option<(EntryId, Option<Fields>)> {
    let mut parts = parts.into_iter();
    let id = entry_id(parts.next()?)?;
    let Some(flat) = parts.next().and_then(array) else { return Some((id, None)) };
    let mut flat = flat.into_iter();
    let mut fields = Vec::with_capacity(flat.len() / 2);
    while let Some(name) = flat.next() {
        fields.push((bytes(name)?, bytes(flat.next()?)?));
    }
    Some((id, Some(fields)))
}

/// The streams of an XREADGROUP by name, each with its entries. Nil is none.
pub(super) fn streams(value: Value) -> Option<Vec<(Vec<u8>, Value)>> {
    if value == Value::Nil {
        return Some(Vec::new());
    }
    let stream = |value: Value| {
        let mut parts = array(value)?.into_iter();
        Some((bytes(parts.next()?)?, parts.next()?))
    };
    array(value)?.into_iter().map(stream).collect()
}
