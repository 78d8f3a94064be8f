//! A native kustomize: the same objects in the same order as `kustomize build` (5.5), from the tree alone. The order of
//! steps is the original's: resources and bases, generators, components, transformers; then, at the root, hashes,
//! references, variables, sorting.
//!
//! All kustomizations are found first; then independent ones are built in parallel, each once.

mod build;
mod config;
mod crds;
mod fieldspec;
mod generate;
mod hash;
mod id;
mod jsonpatch;
mod kustomization;
mod load;
mod namerefs;
mod output;
mod patches;
mod plugins;
mod provenance;
mod reader;
mod replacement;
mod resmap;
mod resource;
mod schema;
mod selector;
mod shared;
mod side_by_side;
mod simple;
mod smp;
mod smp_several;
mod sort;
mod value_add;
mod vars;

use super::Options;
use crate::diagnostic::{Diagnostic, Diagnostics, FilePlace};
use crate::object::Object;
use crate::tree::{Tree, TreePath};
use crate::yaml::{Node, Profile, Tag};
use build::{Accumulated, Bases, Shared, Target};
use kustomization::Kustomization;
use load::Loader;
use reader::{Located, place};
use schema::Schema;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The tag that a text gets where nothing else gives it one.
fn plain_tag(text: &str) -> Tag {
    match crate::yaml::resolve(text, Profile::Kustomize) {
        crate::yaml::Resolved::Null => Tag::Null,
        crate::yaml::Resolved::Bool(_) => Tag::Bool,
        crate::yaml::Resolved::Number(crate::yaml::Number::Float(_)) => Tag::Float,
        crate::yaml::Resolved::Number(_) => Tag::Int,
        crate::yaml::Resolved::Timestamp(_) => Tag::Timestamp,
        crate::yaml::Resolved::Str => Tag::Str,
    }
}

/// Renders the kustomization in `folder`.
pub(super) fn render(tree: &Tree, folder: &TreePath, options: &Options) -> Result<Vec<Object>, Diagnostics> {
    let mut search = Search::default();
    let root = search.target(Loader::new(tree, options, folder.clone()));
    let custom = search.openapi.as_ref().map(|(document, under)| {
        let under = if *under {
            Schema::built_in().clone()
        } else {
            Schema::default()
        };
        under.with_openapi(document)
    });
    let asks = |option: &str| {
        let options = root.iter().flat_map(|root| &root.kustomization.build_metadata);
        options.into_iter().any(|o| o == option)
    };
    let shared = Shared {
        schema: custom.as_ref().unwrap_or_else(|| Schema::built_in()),
        origins: asks("originAnnotations") || asks("transformerAnnotations"),
        transformers: asks("transformerAnnotations"),
    };
    // Everything is examined before anything is reported.
    let (bases, more) = build_bases(search.levels, &search.uses, &shared);
    let mut problems = search.problems;
    problems.extend(more);
    let Some(root) = &root else {
        return Err(once(problems));
    };
    let mut all = Accumulated::default();
    if let Err(more) = root.accumulate(&mut all, &bases, &shared, true) {
        problems.extend(more);
        if problems.is_empty() {
            let shown = tree.show(folder);
            problems.push(Diagnostic::error(format!("\"{shown}\" could not be rendered")));
        }
    }
    if problems.has_errors() {
        return Err(once(problems));
    }
    let tell = |e| Diagnostics::from(plugins::tell(&root.loader, e));
    provenance::clear(&mut all.resources);
    build::add_hashes(&mut all.resources).map_err(tell)?;
    let config = all.config.clone();
    namerefs::update(&mut all.resources, &config).map_err(tell)?;
    vars::resolve(&mut all.resources, &all.vars, &config).map_err(tell)?;
    let local: Arc<str> = "config.kubernetes.io/local-config".into();
    all.resources.all.retain(|r| {
        r.texts("annotations")
            .get(&local)
            .is_none_or(|value| &**value == "false")
    });
    let nameless =
        |r: &&resource::Resource| r.kind().is_empty() || (r.name().is_empty() && !r.kind().ends_with("List"));
    if let Some(resource) = all.resources.all.iter().find(nameless) {
        let what = if resource.kind().is_empty() {
            "kind"
        } else {
            "metadata.name"
        };
        let problem = Diagnostic::error(format!("{} has no {what} any more in the end", resource.original_id()))
            .detail("Some patch removes it.")
            .at(place(tree, resource.at()));
        return Err(problem.into());
    }
    if let Some((first, second)) = all.resources.conflict() {
        let there = place(tree, first.at());
        let problem = Diagnostic::error(format!("there are two resources {} in the end", second.id()))
            .detail(format!("Patches and prefixes gave this one the name of the one from {there}. Give one of them another name or namespace."))
            .at(place(tree, second.at()));
        return Err(problem.into());
    }
    sort::sort(&mut all.resources, root.kustomization.sort.as_ref());
    if asks("managedByLabel") {
        let texts = [("app.kubernetes.io/managed-by".to_owned(), MANAGED_BY.to_owned())].into();
        let labels = [fieldspec::FieldSpec {
            gvk: id::Gvk::default(),
            path: "metadata/labels".into(),
            create: true,
        }];
        let at = root.kustomization.at("buildMetadata");
        simple::set_texts(&mut all.resources, &texts, &labels, at)
            .map_err(|(e, at)| tell((e, at.unwrap_or_default())))?;
    }
    if shared.origins {
        provenance::annotate(
            &mut all.resources,
            folder,
            asks("originAnnotations"),
            shared.transformers,
        );
    }
    output::objects(all.resources, tree)
}

