//! The modules of one crate, and the names that each takes from the others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree, Visibility};

use super::graph::Graph;

/// One crate below `crates/`.
pub(super) struct Crate {
    /// Its package name.
    pub(super) package: String,
    /// Packages that it depends on, those of tests left out.
    pub(super) dependencies: Vec<String>,
    /// Its source files without tests.
    pub(super) files: Vec<SourceFile>,
    modules: BTreeMap<Vec<String>, usize>,
}

/// One file, which is one module.
pub(super) struct SourceFile {
    /// Its path below the crate.
    pub(super) name: String,
    module: Vec<String>,
    lines: usize,
    /// Names that `use` brings in, and the path behind each.
    aliases: BTreeMap<String, Vec<String>>,
    /// Modules whose names are all brought in.
    globs: Vec<Vec<String>>,
    /// Every path that the code names, re-exports left out.
    paths: BTreeSet<Vec<String>>,
}

impl SourceFile {
    /// The crate's top module that it belongs to; empty for the root.
    pub(super) fn room(&self) -> &str {
        self.module.first().map_or("", String::as_str)
    }
}

impl Crate {
    pub(super) fn read(folder: &Path) -> Result<Self, String> {
        let manifest: toml::Table = crate::read(&folder.join("Cargo.toml"))?
            .parse()
            .map_err(|e| format!("{}: {e}", folder.display()))?;
        let package = manifest["package"]["name"].as_str().unwrap_or_default().to_owned();
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
        let dependencies = dependencies.map_or(Vec::new(), |own| own.keys().cloned().collect());
        let mut krate = Self { package, dependencies, files: Vec::new(), modules: BTreeMap::new() };
        let roots = ["src/lib.rs", "src/main.rs"].map(|name| folder.join(name));
        if let Some(root) = roots.into_iter().find(|path| path.is_file()) {
            krate.read_module(folder, &root, Vec::new())?;
        }
        Ok(krate)
    }

    pub(super) fn lines(&self) -> usize {
        self.files.iter().map(|file| file.lines).sum()
    }

    /// Which file imports which.
    pub(super) fn imports(&self) -> Graph {
        let mut graph = Graph::new(self.files.len());
        for (from, file) in self.files.iter().enumerate() {
            for path in &file.paths {
                if let Some(to) = self.resolve(from, path, 0) {
                    graph.add(from, to);
                }
            }
        }
        graph
    }

    /// A line of who takes what from whom.
    pub(super) fn arrow(&self, from: usize, to: usize) -> String {
        let [of, at] = [from, to].map(|file| &self.files[file].name);
        format!("\n    {of} -> {at}: {}", self.names(from, to).join(", "))
    }

