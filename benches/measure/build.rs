//! Tells the crate which compiler makes it.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version =
        Command::new(rustc).arg("--version").output().map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
    let version = version.unwrap_or_else(|_| "rustc of an unknown version".to_owned());
    println!("cargo::rustc-env=KASMINA_MEASURE_RUSTC={}", version.trim());
}