/// How many values the copies that one step makes may have together: of bases that are used again, of what a patch
/// puts into many resources. Small files can ask for any number of them.
const MOST_COPIED: usize = 10_000_000;

/// How many values replacements, or the copies of one JSON patch, may make: each can double what the one before it made.
const MOST_DOUBLED: usize = 1_000_000;

/// How long the texts that one step puts into all resources may be together, in bytes.
const MOST_TEXT: usize = 256 << 20;

/// From how many on bases are built on all cores.
const ENOUGH_BASES: usize = 4;

/// What the original calls itself in the `managedByLabel` when it is part of kubectl.
const MANAGED_BY: &str = "kustomize-(devel)";

/// Each problem once: a component that several kustomizations name is looked at for each of them.
fn once(problems: Diagnostics) -> Diagnostics {
    let mut told = HashSet::new();
    problems.into_iter().filter(|p| told.insert(p.to_string())).collect()
}

/// Builds the bases, those of one level in parallel; a level needs only what is below it. A base with a problem is missing.
fn build_bases(
    levels: Vec<Vec<Target<'_>>>,
    uses: &HashMap<TreePath, usize>,
    shared: &Shared<'_>,
) -> (Bases, Diagnostics) {
    let mut bases = Bases::default();
    let mut problems = Diagnostics::new();
    for level in levels {
        let built = side_by_side::map(level, ENOUGH_BASES, |target| {
            let mut all = Accumulated::default();
            let result = target.accumulate(&mut all, &bases, shared, true).map(|()| all);
            (target.loader.root, result)
        });
        for (folder, result) in built {
            match result {
                Ok(all) => {
                    let uses = uses.get(&folder).copied().unwrap_or(1);
                    bases.insert(folder, all, uses);
                }
                Err(more) => problems.extend(more),
            }
        }
    }
    (bases, problems)
}

/// The kustomizations that one needs, found before anything is built.
#[derive(Default)]
struct Search<'a> {
    /// Bases that need nothing of each other, deepest first.
    levels: Vec<Vec<Target<'a>>>,
    level_of: HashMap<TreePath, usize>,
    /// How often each base is named.
    uses: HashMap<TreePath, usize>,
    /// The first OpenAPI document that a kustomization names, and whether the built-in schema stays under it: in the
    /// original it does when it was in use by then.
    openapi: Option<(Node, bool)>,
    /// Whether a resource was read on the way so far.
    seen_resource: bool,
    problems: Diagnostics,
    /// The highest level among what the kustomization being searched needs, plus one.
    needs: usize,
}

impl<'a> Search<'a> {
    fn problem(&mut self, loader: &Loader<'_>, problem: generate::Problem) {
        self.problems.push(plugins::tell(loader, problem));
    }

