//! Writes `crates/leyline/src/v1.rs` from `proto/leyline.proto`, in pure Rust: protox parses, prost-build prints.
//!
//! `xtask-codegen` writes; `xtask-codegen --check` only compares and exits with 1 when the file is stale.

use std::{error::Error, fs, path::Path, process::ExitCode};

use prost_build::{Config, Module};

const BANNER: &str = "// @generated from proto/leyline.proto by `cargo xtask codegen`. Do not edit.\n";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let check = std::env::args().any(|argument| argument == "--check");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = root.join("crates/leyline/src/v1.rs");
    let fresh = generate(&root.join("proto"))?;

    if check {
        let stale = fs::read_to_string(&target).unwrap_or_default() != fresh;
        if stale {
            eprintln!("crates/leyline/src/v1.rs is stale: run `cargo xtask codegen` and commit it");
        }
        return Ok(ExitCode::from(u8::from(stale)));
    }
    fs::write(&target, fresh)?;
    println!("wrote crates/leyline/src/v1.rs");
    Ok(ExitCode::SUCCESS)
}

fn generate(proto: &Path) -> Result<String, Box<dyn Error>> {
    let descriptors = protox::compile(["leyline.proto"], [proto])?;
    let files =
        descriptors.file.into_iter().map(|file| (Module::from_protobuf_package_name(file.package()), file)).collect();
    let mut modules = Config::new().btree_map(["."]).generate(files)?;
    let code = modules
        .remove(&Module::from_protobuf_package_name("esper.leyline.v1"))
        .ok_or("proto/leyline.proto has no package esper.leyline.v1")?;
    Ok(format!("{BANNER}{code}"))
}
