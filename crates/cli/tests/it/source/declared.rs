//! What the sources declare: functions that take a reason, constants, and enums with names.

use std::collections::{BTreeMap, BTreeSet};

use syn::{
    Expr, ExprClosure, FnArg, ImplItemFn, Item, ItemConst, ItemEnum, ItemFn, ItemImpl, Lit, LitStr, Local, Meta, Pat,
    Signature, Token, TraitItemFn, Type, punctuated::Punctuated, visit::Visit,
};

use super::Source;

/// Names of parameters and fields whose values are reasons.
pub(crate) const NAMES: [&str; 2] = ["reason", "why"];

/// What is known before any value is followed.
#[derive(Default)]
pub(crate) struct Declared {
    /// A callee, and the place of its argument that is a reason.
    pub(crate) sinks: BTreeSet<(String, usize)>,
    /// Constants by their last name.
    pub(crate) constants: BTreeMap<String, String>,
    /// The variants of enums that become static strings, with their names, by crate and enum.
    pub(crate) enums: BTreeMap<String, Vec<(String, String)>>,
}

impl Declared {
    pub(crate) fn of(sources: &[Source]) -> Self {
        let mut declared = Self::default();
        for source in sources {
            let mut visitor = Visitor { declared: &mut declared, source, type_name: None };
            visitor.visit_file(&source.syntax);
        }
        declared
    }
}

/// How a callee is looked up: methods by name everywhere, associated functions by type, functions by crate, closures by file.
pub(crate) fn method(name: &str) -> String {
    format!(".{name}")
}

pub(crate) fn associated(type_name: &str, name: &str) -> String {
    format!("{type_name}::{name}")
}

pub(crate) fn function(source: &Source, name: &str) -> String {
    format!("{}/{name}", source.package)
}

pub(crate) fn closure(source: &Source, name: &str) -> String {
    format!("{}#{name}", source.path)
}

/// The key of a function in an impl of `type_name`, or of a free one.
pub(crate) fn key(source: &Source, type_name: Option<&str>, signature: &Signature) -> String {
    let name = signature.ident.to_string();
    match type_name {
        Some(_) if signature.receiver().is_some() => method(&name),
        Some(type_name) => associated(type_name, &name),
        None => function(source, &name),
    }
}

/// The parameters of a function without `self`; `None` for a pattern.
pub(crate) fn parameters(signature: &Signature) -> Vec<Option<String>> {
    let typed = signature.inputs.iter().filter_map(|input| match input {
        FnArg::Receiver(_) => None,
        FnArg::Typed(typed) => Some(name_of(&typed.pat).filter(|_| is_text(&typed.ty))),
    });
    typed.collect()
}

pub(crate) fn closure_parameters(closure: &ExprClosure) -> Vec<Option<String>> {
    closure.inputs.iter().map(name_of).collect()
}

/// The name that a simple pattern binds, typed or not.
pub(crate) fn name_of(pattern: &Pat) -> Option<String> {
    match pattern {
        Pat::Ident(ident) => Some(ident.ident.to_string()),
        Pat::Type(typed) => name_of(&typed.pat),
        _ => None,
    }
}

/// The last name of a type, without references.
pub(crate) fn last_name(ty: &Type) -> Option<String> {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        Type::Reference(reference) => last_name(&reference.elem),
        _ => None,
    }
}

pub(crate) fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && matches!(&attribute.meta, Meta::List(list) if list.tokens.to_string() == "test")
    })
}

fn is_text(ty: &Type) -> bool {
    last_name(ty).is_some_and(|name| name == "str" || name == "String")
}

struct Visitor<'a> {
    declared: &'a mut Declared,
    source: &'a Source,
    type_name: Option<String>,
}

impl Visitor<'_> {
    fn sinks(&mut self, key: &str, parameters: &[Option<String>]) {
        let reasons =
            parameters.iter().enumerate().filter(|(_, name)| name.as_deref().is_some_and(|name| NAMES.contains(&name)));
        self.declared.sinks.extend(reasons.map(|(place, _)| (key.to_owned(), place)));
    }

    fn constant(&mut self, name: &syn::Ident, value: &Expr) {
        if let Expr::Lit(literal) = value
            && let Lit::Str(text) = &literal.lit
        {
            self.declared.constants.insert(name.to_string(), text.value());
        }
    }
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if let Item::Mod(module) = item
            && is_test(&module.attrs)
        {
            return;
        }
        syn::visit::visit_item(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let outer = std::mem::replace(&mut self.type_name, last_name(&item.self_ty));
        syn::visit::visit_item_impl(self, item);
        self.type_name = outer;
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.sinks(&key(self.source, None, &item.sig), &parameters(&item.sig));
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.sinks(&key(self.source, self.type_name.as_deref(), &item.sig), &parameters(&item.sig));
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        self.sinks(&method(&item.sig.ident.to_string()), &parameters(&item.sig));
        syn::visit::visit_trait_item_fn(self, item);
    }

    fn visit_local(&mut self, local: &'ast Local) {
        if let (Some(name), Some(init)) = (name_of(&local.pat), &local.init)
            && let Expr::Closure(body) = &*init.expr
        {
            self.sinks(&closure(self.source, &name), &closure_parameters(body));
        }
        syn::visit::visit_local(self, local);
    }

    fn visit_item_const(&mut self, item: &'ast ItemConst) {
        self.constant(&item.ident, &item.expr);
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.constant(&item.ident, &item.expr);
    }

    fn visit_item_enum(&mut self, item: &'ast ItemEnum) {
        let derived = item.attrs.iter().filter(|attribute| attribute.path().is_ident("derive"));
        let mut paths = derived.filter_map(|attribute| {
            attribute.parse_args_with(Punctuated::<syn::Path, Token![,]>::parse_terminated).ok()
        });
        if paths.any(|paths| {
            paths.iter().any(|path| path.segments.last().is_some_and(|last| last.ident == "IntoStaticStr"))
        }) {
            let snake_case = strum(&item.attrs, "serialize_all").is_some_and(|case| case == "snake_case");
            let names = item.variants.iter().map(|variant| {
                let plain = variant.ident.to_string();
                let named = if snake_case { in_snake_case(&plain) } else { plain.clone() };
                (plain, strum(&variant.attrs, "serialize").unwrap_or(named))
            });
            self.declared.enums.insert(function(self.source, &item.ident.to_string()), names.collect());
        }
    }
}

/// The text of `#[strum(key = "text")]`.
fn strum(attributes: &[syn::Attribute], key: &str) -> Option<String> {
    let mut text = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("strum")) {
        let parsed = attribute.parse_nested_meta(|meta| {
            let value: LitStr = meta.value()?.parse()?;
            if meta.path.is_ident(key) {
                text = Some(value.value());
            }
            Ok(())
        });
        // An attribute without a value has no name for us.
        drop(parsed);
    }
    text
}

fn in_snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}
