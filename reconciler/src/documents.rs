//! A folder of a repository → its documents, in the order in which they may start. All problems at once.
//!
//! A document is any YAML document whose `apiVersion` begins with `myelin.dev/`. Everything else under the folder is
//! input for rendering and is not read here. Folders whose name begins with a dot are skipped.

use myelin_engine::diagnostic::{Diagnostic, Diagnostics, FilePlace};
use myelin_engine::document::{
    API_VERSION, DocumentKind, DocumentName, NodePool, ProvisioningToken, Stack, node_pool_from_value,
    stack_from_value, token_from_value,
};
use myelin_engine::record::StackId;
use myelin_engine::tree::{Found, Tree, TreePath};
use myelin_engine::yaml::{Limits, Node, Profile, parse, to_json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Folders below each other.
const DEEPEST: usize = 32;
/// Files that are looked at.
const MOST_FILES: usize = 20_000;

/// What a document describes.
#[derive(Debug)]
pub(crate) enum Body {
    Stack(Box<Stack>),
    Token(Box<ProvisioningToken>),
    Pool(Arc<NodePool>),
}

/// A document and the file that it was written in.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) body: Body,
    /// Where the document begins.
    pub(crate) place: FilePlace,
    /// Folder of the file, which `source` is relative to.
    pub(crate) folder: TreePath,
}

impl Placed {
    pub(crate) fn name(&self) -> DocumentName {
        let (kind, name) = match &self.body {
            Body::Stack(stack) => (DocumentKind::Stack, &stack.name),
            Body::Token(token) => (DocumentKind::ProvisioningToken, &token.name),
            Body::Pool(pool) => (DocumentKind::NodePool, &pool.name),
        };
        DocumentName {
            kind,
            name: name.clone(),
        }
    }

    /// Whose record it is; a pool has none, its tags are in EC2.
    pub(crate) fn id(&self) -> Option<StackId> {
        match &self.body {
            Body::Stack(stack) => Some(StackId {
                namespace: stack.namespace.clone(),
                name: stack.name.clone(),
            }),
            Body::Token(token) => Some(StackId::of_token(&token.namespace, &token.name)),
            Body::Pool(_) => None,
        }
    }

    /// The same for two descriptions of one thing.
    fn title(&self) -> String {
        match (&self.body, self.id()) {
            (Body::Pool(pool), _) => format!("pool {}/{}", pool.cluster, pool.name),
            (_, Some(id)) => id.title(),
            (Body::Stack(_) | Body::Token(_), None) => self.name().to_string(),
        }
    }

    /// Documents that it comes after.
    pub(crate) fn depends_on(&self) -> &BTreeSet<DocumentName> {
        match &self.body {
            Body::Stack(stack) => &stack.depends_on,
            Body::Token(token) => &token.depends_on,
            Body::Pool(pool) => &pool.depends_on,
        }
    }
}

/// The documents of a commit.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    /// Stacks and tokens, each after those that it depends on.
    pub(crate) all: Vec<Placed>,
}

/// Reads all documents under a folder: those that can be read, and everything that is wrong with the others.
pub(crate) fn read(tree: &Tree, folder: &TreePath) -> (Documents, Diagnostics) {
    let mut reading = Reading {
        tree,
        files: 0,
        found: Vec::new(),
        problems: Diagnostics::new(),
    };
    reading.folder(folder, 0);
    let Reading {
        found, mut problems, ..
    } = reading;
    check_unique(&found, &mut problems);
    let all = in_order(found, &mut problems);
    (Documents { all }, problems)
}

struct Reading<'a> {
    tree: &'a Tree,
    files: usize,
    found: Vec<Placed>,
    problems: Diagnostics,
}

