//! The fields of a signed message, at any depth: the tables of `kasmina_leyline::wire`.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt::Write,
};

use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

/// A field that leads to a message or a map.
struct Known<'a> {
    field: &'a FieldDescriptorProto,
    child: Child<'a>,
}

enum Child<'a> {
    Message(&'a str),
    Map(&'a FieldDescriptorProto),
}

/// The tables as Rust, for the message `root` (with its package) and every message below it.
///
/// # Errors
/// A map that the walk cannot put into a canonical order: one without string keys, a second one in a message, or one with
/// values of a type that it does not know. A field of a type that the walk does not know.
pub(crate) fn print(descriptors: &FileDescriptorSet, root: &str) -> Result<String, Box<dyn Error>> {
    let messages: BTreeMap<String, &DescriptorProto> = descriptors
        .file
        .iter()
        .flat_map(|file| {
            file.message_type.iter().map(|message| (format!("{}.{}", file.package(), message.name()), message))
        })
        .collect();
    let known = |name: &str| -> Vec<Known<'_>> {
        messages
            .get(name)
            .map(|message| message.field.iter().filter_map(|field| known(message, field)).collect())
            .unwrap_or_default()
    };
    let reached = reachable(root, known);
    let mapped = with_maps(&reached, known);

    let mut out = String::from("\nuse super::schema::{Child, Schema, Value};\n");
    let message = messages.get(root).ok_or_else(|| format!("there is no message {root}"))?;
    for (name, what) in [
        ("annotations", "The field of a command's annotations."),
        ("command_id", "The field of a command's id."),
        ("issued_at", "The field of a command's time of issue."),
    ] {
        let field = message.field.iter().find(|field| field.name() == name).ok_or_else(|| format!("no {name}"))?;
        let (constant, number) = (name.to_ascii_uppercase(), field.number());
        write!(out, "\n/// {what}\npub(super) const {constant}: u32 = {number};\n")?;
    }
    for name in &reached {
        let message = messages.get(name).ok_or_else(|| format!("there is no message {name}"))?;
        let visibility = if name == root { "pub(super) " } else { "" };
        write!(out, "\n/// `{name}`\n{visibility}static {}: Schema = Schema(&[\n", constant(name))?;
        let maps = known(name).iter().filter(|known| matches!(known.child, Child::Map(_))).count();
        if maps > 1 {
            return Err(format!("{name} has {maps} maps, and the walk expects at most one in a message").into());
        }
        for number in 0..=message.field.iter().map(FieldDescriptorProto::number).max().unwrap_or_default() {
            match message.field.iter().find(|field| field.number() == number) {
                None => writeln!(out, "    Child::Unknown,")?,
                Some(field) => {
                    let child = child(name, field, known, &mapped)?;
                    writeln!(out, "    {child}, // {number} {}", field.name())?;
                }
            }
        }
        out.push_str("]);\n");
    }
    Ok(out)
}

fn child<'a>(
    message: &str,
    field: &'a FieldDescriptorProto,
    known: impl Fn(&str) -> Vec<Known<'a>>,
    mapped: &BTreeSet<String>,
) -> Result<String, Box<dyn Error>> {
    let leads = known(message).into_iter().find(|known| known.field.number() == field.number());
    match leads.map(|known| known.child) {
        Some(Child::Map(entry)) => {
            Ok(format!("Child::Map({})", value(entry, mapped).ok_or_else(|| unknown_map(message, field))?))
        }
        Some(Child::Message(inner)) => {
            let entered = if mapped.contains(inner) { "Message" } else { "Plain" };
            Ok(format!("Child::{entered}(&{})", constant(inner)))
        }
        None => Ok(format!("Child::{}", scalar(field).ok_or_else(|| unknown_field(message, field))?)),
    }
}

