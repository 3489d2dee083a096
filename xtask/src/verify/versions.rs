//! Whether docs/VERSIONS.md names the versions that the code and the manifests have.

use std::fs;

use cargo_metadata::{Metadata, Package};

use crate::{failure::Failure, workspace};

const DOCUMENT: &str = "docs/VERSIONS.md";

/// A row of the document's table of files.
#[derive(Debug, PartialEq)]
struct Format<'a> {
    version: &'a str,
    constant: &'a str,
    /// Where the constant is, from the workspace's root.
    file: &'a str,
}

pub(super) fn check(metadata: &Metadata) -> Result<(), Failure> {
    let read = |name: &str| {
        let path = workspace::root().join(name);
        fs::read_to_string(&path).map_err(Failure::file("read", &path))
    };
    let document = read(DOCUMENT)?;
    let mut found = Vec::new();
    let formats = formats(&document);
    if formats.is_empty() {
        found.push("has no table of files".to_owned());
    }
    for format in formats {
        if !defines(&read(format.file)?, &format) {
            let Format { version, constant, file } = format;
            found.push(format!("says that {constant} in {file} is {version}, which it is not"));
        }
    }
    let promised = metadata.workspace_packages().into_iter().flat_map(promised);
    found.extend(promised.filter(|text| !document.contains(text)).map(|text| format!("does not say {text}")));
    found.sort();
    found.dedup();
    for line in &found {
        println!("  {DOCUMENT}: {line}");
    }
    if found.is_empty() { Ok(()) } else { Err(Failure::Workspace(format!("{} things to change", found.len()))) }
}

/// The rows `| what | version | `CONSTANT` in `FILE` | .. |`.
fn formats(document: &str) -> Vec<Format<'_>> {
    let row = |line| {
        let mut cells = str::split(line, '|').map(str::trim).skip(2);
        let (version, place) = (cells.next()?, cells.next()?);
        let (constant, file) = place.split_once("` in `")?;
        Some(Format { version, constant: constant.strip_prefix('`')?, file: file.strip_suffix('`')? })
    };
    document.lines().filter_map(row).collect()
}

/// Whether a source has the constant with this value.
fn defines(source: &str, format: &Format<'_>) -> bool {
    let value = |line: &str| {
        let (name, value) = line.trim().split_once("const ")?.1.split_once(": ")?;
        let (_, value) = value.split_once(" = ")?;
        (name == format.constant).then(|| value.trim_end_matches(';').to_owned())
    };
    source.lines().find_map(value).as_deref() == Some(format.version)
}

/// What the document says of a package's minimum Rust and of its Burn.
fn promised(package: &Package) -> impl Iterator<Item = String> {
    let rust = package.rust_version.iter().map(|rust| format!("**{}.{}**", rust.major, rust.minor));
    let burn = package.dependencies.iter().filter(|it| it.name == "burn").map(|it| format!("`{}`", it.req));
    rust.chain(burn)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "| what | version | where it is written | other |\n|---|---|---|---|\n\
                            | artifacts | 3 | `FORMAT_VERSION` in `crates/a/src/b.rs` | `refused` |\n";

    #[test]
    fn rows_of_formats_are_read_and_headings_are_not() {
        let expected = Format { version: "3", constant: "FORMAT_VERSION", file: "crates/a/src/b.rs" };
        assert_eq!(formats(DOCUMENT), [expected]);
    }

    #[test]
    fn another_value_or_another_name_is_a_difference() {
        let format = &formats(DOCUMENT)[0];
        assert!(defines("/// The version.\npub const FORMAT_VERSION: u32 = 3;\n", format));
        assert!(!defines("pub const FORMAT_VERSION: u32 = 33;\n", format));
        assert!(!defines("pub const OTHER_VERSION: u32 = 3;\nconst NAME: &str = \"FORMAT_VERSION\";\n", format));
    }
}
