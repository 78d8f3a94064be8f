//! Builds one kustomization: collects its resources, generates, lets its components change them, runs the transformers
//! in their fixed order, and passes on what the kustomizations above need.

use super::config::Config;
use super::fieldspec::FieldSpec;
use super::generate::{self, Problem};
use super::kustomization::{Image, Kustomization, Patch, Replica};
use super::load::{self, Loader};
use super::patches::{self, Loaded};
use super::plugins::{self, tell};
use super::provenance;
use super::reader::{Located, Reader, place};
use super::replacement::{Replacement, ReplacementEntry};
use super::resmap::ResMap;
use super::resource::{Provenance, Resource};
use super::schema::Schema;
use super::simple::{self, End, Failure, Namespace, Subjects};
use super::value_add::ValueAdd;
use super::vars::{self, Var};
use super::{crds, hash, side_by_side};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::tree::TreePath;
use crate::yaml::{At, Profile};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What a resource weighs beside its nodes: its names, old and new, and what is known of it.
const RESOURCE: usize = 100;

/// Limit of duplicate resources reported for one entry.
const MOST_TOLD: usize = 20;

/// From how many on the entries of one list are read on all cores.
const ENOUGH_FILES: usize = 8;

/// What a kustomization comes to.
#[derive(Debug, Clone, Default)]
pub(super) struct Accumulated {
    pub(super) resources: ResMap,
    /// Where the transformers look, as far as the kustomizations so far say.
    pub(super) config: Arc<Config>,
    pub(super) vars: Vec<Var>,
}

/// What is the same for the whole build.
pub(super) struct Shared<'a> {
    pub(super) schema: &'a Schema,
    /// The root's `buildMetadata`.
    pub(super) origins: bool,
    pub(super) transformers: bool,
}

/// One kustomization and what it names.
pub(super) struct Target<'a> {
    pub(super) loader: Loader<'a>,
    pub(super) file: TreePath,
    pub(super) kustomization: Kustomization,
    /// Components in their order.
    pub(super) components: Vec<Target<'a>>,
    /// Whether something that it names was wrong and has been reported.
    pub(super) broken: bool,
}

/// What went wrong so far, and whether everything is there for what comes next.
struct Gathered {
    problems: Diagnostics,
    whole: bool,
}

impl Gathered {
    fn add(&mut self, result: Result<(), Diagnostics>) {
        if let Err(more) = result {
            self.whole = false;
            self.problems.extend(more);
        }
    }
}

/// The results of bases by their folder. The last one that names a base takes it, the others take copies.
#[derive(Default)]
pub(super) struct Bases {
    built: HashMap<TreePath, Mutex<(Option<Accumulated>, usize)>>,
    /// What the copies weigh so far.
    copied: AtomicUsize,
}

impl Bases {
    pub(super) fn insert(&mut self, folder: TreePath, all: Accumulated, uses: usize) {
        self.built.insert(folder, Mutex::new((Some(all), uses)));
    }

    /// The result of a base, unless it has a problem of its own.
    ///
    /// # Errors
    /// When the copies become too many.
    fn take(&self, folder: &TreePath) -> Result<Option<Accumulated>, String> {
        let Some(slot) = self.built.get(folder) else {
            return Ok(None);
        };
        let mut slot = slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        slot.1 = slot.1.saturating_sub(1);
        if slot.1 == 0 {
            return Ok(slot.0.take());
        }
        let resources = slot.0.iter().flat_map(|all| &all.resources.all);
        let weight = resources.map(|r| RESOURCE + r.node.weight()).sum::<usize>();
        if self.copied.fetch_add(weight, Ordering::Relaxed) + weight > super::MOST_COPIED {
            return Err(format!(
                "bases that are used several times come to more than {} values; use them fewer times",
                super::MOST_COPIED
            ));
        }
        Ok(slot.0.clone())
    }
}

