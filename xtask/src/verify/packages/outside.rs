//! Which files a source names that the compiler reads with it.

use std::path::{Component, Path};

use syn::{
    Attribute, Expr, ItemConst, ItemFn, ItemMod, ItemStruct, Lit, Macro, Meta, parse::Error, visit, visit::Visit,
};

/// The macros that read a file.
const READERS: [&str; 3] = ["include", "include_bytes", "include_str"];

/// The files that `source`, which is in `file`, names in macros and attributes, as paths from the package's root. What only tests and
/// the tests of documentation compile is left out: they run in here, and no package has them.
///
/// A path that is not a plain string is given as the text of the macro, which is no file of any package.
pub(super) fn named(file: &str, source: &str) -> Result<Vec<String>, Error> {
    let mut reader = Reader { file, named: Vec::new() };
    reader.visit_file(&syn::parse_file(source)?);
    Ok(reader.named)
}

struct Reader<'a> {
    file: &'a str,
    named: Vec<String>,
}

impl Reader<'_> {
    fn name(&mut self, path: &str) {
        let directory = Path::new(self.file).parent().unwrap_or(Path::new(""));
        let mut parts: Vec<&str> = Vec::new();
        let joined = directory.join(path);
        for component in joined.components() {
            match component {
                Component::ParentDir if parts.last().is_some_and(|part| *part != "..") => drop(parts.pop()),
                Component::CurDir => {}
                Component::ParentDir | Component::Normal(_) | Component::RootDir | Component::Prefix(_) => {
                    parts.extend(component.as_os_str().to_str());
                }
            }
        }
        self.named.push(parts.join("/"));
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_struct(&mut self, item: &'ast ItemStruct) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_struct(self, item);
        }
    }

    fn visit_item_const(&mut self, item: &'ast ItemConst) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_const(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::NameValue(pair) = &attribute.meta
            && pair.path.is_ident("path")
            && let Expr::Lit(literal) = &pair.value
            && let Lit::Str(path) = &literal.lit
        {
            self.name(&path.value());
        }
        visit::visit_attribute(self, attribute);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        let name = call.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        let text = call.tokens.to_string();
        if READERS.contains(&name.as_str()) {
            match call.parse_body::<syn::LitStr>() {
                Ok(path) => self.name(&path.value()),
                Err(_) => self.named.push(format!("{name}!({text})")),
            }
        } else if READERS.iter().any(|reader| text.contains(&format!("{reader} !")))
            || text.contains("CARGO_MANIFEST_DIR")
        {
            self.named.push(format!("{name}!({text})"));
        }
        visit::visit_macro(self, call);
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    let is = |attribute: &Attribute| {
        let Meta::List(list) = &attribute.meta else { return false };
        list.path.is_ident("cfg") && matches!(list.tokens.to_string().as_str(), "test" | "doctest")
    };
    attributes.iter().any(is)
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn files_are_named_from_the_root_of_the_package() {
        let source = r#"
            #![doc = include_str!("../README.md")]
            #[path = "parts/one.rs"]
            mod one;
            const HERE: &str = include_str!("./words.md");
            fn far() -> &'static [u8] { include_bytes!("../../../data/digits.csv") }
        "#;
        let expected = ["README.md", "src/parts/one.rs", "src/words.md", "../../data/digits.csv"];
        assert_eq!(named("src/lib.rs", source).unwrap(), expected);
    }

    #[test]
    fn what_only_tests_compile_is_left_out() {
        let source = r#"
            #[cfg(doctest)]
            #[doc = include_str!("../../../README.md")]
            struct Readme;
            #[cfg(test)]
            mod tests { const VECTORS: &str = include_str!("../../vectors.json"); }
        "#;
        assert_eq!(named("src/lib.rs", source).unwrap(), [""; 0]);
    }

    #[test]
    fn a_path_that_is_computed_is_no_file() {
        let source = r#"
            const A: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../a"));
            fn b() { println!("{}", include_str!("../../b")); }
            const C: &str = env!("CARGO_MANIFEST_DIR");
        "#;
        let named = named("src/lib.rs", source).unwrap();
        assert_eq!(named.len(), 3, "{named:?}");
        assert!(named.iter().all(|name| name.contains("!(")), "{named:?}");
    }
}
