//! Follows values back from the sinks.

use std::collections::{BTreeMap, BTreeSet};

use syn::{
    Arm, Block, Expr, ExprCall, ExprClosure, ExprMethodCall, ExprStruct, ImplItemFn, Item, ItemFn, ItemImpl, Lit,
    Local, Macro, Member, Pat, ReturnType, Signature, Stmt, Token, TraitItemFn, punctuated::Punctuated, visit::Visit,
};

use super::{
    Declared, Found, Source,
    declared::{
        NAMES, associated, closure, closure_parameters, function, is_test, key, last_name, method, name_of, parameters,
    },
};

/// What the sinks get, and the parameters that turn out to be sinks too.
pub(crate) fn follow(sources: &[Source], declared: &Declared) -> (Found, BTreeSet<(String, usize)>) {
    let (mut found, mut discovered) = (Found::default(), BTreeSet::new());
    for source in sources {
        let mut visitor = Visitor {
            declared,
            source,
            found: &mut found,
            discovered: &mut discovered,
            type_name: None,
            frames: Vec::new(),
            answered: BTreeSet::new(),
        };
        visitor.visit_file(&source.syntax);
    }
    (found, discovered)
}

/// A function or a closure that is being looked at.
struct Frame {
    key: Option<String>,
    parameters: Vec<Option<String>>,
    lets: BTreeMap<String, Expr>,
}

struct Visitor<'a> {
    declared: &'a Declared,
    source: &'a Source,
    found: &'a mut Found,
    discovered: &'a mut BTreeSet<(String, usize)>,
    type_name: Option<String>,
    frames: Vec<Frame>,
    /// The variants for which a method `reason` has another answer than `self.into()`.
    answered: BTreeSet<String>,
}

impl Visitor<'_> {
    /// The literals that a value can be.
    fn flow(&mut self, value: &Expr) {
        match value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => self.reason(&text.value()),
                _ => self.unclear("a literal that is not text"),
            },
            Expr::Match(choice) => choice.arms.iter().for_each(|arm| self.flow(&arm.body)),
            Expr::If(choice) => {
                self.flow_block(&choice.then_branch);
                choice.else_branch.iter().for_each(|(_, otherwise)| self.flow(otherwise));
            }
            Expr::Block(block) => self.flow_block(&block.block),
            Expr::Paren(inner) => self.flow(&inner.expr),
            Expr::Group(inner) => self.flow(&inner.expr),
            Expr::Reference(inner) => self.flow(&inner.expr),
            Expr::Unary(inner) => self.flow(&inner.expr),
            Expr::Return(inner) => inner.expr.iter().for_each(|value| self.flow(value)),
            Expr::Closure(inner) => self.flow(&inner.body),
            Expr::Field(field) => {
                if !matches!(&field.member, Member::Named(name) if NAMES.iter().any(|known| name == known)) {
                    self.unclear("a field with another name");
                }
            }
            Expr::Path(path) => self.flow_path(&path.path),
            Expr::Call(call) => {
                let some = matches!(&*call.func, Expr::Path(path) if path.path.is_ident("Some"));
                if some { call.args.iter().for_each(|value| self.flow(value)) } else { self.unclear("a call") }
            }
            Expr::MethodCall(call) => self.flow_method(call),
            _ => self.unclear("an expression"),
        }
    }

    fn flow_block(&mut self, block: &Block) {
        match block.stmts.last() {
            Some(Stmt::Expr(value, _)) => self.flow(value),
            _ => self.unclear("a block without a value"),
        }
    }

    fn flow_path(&mut self, path: &syn::Path) {
        let Some(name) = path.segments.last().map(|segment| segment.ident.to_string()) else { return };
        if name == "None" {
            return;
        }
        if let Some(text) = self.declared.constants.get(&name).cloned() {
            return self.reason(&text);
        }
        for at in (0..self.frames.len()).rev() {
            // Taken out meanwhile: `let reason = reason.clone();` is about an earlier one.
            if let Some(value) = self.frames[at].lets.remove(&name) {
                self.flow(&value);
                self.frames[at].lets.insert(name, value);
                return;
            }
            let frame = &self.frames[at];
            if let Some(place) = frame.parameters.iter().position(|parameter| parameter.as_ref() == Some(&name)) {
                match &frame.key {
                    Some(key) => drop(self.discovered.insert((key.clone(), place))),
                    None if NAMES.contains(&name.as_str()) => {}
                    None => self.unclear("a parameter of a closure without a name"),
                }
                return;
            }
        }
        // Bound by a pattern: the field or the pair that it is taken from is a sink.
        if !NAMES.contains(&name.as_str()) {
            self.unclear(&format!("the variable {name}"));
        }
    }

    fn flow_method(&mut self, call: &ExprMethodCall) {
        match call.method.to_string().as_str() {
            "reason" => {}
            "into" if matches!(&*call.receiver, Expr::Path(path) if path.path.is_ident("self")) => {
                let name = self.type_name.clone().unwrap_or_default();
                match self.declared.enums.get(&function(self.source, &name)) {
                    Some(names) => {
                        let own = names.iter().filter(|(variant, _)| !self.answered.contains(variant));
                        own.map(|(_, name)| name.clone()).collect::<Vec<_>>().iter().for_each(|name| self.reason(name));
                    }
                    None => self.unclear("an enum without names"),
                }
            }
            "to_owned" | "to_string" | "clone" | "as_str" | "into" => self.flow(&call.receiver),
            "map_or" | "map_or_else" | "unwrap_or" | "unwrap_or_else" => {
                call.args.iter().for_each(|value| self.flow(value));
            }
            _ => self.unclear("a method call"),
        }
    }

    fn reason(&mut self, text: &str) {
        self.found.reasons.entry(text.to_owned()).or_default().insert(self.source.path.clone());
    }

    fn unclear(&mut self, what: &str) {
        let within = self.frames.iter().rev().find_map(|frame| frame.key.clone()).unwrap_or_default();
        self.found.unclear.insert(format!("{}: {what} as a reason, in {within}", self.source.path));
    }

    fn arguments<'e>(&mut self, keys: &[String], arguments: impl Iterator<Item = &'e Expr>) {
        for (place, argument) in arguments.enumerate() {
            if keys.iter().any(|key| self.declared.sinks.contains(&(key.clone(), place))) {
                self.flow(argument);
            }
        }
    }

    fn within(&mut self, key: Option<String>, parameters: Vec<Option<String>>, visit: impl FnOnce(&mut Self)) {
        self.frames.push(Frame { key, parameters, lets: BTreeMap::new() });
        visit(self);
        self.frames.pop();
    }

    fn body(&mut self, signature: &Signature, block: &Block) {
        let is_text =
            matches!(&signature.output, ReturnType::Type(_, ty) if last_name(ty).is_some_and(|name| name == "str"));
        if signature.ident == "reason" && signature.receiver().is_some() && is_text {
            let mut answers = Answers::default();
            answers.visit_block(block);
            self.answered = answers.0;
            self.flow_block(block);
        }
    }
}