/// One thing that a kustomization does to all resources.
pub(super) enum Step {
    Merges {
        patches: Vec<Located>,
        file: TreePath,
    },
    Patch {
        patch: Box<Patch>,
        file: TreePath,
    },
    Namespace {
        namespace: String,
        fields: Vec<FieldSpec>,
        unset_only: bool,
        subjects: Subjects,
        at: At,
    },
    Affix {
        end: End,
        text: String,
        fields: Vec<FieldSpec>,
        at: At,
    },
    Texts {
        texts: BTreeMap<String, String>,
        fields: Vec<FieldSpec>,
        at: At,
    },
    Image {
        image: Image,
        fields: Vec<FieldSpec>,
    },
    Replica {
        replica: Replica,
        fields: Vec<FieldSpec>,
    },
    Replacements {
        entries: Vec<ReplacementEntry>,
    },
    Value(Box<ValueAdd>),
    Hash,
}

impl Step {
    /// The length and position of the text that it puts into every resource.
    fn text(&self) -> (usize, At) {
        match self {
            Self::Namespace { namespace, at, .. } => (namespace.len(), *at),
            Self::Affix { text, at, .. } => (text.len(), *at),
            Self::Texts { texts, at, .. } => (texts.iter().map(|(k, v)| k.len() + v.len()).sum(), *at),
            Self::Image { image, .. } => (
                image.new_name.len() + image.new_tag.len() + image.digest.len() + image.tag_suffix.len(),
                image.at,
            ),
            _ => (0, At::default()),
        }
    }

    /// The name of the built-in transformer, for `transformerAnnotations`.
    fn transformer(&self) -> &'static str {
        match self {
            Self::Merges { .. } => "PatchStrategicMergeTransformer",
            Self::Patch { .. } => "PatchTransformer",
            Self::Namespace { .. } => "NamespaceTransformer",
            Self::Affix { end: End::Prefix, .. } => "PrefixTransformer",
            Self::Affix { end: End::Suffix, .. } => "SuffixTransformer",
            Self::Texts { .. } => "LabelTransformer",
            Self::Image { .. } => "ImageTagTransformer",
            Self::Replica { .. } => "ReplicaCountTransformer",
            Self::Replacements { .. } => "ReplacementTransformer",
            Self::Value(_) => "ValueAddTransformer",
            Self::Hash => "HashTransformer",
        }
    }
}