fn scalar(field: &FieldDescriptorProto) -> Option<&'static str> {
    match (field.r#type(), field.label()) {
        (Type::Float, Label::Repeated) => Some("Floats"),
        (_, Label::Repeated) => None,
        (Type::Uint32 | Type::Uint64 | Type::Int32 | Type::Int64 | Type::Bool | Type::Enum, _) => Some("Varint"),
        (Type::Float, _) => Some("Fixed32"),
        (Type::Double, _) => Some("Fixed64"),
        (Type::String, _) => Some("Text"),
        _ => None,
    }
}

fn known<'a>(message: &'a DescriptorProto, field: &'a FieldDescriptorProto) -> Option<Known<'a>> {
    if field.r#type() != Type::Message {
        return None;
    }
    let name = field.type_name().trim_start_matches('.');
    let entry = message.nested_type.iter().find(|nested| {
        field.label() == Label::Repeated
            && nested.options.as_ref().is_some_and(|options| options.map_entry())
            && name.ends_with(&format!(".{}", nested.name()))
    });
    let child = match entry {
        None => Child::Message(name),
        Some(entry) => {
            let part = |number| entry.field.iter().find(|field| field.number() == number);
            // A map that is not keyed by text has no order that all senders agree on: its value is not looked at.
            let keyed_by_text = part(1).is_some_and(|key| key.r#type() == Type::String);
            Child::Map(if keyed_by_text { part(2)? } else { part(1)? })
        }
    };
    Some(Known { field, child })
}

fn value(entry: &FieldDescriptorProto, mapped: &BTreeSet<String>) -> Option<String> {
    if entry.number() != 2 {
        return None;
    }
    #[expect(clippy::wildcard_enum_match_arm, reason = "the walk knows three types of protobuf's eighteen")]
    match entry.r#type() {
        Type::String => Some("Value::Text".to_owned()),
        Type::Float => Some("Value::Float".to_owned()),
        Type::Message => {
            let inner = entry.type_name().trim_start_matches('.');
            mapped.contains(inner).then(|| format!("Value::Message(&{})", constant(inner)))
        }
        _ => None,
    }
}

fn unknown_map(message: &str, field: &FieldDescriptorProto) -> String {
    format!(
        "{message}.{} is a map that the walk cannot order: it must have string keys, and text, float or map-bearing values",
        field.name()
    )
}

fn unknown_field(message: &str, field: &FieldDescriptorProto) -> String {
    format!(
        "{message}.{} has a type that the walk does not know: see `Child` in crates/leyline/src/wire/schema.rs",
        field.name()
    )
}

fn reachable<'a>(root: &str, known: impl Fn(&str) -> Vec<Known<'a>>) -> BTreeSet<String> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![root.to_owned()]);
    while let Some(name) = open.pop() {
        open.extend(known(&name).iter().filter_map(|known| below(known).map(str::to_owned)));
        if !reached.insert(name) {
            // Its children were put on the list before: they are in it, or will be.
            open.retain(|name| !reached.contains(name));
        }
    }
    reached
}

/// Those of `reached` that hold a map, or a message that does.
fn with_maps<'a>(reached: &BTreeSet<String>, known: impl Fn(&str) -> Vec<Known<'a>>) -> BTreeSet<String> {
    let mut mapped = BTreeSet::new();
    loop {
        let holds = |name: &&String| {
            known(name).iter().any(|known| {
                matches!(known.child, Child::Map(_)) || below(known).is_some_and(|inner| mapped.contains(inner))
            })
        };
        let next: BTreeSet<String> = reached.iter().filter(holds).cloned().collect();
        if next.len() == mapped.len() {
            return next;
        }
        mapped = next;
    }
}

/// The message that a field leads to.
fn below<'a>(known: &Known<'a>) -> Option<&'a str> {
    match known.child {
        Child::Message(name) => Some(name),
        Child::Map(entry) => (entry.r#type() == Type::Message).then(|| entry.type_name().trim_start_matches('.')),
    }
}

/// `esper.leyline.v1.CommandSeedOperation` as `COMMAND_SEED_OPERATION`.
fn constant(name: &str) -> String {
    let mut out = String::new();
    for letter in name.rsplit('.').next().unwrap_or_default().chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_uppercase());
    }
    out
}