/// The variants that a method `reason` names in patterns, unless the answer for them is `self.into()`.
#[derive(Default)]
struct Answers(BTreeSet<String>);

impl<'ast> Visit<'ast> for Answers {
    fn visit_arm(&mut self, arm: &'ast Arm) {
        if !matches!(&*arm.body, Expr::MethodCall(call) if call.method == "into") {
            syn::visit::visit_arm(self, arm);
        }
    }

    fn visit_pat_tuple_struct(&mut self, pattern: &'ast syn::PatTupleStruct) {
        self.0.extend(pattern.path.segments.last().map(|last| last.ident.to_string()));
    }

    fn visit_pat_struct(&mut self, pattern: &'ast syn::PatStruct) {
        self.0.extend(pattern.path.segments.last().map(|last| last.ident.to_string()));
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
        if is_test(&item.attrs) {
            return;
        }
        self.within(Some(key(self.source, None, &item.sig)), parameters(&item.sig), |visitor| {
            syn::visit::visit_item_fn(visitor, item);
        });
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        let key = key(self.source, self.type_name.as_deref(), &item.sig);
        self.within(Some(key), parameters(&item.sig), |visitor| {
            syn::visit::visit_impl_item_fn(visitor, item);
            visitor.body(&item.sig, &item.block);
        });
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        self.within(Some(method(&item.sig.ident.to_string())), parameters(&item.sig), |visitor| {
            syn::visit::visit_trait_item_fn(visitor, item);
            item.default.iter().for_each(|block| visitor.body(&item.sig, block));
        });
    }

    fn visit_local(&mut self, local: &'ast Local) {
        let Some(init) = &local.init else { return };
        if let (Some(name), Expr::Closure(body)) = (name_of(&local.pat), &*init.expr) {
            self.within(Some(closure(self.source, &name)), closure_parameters(body), |visitor| {
                visitor.visit_expr(&body.body);
            });
            return;
        }
        if let Some(frame) = self.frames.last_mut() {
            match (&local.pat, &*init.expr) {
                (Pat::Tuple(names), Expr::Tuple(values)) => {
                    let pairs = names.elems.iter().zip(&values.elems);
                    frame.lets.extend(pairs.filter_map(|(pattern, value)| Some((name_of(pattern)?, value.clone()))));
                }
                (pattern, value) => {
                    frame.lets.extend(name_of(pattern).map(|name| (name, value.clone())));
                }
            }
        }
        syn::visit::visit_local(self, local);
    }

    fn visit_expr_closure(&mut self, closure: &'ast ExprClosure) {
        self.within(None, closure_parameters(closure), |visitor| visitor.visit_expr(&closure.body));
    }

    fn visit_expr_struct(&mut self, literal: &'ast ExprStruct) {
        for field in &literal.fields {
            if matches!(&field.member, Member::Named(name) if NAMES.iter().any(|known| name == known)) {
                self.flow(&field.expr);
            }
        }
        syn::visit::visit_expr_struct(self, literal);
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        if let Expr::Path(path) = &*call.func {
            let names: Vec<_> = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            if let Some((name, before)) = names.split_last() {
                let mut keys = vec![function(self.source, name), closure(self.source, name)];
                let own = self.type_name.as_deref().unwrap_or_default();
                keys.extend(before.last().map(|owner| associated(if owner == "Self" { own } else { owner }, name)));
                self.arguments(&keys, call.args.iter());
                // A pair of a reason and a detail, on its way to a fault.
                if name == "Err"
                    && let Some(Expr::Tuple(pair)) = call.args.first()
                    && let Some(first @ Expr::Lit(_)) = pair.elems.first()
                {
                    self.flow(first);
                }
            }
        }
        syn::visit::visit_expr_call(self, call);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        self.arguments(&[method(&call.method.to_string())], call.args.iter());
        let attribute = call.args.first().filter(|_| call.method == "with");
        if let Some(Expr::Lit(literal)) = attribute
            && matches!(&literal.lit, Lit::Str(name) if name.value() == "reason")
        {
            call.args.iter().skip(1).for_each(|value| self.flow(value));
        }
        syn::visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        if let Ok(arguments) = called.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated) {
            arguments.iter().for_each(|argument| self.visit_expr(argument));
        }
    }
}