impl Target<'_> {
    fn tell(&self, problem: Problem) -> Diagnostic {
        tell(&self.loader, problem)
    }

    /// Resources without a place of their own fail at the start of the kustomization.
    fn at(&self) -> At {
        At::default()
    }

    fn failed(&self, (summary, at): Failure, otherwise: At) -> Diagnostics {
        let diagnostic = Diagnostic::error(summary);
        let at = at.filter(|at| at.line > 0).unwrap_or(otherwise);
        match at.line {
            0 => diagnostic
                .at(crate::diagnostic::FilePlace::file(self.loader.tree.show(&self.file)))
                .into(),
            _ => diagnostic.at(place(self.loader.tree, at)).into(),
        }
    }

    /// Adds this kustomization to an accumulator: an empty one, or, for a component, that of its user so far. `whole`
    /// says whether the accumulator is complete.
    ///
    /// # Errors
    /// All problems of its files, independent of other problems. If there are none, the first operation on them that
    /// fails, with all patches that cannot be applied at once. No problem at all if something that it needs has one
    /// already.
    pub(super) fn accumulate(
        &self,
        into: &mut Accumulated,
        bases: &Bases,
        shared: &Shared<'_>,
        whole: bool,
    ) -> Result<(), Diagnostics> {
        let mut gathered = Gathered {
            problems: Diagnostics::new(),
            whole: whole && !self.broken,
        };
        gathered.add(self.add_resources(into, &self.kustomization.resources, bases, shared));
        gathered.add(self.add_configs(into));
        gathered.add(self.generate(into, bases, shared, gathered.whole));
        for component in &self.components {
            gathered.add(component.accumulate(into, bases, shared, gathered.whole));
            if gathered.whole {
                gathered.add(self.check_names(into, component));
            }
        }
        if !gathered.whole {
            gathered.problems.extend(self.unreadable());
            return Err(gathered.problems);
        }
        let config = into.config.clone();
        for (step, name) in self.steps(&config)? {
            if !gathered.whole && !matches!(step, Step::Patch { .. } | Step::Merges { .. }) {
                break;
            }
            gathered.add(self.run(&step, into, shared));
            self.note(into, shared, || provenance::built_in(&self.file, name));
        }
        gathered.problems.or(()).map(drop)?;
        for plugin in self.plugins(&self.kustomization.transformers, bases, shared)? {
            for step in plugins::transformer(&plugin, &self.file, &self.loader, "transformers")? {
                self.run(&step, into, shared)?;
            }
            self.note(into, shared, || provenance::plugin(&plugin, &self.file));
        }
        self.validate(into, bases, shared)?;
        vars::declare(&mut into.vars, &self.kustomization.vars, &mut into.resources).map_err(|e| self.tell(e))?;
        Ok(())
    }

    /// Problems in the files of patches and replacements, as far as they can be read without their targets.
    fn unreadable(&self) -> Diagnostics {
        let k = &self.kustomization;
        let (_, mut problems) = self.read_merges(&k.patches_strategic_merge, &self.file);
        for patch in k.patches.iter().chain(&k.patches_json6902) {
            let read = patches::load(&self.loader, patch, &self.file);
            problems.extend(read.err().map(|e| self.tell(e)));
        }
        for entry in &k.replacements {
            if let ReplacementEntry::File(named) = entry {
                let read = self.loader.text(named);
                let read = read.and_then(|(text, path)| self.loader.nodes(&text, &path, Profile::Settings));
                problems.extend(read.err().map(|e| self.tell(e)));
            }
        }
        problems
    }

    /// After a component no two resources may have the same name.
    fn check_names(&self, into: &Accumulated, component: &Target<'_>) -> Result<(), Diagnostics> {
        let Some((first, second)) = into.resources.conflict() else {
            return Ok(());
        };
        let there = place(self.loader.tree, first.at());
        let shown = self.loader.tree.show(&component.loader.root);
        let problem = Diagnostic::error(format!(
            "after the component \"{shown}\" there are two resources {}",
            second.id()
        ))
        .detail(format!(
            "The other one comes from {there}. Give one of them another name or namespace."
        ))
        .at(place(self.loader.tree, second.at()));
        Err(problem.into())
    }

    fn note(&self, into: &mut Accumulated, shared: &Shared<'_>, what: impl FnOnce() -> Provenance) {
        if shared.origins {
            let what = what();
            for resource in &mut into.resources.all {
                // What does not say where it comes from is treated as this transformer's work.
                match resource.origin {
                    None => resource.origin = Some(what.clone()),
                    Some(_) if shared.transformers => resource.transformations.push(what.clone()),
                    Some(_) => {}
                }
            }
        }
    }

    fn add_resources(
        &self,
        into: &mut Accumulated,
        named: &[Located],
        bases: &Bases,
        shared: &Shared<'_>,
    ) -> Result<(), Diagnostics> {
        let mut problems = Diagnostics::new();
        let mut missing = false;
        let read = side_by_side::map(named.iter().collect(), ENOUGH_FILES, |one| {
            self.one_resource(one, bases, shared)
        });
        for (one, result) in named.iter().zip(read) {
            match result {
                Err(more) => {
                    missing = true;
                    problems.extend(more);
                }
                Ok(more) => {
                    problems.extend(
                        Config::join(&mut into.config, &more.config)
                            .err()
                            .map(|e| self.tell((e, one.at))),
                    );
                    if let Err(refused) = into.resources.append(more.resources.all) {
                        for (problem, resource) in refused.into_iter().take(MOST_TOLD) {
                            let first = into.resources.all.iter().find(|r| r.id().same(&resource.id()));
                            let here = place(self.loader.tree, resource.at());
                            let there = first
                                .map(|r| place(self.loader.tree, r.at()).to_string())
                                .unwrap_or_default();
                            let detail = format!(
                                "It comes from {there} and again from {here}, through \"{}\" here.\n{}",
                                one.text, problem.detail
                            );
                            problems.push(problem.detail(detail).at(place(self.loader.tree, one.at)));
                        }
                    }
                    problems.extend(vars::absorb(&mut into.vars, &more.vars).err().map(|e| self.tell(e)));
                }
            }
        }
        if missing {
            return Err(problems);
        }
        problems.or(()).map(drop)
    }

    fn one_resource(&self, named: &Located, bases: &Bases, shared: &Shared<'_>) -> Result<Accumulated, Diagnostics> {
        if named.text.is_empty() {
            return Err(self
                .tell(("an entry of resources is empty".to_owned(), named.at))
                .into());
        }
        if self.loader.is_folder(named) {
            // Its problem has been reported where it was found or built.
            let folder = self.loader.folder(named).map_err(|_| Diagnostics::new())?;
            return match bases.take(&folder) {
                Ok(all) => all.ok_or_else(Diagnostics::new),
                Err(e) => Err(self.tell((e, named.at)).into()),
            };
        }
        let (text, path) = self.loader.text(named).map_err(|e| self.tell(e))?;
        let nodes = self
            .loader
            .nodes(&text, &path, Profile::Kustomize)
            .map_err(|e| self.tell(e))?;
        let mut all = load::resources(nodes).map_err(|e| self.tell(e))?;
        if shared.origins {
            for resource in &mut all {
                resource.origin.get_or_insert_with(|| Provenance::File(path.clone()));
            }
        }
        let mut resources = ResMap::default();
        resources.append(all).map_err(|refused| {
            refused
                .into_iter()
                .map(|(problem, resource)| problem.at(place(self.loader.tree, resource.at())))
                .collect::<Diagnostics>()
        })?;
        Ok(Accumulated {
            resources,
            ..Accumulated::default()
        })
    }

    /// Adds the places of this kustomization: the default ones with those of `configurations`, and those of `crds`.
    fn add_configs(&self, into: &mut Accumulated) -> Result<(), Diagnostics> {
        let mut problems = Diagnostics::new();
        let mut files = |named: &Located| -> Vec<crate::yaml::Node> {
            let read = self
                .loader
                .text(named)
                .and_then(|(text, path)| self.loader.nodes(&text, &path, Profile::Settings));
            read.unwrap_or_else(|e| {
                problems.push(self.tell(e));
                Vec::new()
            })
        };
        let configurations: Vec<_> = self
            .kustomization
            .configurations
            .iter()
            .map(|n| (n, files(n)))
            .collect();
        let crds: Vec<_> = self.kustomization.crds.iter().map(|n| (n, files(n))).collect();
        let mut own = Config::default();
        for (named, nodes) in &configurations {
            for node in nodes {
                let config = Config::read(node, self.loader.tree, &mut problems);
                problems.extend(own.merge(&config).err().map(|e| self.tell((e, named.at))));
            }
        }
        let mut with_defaults = Config::built_in().clone();
        if !configurations.is_empty() {
            problems.extend(
                Arc::make_mut(&mut with_defaults)
                    .merge(&own)
                    .err()
                    .map(|e| self.tell((e, self.at()))),
            );
        }
        problems.extend(
            Config::join(&mut into.config, &with_defaults)
                .err()
                .map(|e| self.tell((e, self.at()))),
        );
        for (named, node) in crds
            .iter()
            .flat_map(|(named, nodes)| nodes.iter().map(move |node| (named, node)))
        {
            let joined = crds::read(node).and_then(|config| Config::join(&mut into.config, &Arc::new(config)));
            problems.extend(joined.err().map(|e| self.tell((e, named.at))));
        }
        problems.or(()).map(drop)
    }

    fn generate(
        &self,
        into: &mut Accumulated,
        bases: &Bases,
        shared: &Shared<'_>,
        whole: bool,
    ) -> Result<(), Diagnostics> {
        let k = &self.kustomization;
        let mut problems = Diagnostics::new();
        let mut made: Vec<(Resource, At)> = Vec::new();
        let all = k
            .config_maps
            .iter()
            .map(|g| (g, false))
            .chain(k.secrets.iter().map(|g| (g, true)));
        for (generator, secret) in all {
            let result = if secret {
                generate::secret(generator, &self.loader)
            } else {
                generate::config_map(generator, &self.loader)
            };
            match result {
                Ok(mut resource) => {
                    if shared.origins {
                        let name = if secret {
                            "SecretGenerator"
                        } else {
                            "ConfigMapGenerator"
                        };
                        resource.origin = Some(provenance::built_in(&self.file, name));
                    }
                    made.push((resource, generator.at));
                }
                Err(e) => problems.push(self.tell(e)),
            }
        }
        for plugin in self.plugins(&k.generators, bases, shared)? {
            match plugins::generator(&plugin, &self.loader) {
                Ok(mut resource) => {
                    if shared.origins {
                        resource.origin = Some(provenance::plugin(&plugin, &self.file));
                    }
                    made.push((resource, plugin.at()));
                }
                Err(more) => problems.extend(more),
            }
        }
        for (resource, at) in made.into_iter().filter(|_| whole) {
            problems.extend(into.resources.absorb(resource).err().map(|e| self.tell((e, at))));
        }
        problems.or(()).map(drop)
    }

    /// The configurations of transformers, validators or generators: inline, in files, or from folders.
    fn plugins(&self, named: &[Located], bases: &Bases, shared: &Shared<'_>) -> Result<Vec<Resource>, Diagnostics> {
        let mut all = Accumulated::default();
        let mut files = Vec::new();
        for one in named {
            if !plugins::is_inline(one) {
                files.push(one.clone());
                continue;
            }
            let nodes = self.loader.nodes(&one.text, &self.file, Profile::Kustomize);
            let mut resources = nodes
                .and_then(load::resources)
                .map_err(|(e, _)| self.tell((e, one.at)))?;
            for resource in &mut resources {
                resource.node.at = one.at;
                resource.origin = Some(Provenance::File(self.file.clone()));
            }
            all.resources.append(resources).map_err(|refused| {
                refused
                    .into_iter()
                    .map(|(p, _)| p.at(place(self.loader.tree, one.at)))
                    .collect::<Diagnostics>()
            })?;
        }
        let shared = Shared {
            origins: true,
            ..*shared
        };
        self.add_resources(&mut all, &files, bases, &shared)?;
        Ok(all.resources.all)
    }

    fn validate(&self, into: &Accumulated, bases: &Bases, shared: &Shared<'_>) -> Result<(), Diagnostics> {
        for plugin in self.plugins(&self.kustomization.validators, bases, shared)? {
            let mut copy = into.clone();
            for step in plugins::transformer(&plugin, &self.file, &self.loader, "validators")? {
                self.run(&step, &mut copy, shared)?;
            }
            let same = copy.resources.all.len() == into.resources.all.len()
                && copy
                    .resources
                    .all
                    .iter()
                    .zip(&into.resources.all)
                    .all(|(a, b)| a.node == b.node);
            if !same {
                let e = "a validator must not change the resources".to_owned();
                return Err(self.tell((e, plugin.at())).into());
            }
        }
        Ok(())
    }

    /// What the fields of the kustomization do, in the original's order.
    fn steps(&self, config: &Config) -> Result<Vec<(Step, &'static str)>, Diagnostics> {
        let k = &self.kustomization;
        let mut steps: Vec<Step> = Vec::new();
        if !k.patches_strategic_merge.is_empty() {
            steps.push(Step::Merges {
                patches: k.patches_strategic_merge.clone(),
                file: self.file.clone(),
            });
        }
        let patch = |patch: &Patch| Step::Patch {
            patch: Box::new(patch.clone()),
            file: self.file.clone(),
        };
        steps.extend(k.patches.iter().map(patch));
        if !k.namespace.is_empty() {
            steps.push(Step::Namespace {
                namespace: k.namespace.clone(),
                fields: config.namespace.clone(),
                unset_only: false,
                subjects: Subjects::default(),
                at: k.at("namespace"),
            });
        }
        for (end, text, fields, at) in [
            (End::Prefix, &k.name_prefix, &config.name_prefix, k.at("namePrefix")),
            (End::Suffix, &k.name_suffix, &config.name_suffix, k.at("nameSuffix")),
        ] {
            if !text.is_empty() {
                steps.push(Step::Affix {
                    end,
                    text: text.clone(),
                    fields: fields.clone(),
                    at,
                });
            }
        }
        for label in &k.labels {
            let mut fields = label.fields.clone();
            let mut add = |more: &[FieldSpec]| {
                super::fieldspec::add_all(&mut fields, more).map_err(|e| Diagnostics::from(self.tell((e, label.at))))
            };
            add(&config.labels)?;
            if label.include_selectors {
                add(&config.common_labels)?;
            } else {
                if label.include_templates {
                    add(&config.template_labels)?;
                }
                add(&[FieldSpec {
                    gvk: super::id::Gvk::default(),
                    path: "metadata/labels".into(),
                    create: true,
                }])?;
            }
            steps.push(Step::Texts {
                texts: label.pairs.clone(),
                fields,
                at: label.at,
            });
        }
        let mut names: Vec<&'static str> = steps.iter().map(Step::transformer).collect();
        if !k.common_labels.is_empty() || !k.labels.is_empty() {
            let fields = config.common_labels.clone();
            steps.push(Step::Texts {
                texts: k.common_labels.clone(),
                fields,
                at: k.at("commonLabels"),
            });
            names.push("LabelTransformer");
        }
        if !k.common_annotations.is_empty() {
            let fields = config.common_annotations.clone();
            steps.push(Step::Texts {
                texts: k.common_annotations.clone(),
                fields,
                at: k.at("commonAnnotations"),
            });
            names.push("AnnotationsTransformer");
        }
        steps.extend(k.patches_json6902.iter().map(patch));
        names.resize(steps.len(), "PatchJson6902Transformer");
        let rest = steps.len();
        steps.extend(k.replicas.iter().map(|r| Step::Replica {
            replica: r.clone(),
            fields: config.replicas.clone(),
        }));
        steps.extend(k.images.iter().map(|i| Step::Image {
            image: i.clone(),
            fields: config.images.clone(),
        }));
        if !k.replacements.is_empty() {
            steps.push(Step::Replacements {
                entries: k.replacements.clone(),
            });
        }
        names.extend(steps[rest..].iter().map(Step::transformer));
        Ok(steps.into_iter().zip(names).collect())
    }

    fn run(&self, step: &Step, into: &mut Accumulated, shared: &Shared<'_>) -> Result<(), Diagnostics> {
        let resources = &mut into.resources;
        let (text, at) = step.text();
        if text.saturating_mul(resources.all.len()) > super::MOST_TEXT {
            let e = format!("the text is too long for {} resources", resources.all.len());
            return Err(self.tell((e, at)).into());
        }
        match step {
            Step::Merges { patches, file } => self.merges(resources, patches, file, shared.schema),
            Step::Patch { patch, file } => {
                let (loaded, at) = patches::load(&self.loader, patch, file).map_err(|e| self.tell(e))?;
                Ok(patches::apply(resources, patch, &loaded, at, shared.schema).map_err(|e| self.tell(e))?)
            }
            Step::Namespace {
                namespace,
                fields,
                unset_only,
                subjects,
                at,
            } => {
                let namespace = Namespace {
                    namespace,
                    fields,
                    unset_only: *unset_only,
                    subjects: *subjects,
                    at: *at,
                };
                namespace.apply(resources).map_err(|e| self.failed(e, *at))
            }
            Step::Affix { end, text, fields, at } => {
                simple::affix(resources, *end, text, fields, *at).map_err(|e| self.failed(e, *at))
            }
            Step::Texts { texts, fields, at } => {
                simple::set_texts(resources, texts, fields, *at).map_err(|e| self.failed(e, *at))
            }
            Step::Image { image, fields } => {
                simple::image(resources, image, fields).map_err(|e| self.failed(e, image.at))
            }
            Step::Replica { replica, fields } => {
                simple::replicas(resources, replica, fields).map_err(|e| self.failed(e, replica.at))
            }
            Step::Replacements { entries } => self.replace(resources, entries),
            Step::Value(add) => add.apply(resources).map_err(|e| self.tell(e).into()),
            Step::Hash => add_hashes(resources).map_err(|e| self.tell(e).into()),
        }
    }

    fn merges(
        &self,
        resources: &mut ResMap,
        patches: &[Located],
        file: &TreePath,
        schema: &Schema,
    ) -> Result<(), Diagnostics> {
        let (all, mut problems) = self.read_merges(patches, file);
        for (merge, at) in all {
            problems.extend(
                patches::merge_by_name(resources, &merge, schema)
                    .err()
                    .map(|e| self.tell((e, at))),
            );
        }
        problems.or(()).map(drop)
    }

    /// The entries of `patchesStrategicMerge`, each with its place.
    fn read_merges(&self, patches: &[Located], file: &TreePath) -> (Vec<(Resource, At)>, Diagnostics) {
        let mut problems = Diagnostics::new();
        let mut all = Vec::new();
        for one in patches {
            let loaded = match self.loader.text(one) {
                Ok((text, path)) => patches::read(&self.loader, &text, &path, At::default()),
                Err(_) if plugins::is_inline(one) => patches::read(&self.loader, &one.text, file, one.at),
                Err(e) => Err(e),
            };
            match loaded {
                Ok(Loaded::Merge(merges)) => all.extend(merges.into_iter().map(|m| (m, one.at))),
                Ok(Loaded::Json(_)) => {
                    let e = format!("\"{}\" is a JSON patch; list it under patches, with a target", one.text);
                    problems.push(self.tell((e, one.at)));
                }
                Err((e, at)) => problems.push(self.tell((e, if at.line > 0 { at } else { one.at }))),
            }
        }
        (all, problems)
    }

    fn replace(&self, resources: &mut ResMap, entries: &[ReplacementEntry]) -> Result<(), Diagnostics> {
        let mut copied = 0;
        for entry in entries {
            let named = match entry {
                ReplacementEntry::Inline(replacement) => {
                    replacement.apply(resources, &mut copied).map_err(|e| self.tell(e))?;
                    continue;
                }
                ReplacementEntry::File(named) => named,
            };
            let (text, path) = self.loader.text(named).map_err(|e| self.tell(e))?;
            let nodes = self
                .loader
                .nodes(&text, &path, Profile::Settings)
                .map_err(|e| self.tell(e))?;
            let mut problems = Diagnostics::new();
            // Of several documents the original reads the first.
            let Some(node) = nodes.first() else {
                let e = format!("\"{}\" holds no replacement", named.text);
                return Err(self.tell((e, named.at)).into());
            };
            let alone = std::slice::from_ref(node);
            for one in if node.is_seq() { node.items() } else { alone } {
                let replacement =
                    Reader::known(one, self.loader.tree, &mut problems, "a replacement", Replacement::read);
                if !problems.has_errors() {
                    replacement.apply(resources, &mut copied).map_err(|e| self.tell(e))?;
                }
            }
            problems.or(()).map(drop)?;
        }
        Ok(())
    }
}

/// Adds the hash of its content to the name of everything generated.
pub(super) fn add_hashes(resources: &mut ResMap) -> Result<(), Problem> {
    for resource in resources.all.iter_mut().filter(|r| r.needs_hash) {
        let suffix = hash::suffix(resource).map_err(|e| (e, resource.at()))?;
        resource.remember_name();
        let name = format!("{}-{suffix}", resource.name());
        resource.set_name(&name);
    }
    Ok(())
}
