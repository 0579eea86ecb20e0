//! Reads one source into facts: paths, code lines, functions, test code. It judges nothing.
//! Paths are read from tokens, so that those inside macros and attribute strings are seen too.
use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use std::{collections::BTreeSet, ops::RangeInclusive};
use syn::{spanned::Spanned, visit::Visit};

pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// `a::b::c` as written, wherever it stands; a `use` with groups gives one for each leaf.
pub(crate) struct Named {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    /// The module it is written in, from the top: `["web", "listen", "tests"]`.
    pub(crate) within: Vec<String>,
    pub(crate) published: bool,
    pub(crate) called_bare: bool,
}

pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) lines: RangeInclusive<usize>,
}

#[derive(Default)]
pub(crate) struct Reading {
    pub(crate) named: Vec<Named>,
    /// Single words a rule may ban, with their line: identifiers, `name!` for a macro, `.name(` for a method's call, `#[path]`.
    pub(crate) words: Vec<(String, usize)>,
    pub(crate) code: BTreeSet<usize>,
    pub(crate) tests: Vec<RangeInclusive<usize>>,
    pub(crate) functions: Vec<Function>,
    /// `mod x;` declared here, by full module path, and whether only tests see it.
    pub(crate) declared: Vec<(Vec<String>, bool)>,
    /// Lines of items that are not `mod x;`.
    pub(crate) items: Vec<usize>,
}

impl Reading {
    pub(crate) fn is_test(&self, line: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&line))
    }
}

/// The module a file holds, from the top; `main` stands for the binary, `lib` for the library's root.
pub(crate) fn module_path(path: &str) -> Vec<String> {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    let mut parts: Vec<String> = inner.trim_end_matches(".rs").split('/').map(String::from).collect();
    if parts.len() > 1 && parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

pub(crate) fn read(source: &Source) -> Result<Reading, syn::Error> {
    let file = syn::parse_file(&source.text)?;
    let tokens: TokenStream = source.text.parse()?;
    let mut walk = Walk { within: module_path(&source.path), fixed: None, reading: Reading::default() };
    if walk.within == ["lib"] {
        walk.within.clear();
    }
    walk.tokens(tokens);
    let mut reading = walk.reading;
    let mut functions = Functions(Vec::new());
    functions.visit_file(&file);
    reading.functions = functions.0;
    let declares = |item: &&syn::Item| matches!(item, syn::Item::Mod(module) if module.content.is_none());
    reading.items = file.items.iter().filter(|item| !declares(item)).map(|item| item.span().start().line).collect();
    Ok(reading)
}

struct Functions(Vec<Function>);

impl Functions {
    fn note(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let lines = signature.span().start().line..=block.span().end().line;
        self.0.push(Function { name: signature.ident.to_string(), lines });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.note(&function.sig, &function.block);
        syn::visit::visit_item_fn(self, function);
    }
    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.note(&function.sig, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }
    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.note(&function.sig, block);
        }
        syn::visit::visit_trait_item_fn(self, function);
    }
}

struct Walk {
    within: Vec<String>,
    /// The line of an attribute whose string is being read: the string's own tokens start at line 1 again.
    fixed: Option<usize>,
    reading: Reading,
}

impl Walk {
    fn tokens(&mut self, tokens: TokenStream) {
        let trees: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < trees.len() {
            at = self.step(&trees, at);
        }
    }

    fn step(&mut self, trees: &[TokenTree], at: usize) -> usize {
        if let Some((attribute, inner, next)) = attribute(trees, at) {
            if word(&attribute.stream().into_iter().collect::<Vec<_>>(), 0).is_none_or(|name| name != "doc") {
                self.mark(trees[at].span());
                self.attribute(&attribute, trees, next, inner);
            }
            return next;
        }
        match &trees[at] {
            TokenTree::Group(group) => {
                self.mark(group.span_open());
                self.mark(group.span_close());
                self.tokens(group.stream());
                at + 1
            }
            TokenTree::Ident(_) => self.ident(trees, at),
            other => {
                self.mark(other.span());
                at + 1
            }
        }
    }