impl Reading<'_> {
    fn folder(&mut self, folder: &TreePath, depth: usize) {
        let shown = self.tree.show(folder);
        let names = match self.tree.list(folder) {
            Ok(names) => names,
            Err(error) => return self.problems.push(Diagnostic::error(error.to_string())),
        };
        if depth > DEEPEST {
            let why = format!("folders are nested more than {DEEPEST} deep");
            return self.problems.push(Diagnostic::error(why).at(FilePlace::file(shown)));
        }
        for name in names.iter().filter(|name| !name.starts_with('.')) {
            let Some(path) = folder.join(name) else { continue };
            match self.tree.find(&path) {
                // A link to a folder leads to what is found elsewhere, or in a circle.
                Ok(Found::Folder(real)) if real == path => self.folder(&path, depth + 1),
                Ok(Found::File(real)) if real == path && (name.ends_with(".yaml") || name.ends_with(".yml")) => {
                    self.files += 1;
                    if self.files == MOST_FILES + 1 {
                        let why = format!("there are more than {MOST_FILES} YAML files");
                        self.problems
                            .push(Diagnostic::error(why).detail("give the source a folder of its own with `path`"));
                    }
                    if self.files <= MOST_FILES {
                        self.file(&path, folder);
                    }
                }
                _ => {}
            }
        }
    }

    fn file(&mut self, path: &TreePath, folder: &TreePath) {
        let shown = self.tree.show(path);
        let bytes = match self.tree.read(path) {
            Ok(bytes) => bytes,
            Err(error) => return self.problems.push(Diagnostic::error(error.to_string())),
        };
        let text = String::from_utf8_lossy(&bytes);
        // Most files of a repository are manifests and values: only what can hold a document is parsed.
        if !text.contains("myelin.dev/") {
            return;
        }
        let nodes = match parse(&text, self.tree.file_id(path), Profile::Manifest, Limits::default()) {
            Ok(nodes) => nodes,
            // A template or another tool's file may mention us and be no YAML. What begins like a document has to be one.
            Err(error) if text.lines().any(|line| line.starts_with("apiVersion: myelin.dev/")) => {
                return self.problems.push(error.in_file(&shown));
            }
            Err(_) => return,
        };
        for node in &nodes {
            let version = node.get("apiVersion").and_then(Node::as_str).unwrap_or_default();
            if version.starts_with("myelin.dev/") {
                self.document(node, &shown, folder);
            }
        }
    }

    fn document(&mut self, node: &Node, file: &str, folder: &TreePath) {
        let value = match to_json(node) {
            Ok(value) => value,
            Err(error) => return self.problems.push(error.in_file(file)),
        };
        let places = |path: &[String]| Some(place_of(node, path, file));
        let kind = node.get("kind").and_then(Node::as_str).unwrap_or_default();
        match DocumentKind::from_word(kind) {
            Some(DocumentKind::Stack) => match stack_from_value(value, &places) {
                Ok(stack) => self.take(Body::Stack(Box::new(stack)), node, file, folder),
                Err(problems) => self.problems.extend(problems),
            },
            Some(DocumentKind::ProvisioningToken) => match token_from_value(value, &places) {
                Ok(token) => self.take(Body::Token(Box::new(token)), node, file, folder),
                Err(problems) => self.problems.extend(problems),
            },
            Some(DocumentKind::NodePool) => match node_pool_from_value(value, &places) {
                Ok(pool) => self.take(Body::Pool(Arc::new(pool)), node, file, folder),
                Err(problems) => self.problems.extend(problems),
            },
            None => self.problems.push(
                Diagnostic::error(format!("\"{kind}\" is not a kind of {API_VERSION}"))
                    .detail("use Stack, ProvisioningToken or NodePool")
                    .at(place_of(node, &["kind".to_owned()], file)),
            ),
        }
    }

    fn take(&mut self, body: Body, node: &Node, file: &str, folder: &TreePath) {
        self.found.push(Placed {
            body,
            place: place_of(node, &[], file),
            folder: folder.clone(),
        });
    }
}

/// The place of the field at a path, or of the innermost one that is there.
fn place_of(node: &Node, path: &[String], file: &str) -> FilePlace {
    let mut at = node.at;
    let mut node = Some(node);
    for name in path {
        let next = node.and_then(|n| match name.parse::<usize>() {
            Ok(index) if n.is_seq() => n.items().get(index),
            _ => n.get(name),
        });
        let Some(found) = next else { break };
        at = found.at;
        node = Some(found);
    }
    FilePlace {
        file: file.to_owned(),
        line: (at.line > 0).then_some(at.line),
        column: (at.column > 0).then_some(at.column),
    }
}

fn check_unique(found: &[Placed], problems: &mut Diagnostics) {
    let mut seen: BTreeMap<String, &FilePlace> = BTreeMap::new();
    for placed in found {
        let title = placed.title();
        if let Some(first) = seen.insert(title.clone(), &placed.place) {
            problems.push(
                Diagnostic::error(format!("{title} is described twice"))
                    .detail(format!("the other is at {first}"))
                    .at(placed.place.clone()),
            );
        }
    }
}

