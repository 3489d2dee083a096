//! Where a signed message has string-keyed maps, at any depth: the tables of `kasmina_leyline::wire`.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt::Write,
};

use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

/// A field that the walk over the bytes has to know.
struct Known<'a> {
    field: &'a FieldDescriptorProto,
    child: Child<'a>,
}

enum Child<'a> {
    Message(&'a str),
    Map(&'a FieldDescriptorProto),
}

/// The tables as Rust, for the message `root` (with its package) and every message below it that holds a map.
///
/// # Errors
/// A map that the walk cannot put into a canonical order: one without string keys, a second one in a message, or one with
/// values of a type that it does not know.
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
    let annotations = message.field.iter().find(|field| field.name() == "annotations").ok_or("no annotations")?;
    write!(
        out,
        "\n/// The field of a command's annotations.\npub(super) const ANNOTATIONS: u32 = {};\n",
        annotations.number()
    )?;
    for name in mapped.iter() {
        let visibility = if name == root { "pub(super) " } else { "" };
        write!(out, "\n/// `{name}`\n{visibility}static {}: Schema = Schema(&[\n", constant(name))?;
        let mut maps = 0;
        for Known { field, child } in known(name) {
            let child = match child {
                Child::Message(inner) if mapped.contains(inner) => format!("Child::Message(&{})", constant(inner)),
                Child::Message(_) => continue,
                Child::Map(entry) => {
                    maps += 1;
                    format!("Child::Map({})", value(entry, &mapped).ok_or_else(|| unknown_map(name, field))?)
                }
            };
            writeln!(out, "    ({}, {child}), // {}", field.number(), field.name())?;
        }
        if maps > 1 {
            return Err(format!("{name} has {maps} maps, and the walk expects at most one in a message").into());
        }
        out.push_str("]);\n");
    }
    Ok(out)
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