    /// Reads an attribute's inside, and finds how far the test code reaches that it announces.
    fn attribute(&mut self, attribute: &Group, trees: &[TokenTree], next: usize, inner: bool) {
        let inside: Vec<TokenTree> = attribute.stream().into_iter().collect();
        let line = self.line(attribute.span());
        self.mark(attribute.span());
        if announces_test(&inside) {
            let rest = &trees[next..];
            let ends = |tree: &TokenTree| punct(tree, ';') || brace(tree).is_some();
            let end = if inner { rest.last() } else { rest.iter().find(|tree| ends(tree)).or(rest.last()) };
            self.reading.tests.push(line..=end.map_or(line, |tree| tree.span().end().line));
        }
        if word(&inside, 0).is_some_and(|name| name == "path") {
            self.reading.words.push(("#[path]".into(), line));
        }
        self.strings(attribute.stream(), line);
        self.tokens(attribute.stream());
    }

    /// `#[serde(with = "crate::…")]`: a path in a string is a path.
    fn strings(&mut self, tokens: TokenStream, line: usize) {
        for tree in tokens {
            match tree {
                TokenTree::Group(group) => self.strings(group.stream(), line),
                TokenTree::Literal(literal) => {
                    let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) else {
                        continue;
                    };
                    let Ok(path) = syn::parse_str::<syn::Path>(&text.value()) else {
                        continue;
                    };
                    let outer = self.fixed.replace(line);
                    if path.segments.len() > 1 {
                        self.tokens(text.value().parse().unwrap_or_default());
                    }
                    self.fixed = outer;
                }
                _ => {}
            }
        }
    }

    fn ident(&mut self, trees: &[TokenTree], at: usize) -> usize {
        let span = trees[at].span();
        let name = trees[at].to_string();
        let line = self.line(span);
        self.mark(span);
        match (name.as_str(), trees.get(at + 1), trees.get(at + 2)) {
            ("mod", Some(TokenTree::Ident(module)), Some(TokenTree::Group(body))) => {
                self.mark(body.span_open());
                self.mark(body.span_close());
                self.within.push(module.to_string());
                self.tokens(body.stream());
                self.within.pop();
                at + 3
            }
            ("mod", Some(TokenTree::Ident(module)), Some(end)) if punct(end, ';') => {
                let mut path = self.within.clone();
                path.push(module.to_string());
                self.reading.declared.push((path, self.reading.is_test(line)));
                at + 3
            }
            ("use", Some(_), _) | ("extern", Some(TokenTree::Ident(_)), _) => {
                let published = at > 0 && (is_pub(&trees[at - 1]) || at > 1 && is_pub(&trees[at - 2]));
                let start = if name == "use" { at + 1 } else { at + 2 };
                let end = trees[start..].iter().position(|tree| punct(tree, ';')).map_or(trees.len(), |n| start + n);
                if name == "use" || trees[at + 1].to_string() == "crate" {
                    trees[start..end].iter().for_each(|tree| self.mark_deep(tree));
                    self.leaves(&trees[start..end], &[], published);
                    return end;
                }
                at + 1
            }
            _ => self.path(trees, at, line),
        }
    }

    /// A path in an expression, a type, a visibility or a macro's tokens.
    fn path(&mut self, trees: &[TokenTree], at: usize, line: usize) -> usize {
        let called = |next: usize| trees.get(next).is_some_and(|tree| group(tree, Delimiter::Parenthesis).is_some());
        let dotted = at > 0 && punct(&trees[at - 1], '.') && called(at + 1);
        let name = trees[at].to_string();
        let shouted = trees.get(at + 1).is_some_and(|tree| punct(tree, '!'));
        self.reading.words.push(match (dotted, shouted) {
            (true, _) => (format!(".{name}("), line),
            (_, true) => (format!("{name}!"), line),
            _ => (name.clone(), line),
        });
        let mut segments = vec![name];
        let mut next = at + 1;
        while colons(trees, next) {
            self.mark(trees[next].span());
            match trees.get(next + 2) {
                Some(TokenTree::Ident(ident)) => {
                    self.mark(ident.span());
                    self.reading.words.push((ident.to_string(), self.line(ident.span())));
                    segments.push(ident.to_string());
                    next += 3;
                }
                _ => break,
            }
        }
        if segments.len() > 1 {
            let arguments = past_turbofish(trees, next);
            let bare = trees.get(arguments).and_then(|tree| group(tree, Delimiter::Parenthesis));
            let called_bare = bare.is_some_and(|group| group.stream().is_empty());
            self.note(segments, line, false, called_bare);
        }
        next
    }

    /// Every leaf of a use tree, with the path that leads to it.
    fn leaves(&mut self, trees: &[TokenTree], prefix: &[String], published: bool) {
        for branch in trees.split(|tree| punct(tree, ',')) {
            let mut segments = prefix.to_vec();
            let mut line = None;
            let mut grouped = false;
            for tree in branch {
                line.get_or_insert(self.line(tree.span()));
                match tree {
                    TokenTree::Ident(ident) if ident == "as" => break,
                    TokenTree::Ident(ident) => {
                        self.reading.words.push((ident.to_string(), self.line(ident.span())));
                        segments.push(ident.to_string());
                    }
                    TokenTree::Group(group) => {
                        grouped = true;
                        let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                        self.leaves(&inside, &segments, published);
                    }
                    tree if punct(tree, '*') => segments.push("*".into()),
                    _ => {}
                }
            }
            if let (Some(line), false) = (line, grouped) {
                self.note(segments, line, published, false);
            }
        }
    }

    fn note(&mut self, segments: Vec<String>, line: usize, published: bool, called_bare: bool) {
        self.reading.named.push(Named { segments, line, within: self.within.clone(), published, called_bare });
    }

    fn line(&self, span: Span) -> usize {
        self.fixed.unwrap_or(span.start().line)
    }

    fn mark(&mut self, span: Span) {
        if self.fixed.is_none() {
            self.reading.code.extend(span.start().line..=span.end().line);
        }
    }

    fn mark_deep(&mut self, tree: &TokenTree) {
        match tree {
            TokenTree::Group(group) => {
                self.mark(group.span_open());
                self.mark(group.span_close());
                group.stream().into_iter().for_each(|tree| self.mark_deep(&tree));
            }
            other => self.mark(other.span()),
        }
    }
}

