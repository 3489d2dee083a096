//! Writes what `crates/leyline` takes from `proto/leyline.proto`, in pure Rust: protox parses, prost-build prints the
//! bindings, and [`schema`] prints where the messages of a signed command have their maps.
//!
//! `xtask-codegen` writes; `xtask-codegen --check` only compares and exits with 1 when a file is stale.

mod schema;

use std::{error::Error, fs, path::Path, process::ExitCode};

use prost_build::{Config, Module};

const BANNER: &str = "// @generated from proto/leyline.proto by `cargo xtask codegen`. Do not edit.\n";
const PACKAGE: &str = "esper.leyline.v1";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let check = std::env::args().any(|argument| argument == "--check");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let descriptors = protox::compile(["leyline.proto"], [root.join("proto")])?;
    let fields = schema::print(&descriptors, &format!("{PACKAGE}.AdaptationCommand"))?;
    let files = [("crates/leyline/src/v1.rs", bindings(descriptors)?), ("crates/leyline/src/wire/fields.rs", fields)];
    let mut stale = false;
    for (name, code) in files {
        let (path, fresh) = (root.join(name), format!("{BANNER}{code}"));
        if !check {
            fs::write(path, fresh)?;
            println!("wrote {name}");
        } else if fs::read_to_string(path).unwrap_or_default() != fresh {
            eprintln!("{name} is stale: run `cargo xtask codegen` and commit it");
            stale = true;
        }
    }
    Ok(ExitCode::from(u8::from(stale)))
}

fn bindings(descriptors: prost_types::FileDescriptorSet) -> Result<String, Box<dyn Error>> {
    let mut config = Config::new();
    config.btree_map(["."]);
    // By name and not all at once, because a oneof counts as an enum there and its messages do not derive serde.
    for file in descriptors.file.iter().filter(|file| file.package() == PACKAGE) {
        for named in &file.enum_type {
            let path = format!(".{PACKAGE}.{}", named.name());
            config.enum_attribute(path, "#[derive(::serde::Serialize, ::serde::Deserialize)]");
        }
    }
    let files =
        descriptors.file.into_iter().map(|file| (Module::from_protobuf_package_name(file.package()), file)).collect();
    let mut modules = config.generate(files)?;
    modules
        .remove(&Module::from_protobuf_package_name(PACKAGE))
        .ok_or_else(|| format!("proto/leyline.proto has no package {PACKAGE}").into())
}