    /// The names that one file takes from another.
    fn names(&self, from: usize, to: usize) -> Vec<String> {
        let paths = self.files[from].paths.iter();
        let taken = paths.filter(|path| self.resolve(from, path, 0) == Some(to));
        let names = taken.map(|path| path.last().cloned().unwrap_or_default());
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The file that a path names something of; nothing for other crates and for local names.
    fn resolve(&self, from: usize, path: &[String], depth: usize) -> Option<usize> {
        let mut module = self.files[from].module.clone();
        let (first, mut rest) = path.split_first()?;
        match first.as_str() {
            "crate" => module.clear(),
            "self" => {}
            "super" => {
                module.pop()?;
                while rest.first().is_some_and(|own| own == "super") {
                    module.pop()?;
                    rest = &rest[1..];
                }
            }
            _ => return self.resolve_below(module, path, depth, true),
        }
        self.resolve_below(module, rest, depth, false)
    }

    /// Follows `path` down from `module`, through re-exports.
    fn resolve_below(
        &self,
        mut module: Vec<String>,
        path: &[String],
        depth: usize,
        must_be_known: bool,
    ) -> Option<usize> {
        let mut known = !must_be_known;
        for (at, name) in path.iter().enumerate() {
            let here = *self.modules.get(&module)?;
            let mut below = module.clone();
            below.push(name.clone());
            if self.modules.contains_key(&below) {
                module = below;
                known = true;
                continue;
            }
            // A file that names itself in a re-export of the same name would never end.
            if depth < 16
                && let Some(target) = self.files[here].aliases.get(name)
            {
                let mut target = target.clone();
                target.extend_from_slice(&path[at + 1..]);
                return self.resolve(here, &target, depth + 1);
            }
            if depth < 16 {
                for glob in &self.files[here].globs {
                    let mut target = glob.clone();
                    target.push(name.clone());
                    let found = self.resolve(here, &target, depth + 1);
                    if found.is_some_and(|file| self.files[file].paths.is_empty()) {
                        return found;
                    }
                }
            }
            break;
        }
        if known { self.modules.get(&module).copied() } else { None }
    }

    fn read_module(
        &mut self,
        folder: &Path,
        path: &Path,
        module: Vec<String>,
    ) -> Result<(), String> {
        let text = crate::read(path)?;
        let parsed = syn::parse_file(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut reader = Reader { file: empty(folder, path, &module, &text), children: Vec::new() };
        for item in &parsed.items {
            reader.visit_item(item);
        }
        let Reader { file, children } = reader;
        self.modules.insert(module.clone(), self.files.len());
        self.files.push(file);
        for child in children {
            let path = file_of(path, module.is_empty(), &child)?;
            let mut below = module.clone();
            below.push(child);
            self.read_module(folder, &path, below)?;
        }
        Ok(())
    }
}

fn empty(folder: &Path, path: &Path, module: &[String], text: &str) -> SourceFile {
    SourceFile {
        name: path.strip_prefix(folder).unwrap_or(path).display().to_string(),
        module: module.to_vec(),
        lines: text.lines().count(),
        aliases: BTreeMap::new(),
        globs: Vec::new(),
        paths: BTreeSet::new(),
    }
}

/// The file of `mod child;` in the file at `path`.
fn file_of(path: &Path, is_root: bool, child: &str) -> Result<PathBuf, String> {
    let folder = if is_root || path.ends_with("mod.rs") {
        path.parent().unwrap_or(path).to_owned()
    } else {
        path.with_extension("")
    };
    let candidates = [folder.join(format!("{child}.rs")), folder.join(child).join("mod.rs")];
    let found = candidates.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| format!("{}: no file for `mod {child}`", path.display()))
}

struct Reader {
    file: SourceFile,
    children: Vec<String>,
}

impl Reader {
    fn add_use(&mut self, tree: &UseTree, before: &[String], re_export: bool) {
        let mut path = before.to_vec();
        match tree {
            UseTree::Path(own) => {
                path.push(own.ident.to_string());
                self.add_use(&own.tree, &path, re_export);
            }
            UseTree::Name(own) if own.ident == "self" => {
                let name = path.last().cloned().unwrap_or_default();
                self.add_alias(name, path, re_export);
            }
            UseTree::Name(own) => {
                let name = own.ident.to_string();
                path.push(name.clone());
                self.add_alias(name, path, re_export);
            }
            UseTree::Rename(own) => {
                path.push(own.ident.to_string());
                self.add_alias(own.rename.to_string(), path, re_export);
            }
            UseTree::Glob(_) => {
                if !re_export {
                    self.file.paths.insert(path.clone());
                }
                self.file.globs.push(path);
            }
            UseTree::Group(own) => {
                for tree in &own.items {
                    self.add_use(tree, &path, re_export);
                }
            }
        }
    }

    fn add_alias(&mut self, name: String, path: Vec<String>, re_export: bool) {
        // `use anyhow;` of another crate, or a name of this module.
        if path.len() > 1 {
            if !re_export {
                self.file.paths.insert(path.clone());
            }
            self.file.aliases.insert(name, path);
        }
    }

    /// Paths in the arguments of a macro, which are no syntax tree.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.add_path(&path);
                        path.clear();
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.add_path(&path);
                    path.clear();
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.add_tokens(group.stream());
                    }
                }
            }
        }
        self.add_path(&path);
    }

    fn add_path(&mut self, path: &[String]) {
        if !path.is_empty() {
            self.file.paths.insert(path.to_vec());
        }
    }
}

impl<'a> Visit<'a> for Reader {
    fn visit_item(&mut self, item: &'a Item) {
        if is_test(attributes(item)) {
            return;
        }
        match item {
            Item::Use(own) => {
                let re_export = !matches!(own.vis, Visibility::Inherited);
                self.add_use(&own.tree, &[], re_export);
            }
            Item::Mod(own) if own.content.is_none() => self.children.push(own.ident.to_string()),
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|own| own.ident.to_string()).collect();
        self.add_path(&names);
        visit::visit_path(self, path);
    }

    fn visit_vis_restricted(&mut self, _: &'a syn::VisRestricted) {
        // `pub(super)` imports nothing.
    }

    fn visit_macro(&mut self, own: &'a syn::Macro) {
        self.add_tokens(own.tokens.clone());
        visit::visit_macro(self, own);
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Mod(own) => &own.attrs,
        Item::Fn(own) => &own.attrs,
        Item::Use(own) => &own.attrs,
        Item::Impl(own) => &own.attrs,
        Item::Struct(own) => &own.attrs,
        Item::Const(own) => &own.attrs,
        _ => &[],
    }
}

/// Whether it is compiled for tests only.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|own| {
        let tokens = own.meta.require_list().map(|list| list.tokens.to_string());
        let tests = |text: String| text == "test" || text.replace(' ', "").starts_with("all(test,");
        own.path().is_ident("cfg") && tokens.is_ok_and(tests)
    })
}