    /// Reads a kustomization and searches what it names.
    fn target(&mut self, loader: Loader<'a>) -> Option<Target<'a>> {
        let file = match loader.kustomization(&loader.root) {
            Ok(file) => file,
            Err(e) => {
                self.problems
                    .push(Diagnostic::error(e).at(FilePlace::file(loader.tree.show(&loader.root))));
                return None;
            }
        };
        let kustomization = self.read(&loader, &file)?;
        if let (None, Some(named)) = (&self.openapi, &kustomization.openapi) {
            let read = loader
                .text(named)
                .and_then(|(text, path)| loader.nodes(&text, &path, Profile::Settings));
            match read {
                Ok(nodes) => self.openapi = nodes.into_iter().next().map(|node| (node, self.seen_resource)),
                Err(e) => self.problem(&loader, e),
            }
        }
        let plugins = [
            &kustomization.generators,
            &kustomization.transformers,
            &kustomization.validators,
        ];
        for named in kustomization.resources.iter().chain(plugins.into_iter().flatten()) {
            if loader.is_folder(named) {
                self.base(&loader, named);
            } else {
                self.seen_resource = true;
            }
        }
        self.seen_resource |= !kustomization.config_maps.is_empty() || !kustomization.secrets.is_empty();
        let mut components = Vec::new();
        let mut broken = false;
        for named in &kustomization.components {
            match loader.folder(named) {
                Err(e) => {
                    broken = true;
                    self.problem(&loader, e);
                }
                Ok(folder) => {
                    let Some(component) = self.target(loader.enter(folder)) else {
                        broken = true;
                        continue;
                    };
                    if component.kustomization.is_component {
                        components.push(component);
                    } else {
                        let e = format!(
                            "\"{}\" is a Kustomization; list it under resources, or make it a Component",
                            named.text
                        );
                        broken = true;
                        self.problem(&loader, (e, named.at));
                    }
                }
            }
        }
        Some(Target {
            broken,
            loader,
            file,
            kustomization,
            components,
        })
    }

    fn read(&mut self, loader: &Loader<'a>, file: &TreePath) -> Option<Kustomization> {
        let shown = loader.tree.show(file);
        let text = match loader.tree.read(file).map(|bytes| String::from_utf8(bytes.to_vec())) {
            Ok(Ok(text)) => text,
            Ok(Err(_)) => {
                self.problems
                    .push(Diagnostic::error("the file is not UTF-8 text").at(FilePlace::file(shown)));
                return None;
            }
            Err(e) => {
                self.problems.push(Diagnostic::error(e.to_string()));
                return None;
            }
        };
        let mut nodes = match loader.nodes(&text, file, Profile::Settings) {
            Ok(nodes) => nodes.into_iter(),
            Err(e) => {
                self.problem(loader, e);
                return None;
            }
        };
        let node = nodes.next().filter(|node| !Kustomization::is_empty(node));
        let Some(node) = node else {
            self.problems
                .push(Diagnostic::error("the kustomization is empty").at(FilePlace::file(shown)));
            return None;
        };
        match Kustomization::read(&node, file.clone(), loader.tree) {
            Ok(kustomization) => Some(kustomization),
            Err(more) => {
                self.problems.extend(more);
                None
            }
        }
    }

    /// Searches a base, once, and records its depth.
    fn base(&mut self, loader: &Loader<'a>, named: &Located) {
        let folder = match loader.folder(named) {
            Ok(folder) => folder,
            Err(e) => return self.problem(loader, e),
        };
        *self.uses.entry(folder.clone()).or_default() += 1;
        if let Some(level) = self.level_of.get(&folder) {
            self.needs = self.needs.max(level + 1);
            return;
        }
        let outer = std::mem::take(&mut self.needs);
        let target = self.target(loader.enter(folder.clone()));
        let level = std::mem::replace(&mut self.needs, outer);
        self.needs = self.needs.max(level + 1);
        self.level_of.insert(folder, level);
        let Some(target) = target else { return };
        if target.kustomization.is_component {
            let e = format!("\"{}\" is a Component; list it under components", named.text);
            return self.problem(loader, (e, named.at));
        }
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Vec::new);
        }
        self.levels[level].push(target);
    }
}
