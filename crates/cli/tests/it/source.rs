//! Finds the machine-readable reasons in source code.
//!
//! A *sink* is a place whose value is a reason: the result of a method `reason`, a field or a parameter called `reason` or `why`, and
//! the attribute `reason` of an event. The scan follows each value back to the literals that it can be. A parameter that flows into a
//! sink is a sink itself, under whatever name. If a value cannot be followed, the scan says where: write it in another way, or teach
//! the scan the new one.

#![expect(clippy::wildcard_enum_match_arm, reason = "the enums of syn are open")]

mod declared;
mod flow;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

pub(crate) use declared::Declared;

/// What a scan found.
#[derive(Default, Debug)]
pub(crate) struct Found {
    /// Each reason, and the files that it is in.
    pub(crate) reasons: BTreeMap<String, BTreeSet<String>>,
    /// Values that could not be followed to a literal.
    pub(crate) unclear: BTreeSet<String>,
}

/// One file of a crate.
pub(crate) struct Source {
    /// The crate, because free functions and enums are looked up by crate.
    pub(crate) package: String,
    pub(crate) path: String,
    pub(crate) syntax: syn::File,
}

impl Source {
    pub(crate) fn parse(package: &str, path: &str, text: &str) -> Self {
        let syntax = syn::parse_file(text).expect(path);
        Self { package: package.to_owned(), path: path.to_owned(), syntax }
    }
}

/// The sources of all crates, without tests and doubles.
pub(crate) fn workspace() -> Vec<Source> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut sources = Vec::new();
    for package in entries(&crates) {
        let name = package.file_name().unwrap().to_string_lossy().into_owned();
        for file in rust_files(&package.join("src")) {
            let path = file.strip_prefix(&crates).unwrap().to_string_lossy().into_owned();
            sources.push(Source::parse(&name, &path, &fs::read_to_string(&file).unwrap()));
        }
    }
    sources
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in entries(directory) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if ["doubles", "conformance", "tests"].contains(&name.as_str()) || name.ends_with("_tests") {
            continue;
        }
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let Ok(listing) = fs::read_dir(directory) else { return Vec::new() };
    let mut entries: Vec<_> = listing.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

/// The reasons in these sources.
pub(crate) fn scan(sources: &[Source]) -> Found {
    let mut declared = Declared::of(sources);
    loop {
        let (found, discovered) = flow::follow(sources, &declared);
        let known = declared.sinks.len();
        declared.sinks.extend(discovered);
        if declared.sinks.len() == known {
            return found;
        }
    }
}

#[test]
fn every_way_to_give_a_reason_is_found() {
    let text = r#"
        #[derive(strum::IntoStaticStr)]
        pub enum Named {
            #[strum(serialize = "by_attribute")] A { at: u8 },
            Delegated(#[from] Other),
            #[strum(serialize = "by_arm_into")] B { at: u8 },
            C { other: Other },
        }
        impl Named { pub fn reason(&self) -> &'static str { 
            if let Self::Delegated(o) = self { o.reason() } else { match self { Self::B { .. } => self.into(), Self::C { other } => other.reason(), _ => self.into() } }
        } }
        #[derive(Clone, strum::IntoStaticStr)]
        #[strum(serialize_all = "snake_case")]
        pub enum Cause { ByVariant(u32) }
        impl Cause { pub fn reason(self) -> &'static str { self.into() } }
        impl Other {
            const CONSTANT: &'static str = "by_constant";
            pub const fn reason(&self) -> &'static str {
                match self { Self::X | Self::Y { .. } => "by_arm", Self::Z(inner) => inner.reason, Self::V => Self::CONSTANT }
            }
        }
        impl Finding {
            pub fn refuse(reason: &'static str) -> Self { Self { reason: Some(reason) } }
            pub fn renamed(cause: &'static str) -> Self { Self { reason: Some(cause) } }
            pub fn own() -> Self { Self::refuse("by_self_call") }
        }
        fn refuse_if(wrong: bool, reason: &'static str) -> Result<(), Finding> { Err(Finding::refuse(reason)) }
        fn through(first: u8, word: &'static str) -> Finding { Finding::renamed(word) }
        fn judge(x: bool) {
            let about = |reason| Finding::refuse(reason).with("x", x);
            let typed = |count: u64, reason: &'static str| refuse_if(count > 0, reason);
            about("by_closure"); typed(1, "by_typed_closure");
            refuse_if(x, "by_function").unwrap_or_else(|| refuse_if(x, "by_nested"));
            Finding::renamed("by_renamed_parameter"); through(1, "by_two_steps");
            let why = if x { "by_if" } else { "by_else" };
            self.cull(id, why);
            self.cull(id, "by_method");
            let (reason, detail) = ("by_tuple", 1);
            faults.push(vec![Fault { reason, detail }, Fault { reason: "by_field", detail }]);
            Event::new(X).with("reason", "by_event").with("other", "not_a_reason");
            Err::<(), _>(("by_error_pair", "x".to_string()))
        }
        impl Draft { fn cull(&mut self, id: &Id, why: &'static str) { self.emit(Event::Culled { why }) } }
        #[cfg(test)]
        mod tests { fn test() { Finding::refuse("in_a_test"); } }
    "#;
    let found = scan(&[Source::parse("x", "x/src/lib.rs", text)]);
    let reasons: Vec<_> = found.reasons.keys().map(String::as_str).collect();
    let expected = [
        "by_arm",
        "by_arm_into",
        "by_attribute",
        "by_closure",
        "by_constant",
        "by_else",
        "by_error_pair",
        "by_event",
        "by_field",
        "by_function",
        "by_if",
        "by_method",
        "by_nested",
        "by_renamed_parameter",
        "by_self_call",
        "by_tuple",
        "by_two_steps",
        "by_typed_closure",
        "by_variant",
    ];
    assert_eq!(reasons, expected, "{found:?}");
    assert_eq!(found.unclear.len(), 0, "{found:?}");
}

#[test]
fn value_that_cannot_be_followed_is_named() {
    let text = "fn f() { let fault = Fault { reason: table[3], slot }; Finding::refuse(name()); }
        impl Finding { fn refuse(reason: &'static str) -> Self { todo() } }";
    let found = scan(&[Source::parse("x", "x/src/lib.rs", text)]);
    assert_eq!((found.reasons.len(), found.unclear.len()), (0, 2), "{found:?}");
}