/// `#[…]` or `#![…]` at this place: its group, whether it is an inner one, and the index after it.
fn attribute(trees: &[TokenTree], at: usize) -> Option<(Group, bool, usize)> {
    if !punct(&trees[at], '#') {
        return None;
    }
    let inner = trees.get(at + 1).is_some_and(|tree| punct(tree, '!'));
    let place = if inner { at + 2 } else { at + 1 };
    let group = group(trees.get(place)?, Delimiter::Bracket)?;
    Some((group.clone(), inner, place + 1))
}

/// `test`, `x::test`, `cfg(test)` or `cfg(all(test, …))`.
fn announces_test(inside: &[TokenTree]) -> bool {
    let grouped = |at: usize| match inside.get(at) {
        Some(TokenTree::Group(group)) => group.stream().into_iter().collect(),
        _ => Vec::new(),
    };
    match word(inside, 0).as_deref() {
        Some("cfg") | Some("all") => {
            grouped(1).split(|tree| punct(tree, ',')).any(|part| match word(part, 0).as_deref() {
                Some("all") => announces_test(part),
                Some("test") => part.len() == 1,
                _ => false,
            })
        }
        _ => {
            let plain = inside.iter().all(|tree| !punct(tree, '='));
            let last = inside.iter().rev().find(|tree| group(tree, Delimiter::Parenthesis).is_none());
            plain && last.is_some_and(|last| last.to_string() == "test")
        }
    }
}

fn past_turbofish(trees: &[TokenTree], at: usize) -> usize {
    if !colons(trees, at) || !trees.get(at + 2).is_some_and(|tree| punct(tree, '<')) {
        return at;
    }
    let mut depth = 0usize;
    for (place, tree) in trees.iter().enumerate().skip(at + 2) {
        if punct(tree, '<') {
            depth += 1;
        } else if punct(tree, '>') {
            depth -= 1;
            if depth == 0 {
                return place + 1;
            }
        }
    }
    at
}

fn colons(trees: &[TokenTree], at: usize) -> bool {
    trees.get(at).is_some_and(|tree| punct(tree, ':')) && trees.get(at + 1).is_some_and(|tree| punct(tree, ':'))
}

fn punct(tree: &TokenTree, wanted: char) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn word(trees: &[TokenTree], at: usize) -> Option<String> {
    match trees.get(at) {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
        _ => None,
    }
}

fn is_pub(tree: &TokenTree) -> bool {
    matches!(tree, TokenTree::Ident(ident) if ident == "pub")
}

fn brace(tree: &TokenTree) -> Option<&Group> {
    group(tree, Delimiter::Brace)
}

fn group(tree: &TokenTree, delimiter: Delimiter) -> Option<&Group> {
    match tree {
        TokenTree::Group(group) if group.delimiter() == delimiter => Some(group),
        _ => None,
    }
}