/// Each document after those that it depends on; otherwise as they were found.
fn in_order(found: Vec<Placed>, problems: &mut Diagnostics) -> Vec<Placed> {
    let names: BTreeSet<DocumentName> = found.iter().map(Placed::name).collect();
    for placed in &found {
        for missing in placed.depends_on().iter().filter(|name| !names.contains(name)) {
            problems.push(
                Diagnostic::error(format!("{} depends on {missing}, which is not there", placed.name()))
                    .detail("documents that it may depend on lie under the same folder of the same source")
                    .at(placed.place.clone()),
            );
        }
    }
    let mut waiting = found;
    let mut ordered: Vec<Placed> = Vec::with_capacity(waiting.len());
    loop {
        let blocked: BTreeSet<DocumentName> = waiting.iter().map(Placed::name).collect();
        let (free, rest): (Vec<Placed>, Vec<Placed>) = waiting
            .into_iter()
            .partition(|placed| placed.depends_on().is_disjoint(&blocked));
        waiting = rest;
        if free.is_empty() {
            break;
        }
        ordered.extend(free);
    }
    if let Some(first) = waiting.first() {
        problems.push(
            Diagnostic::error(format!("documents wait for each other: {}", circle(&waiting)))
                .detail("remove one of these from dependsOn")
                .at(first.place.clone()),
        );
    }
    ordered
}

/// A way round among documents that all wait for another of them.
fn circle(waiting: &[Placed]) -> String {
    let mut path: Vec<DocumentName> = Vec::new();
    let mut next = waiting.first().map(Placed::name);
    while let Some(name) = next {
        if let Some(start) = path.iter().position(|seen| *seen == name) {
            path.drain(..start);
            path.push(name);
            break;
        }
        next = waiting
            .iter()
            .find(|placed| placed.name() == name)
            .and_then(|placed| {
                let blocked = |on: &&DocumentName| waiting.iter().any(|other| other.name() == **on);
                placed.depends_on().iter().find(blocked)
            })
            .cloned();
        path.push(name);
    }
    path.iter().map(ToString::to_string).collect::<Vec<_>>().join(" -> ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use myelin_engine::tree::{Entry, TreeLimits};

    fn tree(files: &[(&str, &str)]) -> Tree {
        let entries = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), Entry::File(text.as_bytes().into())));
        Tree::from_entries(entries, TreeLimits::default()).expect("a tree")
    }

    fn stack(name: &str, after: &[&str]) -> String {
        let on: Vec<String> = after.iter().map(|a| format!("{{kind: Stack, name: {a}}}")).collect();
        format!(
            "apiVersion: myelin.dev/v1alpha1\nkind: Stack\nmetadata: {{name: {name}}}\nspec:\n  namespace: {name}\n  source: ./k8s\n  dependsOn: [{}]\n",
            on.join(", ")
        )
    }

    fn problems(files: &[(&str, &str)]) -> Vec<String> {
        let (_, problems) = read(&tree(files), &TreePath::root());
        assert!(problems.has_errors());
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn stacks_come_after_what_they_depend_on_and_manifests_are_not_documents() {
        let (a, b, c) = (stack("a", &["c"]), stack("b", &[]), stack("c", &["b"]));
        let files = [
            ("a.yaml", a.as_str()),
            ("deep/b.yml", &format!("{c}---\n{b}")),
            ("k8s/cm.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"),
            ("chart/t.yaml", "{{ include \"x\" }} # myelin.dev/prune\n"),
            (".github/w.yaml", "apiVersion: myelin.dev/v1alpha1\nkind: Nonsense\n"),
        ];
        let (found, problems) = read(&tree(&files), &TreePath::root());
        assert!(problems.is_empty(), "{problems}");
        let names: Vec<String> = found.all.iter().map(|p| p.name().name).collect();
        assert_eq!(names, ["b", "c", "a"]);
        assert_eq!(found.all[1].folder.as_str(), "deep");
    }

    #[test]
    fn all_problems_of_all_files_come_at_once_with_file_and_line() {
        let twice = format!("{}---\n{}", stack("a", &["nobody"]), stack("a", &[]));
        let told = problems(&[
            ("1.yaml", &twice),
            ("2.yaml", "apiVersion: myelin.dev/v1alpha1\nkind: Stak\n"),
            ("3.yaml", "apiVersion: myelin.dev/v1alpha1\nkind: Stack\nmetadata: {name: x}\nspec:\n  namespace: x\n  sorce: .\n"),
            ("4.yaml", "apiVersion: myelin.dev/v1alpha1\nkind: [\n"),
        ])
        .join("\n");
        for expected in [
            "nobody",
            "described twice",
            "\"Stak\" is not a kind",
            "2.yaml:2",
            "sorce",
            "3.yaml:6",
            "4.yaml",
        ] {
            assert!(told.contains(expected), "{expected} is missing in:\n{told}");
        }
    }

    #[test]
    fn a_circle_is_an_error_that_names_the_path() {
        let (a, b, c) = (stack("a", &["b"]), stack("b", &["c"]), stack("c", &["b"]));
        let told = problems(&[("a.yaml", &a), ("b.yaml", &b), ("c.yaml", &c)]).join("\n");
        assert!(told.contains("Stack b -> Stack c -> Stack b"), "{told}");
    }
}
