//! A kustomization file as typed values. It is read strictly; the transformers decide what the values do.

use super::config::read_field_spec;
use super::fieldspec::FieldSpec;
use super::reader::{Located, Reader};
use super::replacement::{Replacement, ReplacementEntry};
use super::selector::Selector;
use super::vars::Var;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::tree::{Tree, TreePath};
use crate::yaml::{At, Node};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default)]
pub(super) struct Kustomization {
    pub(super) file: Option<TreePath>,
    pub(super) is_component: bool,
    pub(super) resources: Vec<Located>,
    pub(super) components: Vec<Located>,
    pub(super) crds: Vec<Located>,
    pub(super) configurations: Vec<Located>,
    pub(super) generators: Vec<Located>,
    pub(super) transformers: Vec<Located>,
    pub(super) validators: Vec<Located>,
    pub(super) namespace: String,
    pub(super) name_prefix: String,
    pub(super) name_suffix: String,
    pub(super) common_labels: BTreeMap<String, String>,
    pub(super) labels: Vec<Label>,
    pub(super) common_annotations: BTreeMap<String, String>,
    pub(super) patches_strategic_merge: Vec<Located>,
    pub(super) patches_json6902: Vec<Patch>,
    pub(super) patches: Vec<Patch>,
    pub(super) images: Vec<Image>,
    pub(super) replicas: Vec<Replica>,
    pub(super) replacements: Vec<ReplacementEntry>,
    pub(super) vars: Vec<Var>,
    pub(super) config_maps: Vec<Generator>,
    pub(super) secrets: Vec<Generator>,
    pub(super) openapi: Option<Located>,
    pub(super) sort: Option<SortOptions>,
    pub(super) build_metadata: Vec<String>,
    /// The positions of fields that hold one value for all resources.
    places: BTreeMap<&'static str, At>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Label {
    pub(super) at: At,
    pub(super) pairs: BTreeMap<String, String>,
    pub(super) include_selectors: bool,
    pub(super) include_templates: bool,
    pub(super) fields: Vec<FieldSpec>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Patch {
    pub(super) at: At,
    pub(super) path: Option<Located>,
    pub(super) patch: Option<Located>,
    pub(super) target: Option<Selector>,
    pub(super) options: BTreeMap<String, bool>,
    /// Whether it comes from `patchesJson6902`, which does not note that names change.
    pub(super) json_only: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    pub(super) at: At,
    pub(super) name: String,
    pub(super) new_name: String,
    pub(super) new_tag: String,
    pub(super) tag_suffix: String,
    pub(super) digest: String,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Replica {
    pub(super) at: At,
    pub(super) name: String,
    pub(super) count: i64,
}

/// A configMapGenerator or secretGenerator entry.
#[derive(Debug, Clone, Default)]
pub(super) struct Generator {
    pub(super) at: At,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) behavior: Option<Located>,
    pub(super) envs: Vec<Located>,
    pub(super) files: Vec<Located>,
    pub(super) literals: Vec<Located>,
    /// Of a Secret.
    pub(super) secret_type: String,
    pub(super) options: GeneratorOptions,
}

#[derive(Debug, Clone, Default)]
pub(super) struct GeneratorOptions {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) disable_name_suffix_hash: bool,
    pub(super) immutable: bool,
}

#[derive(Debug, Clone)]
pub(super) enum SortOptions {
    Fifo,
    /// The kinds that come first and last; `None` for the default ones.
    Legacy(Option<(Vec<String>, Vec<String>)>),
}

const KINDS: [(&str, &str); 2] = [
    ("Kustomization", "kustomize.config.k8s.io/v1beta1"),
    ("Component", "kustomize.config.k8s.io/v1alpha1"),
];

impl Kustomization {
    /// Reads the one document of a kustomization file.
    pub(super) fn read(node: &Node, file: TreePath, tree: &Tree) -> Result<Self, Diagnostics> {
        let mut problems = Diagnostics::new();
        let mut this = Reader::whole(node, tree, &mut problems, "a kustomization", Self::fields);
        this.file = Some(file);
        problems.or(this).map(|(this, _)| this)
    }

    fn fields(r: &mut Reader<'_>) -> Self {
        let mut this = Self::default();
        this.header(r);
        refuse_what_is_not_supported(r);
        this.resources = r.texts("resources");
        this.resources.extend(r.texts("bases"));
        this.components = r.texts("components");
        this.crds = r.texts("crds");
        this.configurations = r.texts("configurations");
        this.generators = r.texts("generators");
        this.transformers = r.texts("transformers");
        this.validators = r.texts("validators");
        this.namespace = r.text("namespace");
        this.name_prefix = r.text("namePrefix");
        this.name_suffix = r.text("nameSuffix");
        this.common_labels = r.map("commonLabels");
        this.common_annotations = r.map("commonAnnotations");
        this.labels = r.list("labels", "an entry of labels", |r| Label {
            at: r.at(),
            pairs: r.map("pairs"),
            include_selectors: r.flag("includeSelectors").unwrap_or(false),
            include_templates: r.flag("includeTemplates").unwrap_or(false),
            fields: read_field_specs(r, "fields"),
        });
        this.patches_strategic_merge = r.texts("patchesStrategicMerge");
        this.patches_json6902 = r.list("patchesJson6902", "an entry of patchesJson6902", |r| {
            let patch = Patch {
                json_only: true,
                ..Patch::read(r)
            };
            patch.needs_name(r);
            patch
        });
        this.patches = r.list("patches", "a patch", Patch::read);
        this.images = r.list("images", "an entry of images", Image::read);
        this.images
            .extend(r.list("imageTags", "an entry of imageTags", Image::read));
        this.replicas = r.list("replicas", "an entry of replicas", Replica::read);
        this.replacements = r.list("replacements", "a replacement", |r| match r.located("path") {
            Some(path) => ReplacementEntry::File(path),
            None => ReplacementEntry::Inline(Box::new(Replacement::read(r))),
        });
        this.vars = r.list("vars", "a var", Var::read);
        let shared = r
            .inner("generatorOptions", "generatorOptions", GeneratorOptions::read)
            .unwrap_or_default();
        this.config_maps = r.list("configMapGenerator", "a configMapGenerator", |r| {
            Generator::read(r, false)
        });
        this.secrets = r.list("secretGenerator", "a secretGenerator", |r| Generator::read(r, true));
        for generator in this.config_maps.iter_mut().chain(&mut this.secrets) {
            generator.options.inherit(&shared);
        }
        for field in [
            "namespace",
            "namePrefix",
            "nameSuffix",
            "commonLabels",
            "commonAnnotations",
            "buildMetadata",
        ] {
            this.places.extend(r.key_at(field).map(|at| (field, at)));
        }
        this.openapi(r);
        this.sort = r.inner("sortOptions", "sortOptions", SortOptions::read);
        // What is none of the known options has no effect in the original either.
        this.build_metadata = r.texts("buildMetadata").into_iter().map(|l| l.text).collect();
        this
    }

    fn header(&mut self, r: &mut Reader<'_>) {
        let version = r.located("apiVersion");
        let kind = r.located("kind");
        r.inner("metadata", "a kustomization's metadata", |r| {
            for field in ["name", "namespace"] {
                r.text(field);
            }
            for field in ["labels", "annotations"] {
                r.map(field);
            }
        });
        let name = kind.as_ref().map_or("", |k| k.text.as_str());
        let known = KINDS
            .iter()
            .find(|(k, _)| *k == name || (name.is_empty() && *k == "Kustomization"));
        let Some((name, wanted)) = known else {
            let at = kind.as_ref().map_or(r.at(), |k| k.at);
            return r.problem(
                at,
                format!("the kind of a kustomization is Kustomization or Component, not \"{name}\""),
            );
        };
        self.is_component = *name == "Component";
        if let Some(version) = version.filter(|v| !v.text.is_empty() && v.text != *wanted) {
            r.problem(
                version.at,
                format!("the apiVersion of a {name} is {wanted}, not \"{}\"", version.text),
            );
        }
    }

    fn openapi(&mut self, r: &mut Reader<'_>) {
        let Some(value) = r.value("openapi") else { return };
        if !value.is_map() {
            return r.problem(
                value.at,
                format!("openapi must be a map of strings, not {}", value.kind_name()),
            );
        }
        let given = |key| value.get(key).and_then(Node::text).is_some_and(|text| !text.is_empty());
        if given("path") && given("version") {
            r.problem(value.at, "openapi has a path or a version, not both");
        }
        for entry in value.entries() {
            match (&*entry.key, entry.value.as_str()) {
                ("path", Some(path)) => {
                    self.openapi = Some(Located {
                        text: path.to_owned(),
                        at: entry.value.at,
                    });
                }
                ("version", Some("v1.21.2" | "")) => {}
                ("version", Some(other)) => {
                    r.problem(
                        entry.value.at,
                        format!("the only built-in OpenAPI version is v1.21.2, not \"{other}\""),
                    );
                }
                (_, None) => r.problem(entry.value.at, "the values of openapi must be strings"),
                _ => {}
            }
        }
    }

    /// The position of a field that holds one value for all resources.
    pub(super) fn at(&self, field: &str) -> At {
        self.places.get(field).copied().unwrap_or_default()
    }

    /// Whether it says nothing at all.
    pub(super) fn is_empty(node: &Node) -> bool {
        const HEADER: [&str; 3] = ["apiVersion", "kind", "metadata"];
        node.entries()
            .iter()
            .all(|e| e.value.is_null() || HEADER.iter().any(|h| e.key.eq_ignore_ascii_case(h)))
    }
}

fn refuse_what_is_not_supported(r: &mut Reader<'_>) {
    const HELM: &str =
        "Render the chart once with `helm template`, commit the output, and list that file under resources.";
    r.value("helmGlobals");
    for field in ["helmCharts", "helmChartInflationGenerator"] {
        let at = r.key_at(field);
        if r.value(field)
            .is_some_and(|charts| !charts.is_seq() || !charts.items().is_empty())
        {
            let diagnostic = Diagnostic::error(format!("{field} is not supported"))
                .detail(format!("Helm charts are not rendered here. {HELM}"));
            r.diagnostic(diagnostic, at.unwrap_or_default());
        }
    }
    if let Some(at) = r.key_at("inventory") {
        r.value("inventory");
        let diagnostic = Diagnostic::error("inventory is not supported")
            .detail("The inventory is kept by the stack's own record; remove the field.");
        r.diagnostic(diagnostic, at);
    }
}

pub(super) fn read_field_specs(r: &mut Reader<'_>, name: &'static str) -> Vec<FieldSpec> {
    r.list(name, "a field specification", read_field_spec)
}

impl Patch {
    pub(super) fn read(r: &mut Reader<'_>) -> Self {
        Self {
            at: r.at(),
            path: r.located("path").filter(|l| !l.text.is_empty()),
            patch: r.located("patch").filter(|l| !l.text.trim().is_empty()),
            target: r.inner("target", "a patch's target", Selector::read),
            options: r.flags("options"),
            json_only: false,
        }
    }

    /// `patchesJson6902` and its transformer select by name.
    pub(super) fn needs_name(&self, r: &mut Reader<'_>) {
        match &self.target {
            None => r.problem(self.at, "a JSON patch needs a target"),
            Some(target) if target.exact.name.is_empty() => {
                r.problem(
                    self.at,
                    "the target needs a name here; entries of patches can do without",
                );
            }
            Some(_) => {}
        }
    }
}

impl Image {
    pub(super) fn read(r: &mut Reader<'_>) -> Self {
        Self {
            at: r.at(),
            name: r.text("name"),
            new_name: r.text("newName"),
            new_tag: r.text("newTag"),
            tag_suffix: r.text("tagSuffix"),
            digest: r.text("digest"),
        }
    }
}

impl Replica {
    pub(super) fn read(r: &mut Reader<'_>) -> Self {
        Self {
            at: r.at(),
            name: r.text("name"),
            count: r.integer("count").unwrap_or_default(),
        }
    }
}

impl Generator {
    pub(super) fn read(r: &mut Reader<'_>, secret: bool) -> Self {
        let mut envs = r.texts("envs");
        envs.extend(r.located("env").filter(|e| !e.text.is_empty()));
        Self {
            at: r.at(),
            name: r.text("name"),
            namespace: r.text("namespace"),
            behavior: r.located("behavior"),
            envs,
            files: r.texts("files"),
            literals: r.texts("literals"),
            secret_type: if secret { r.text("type") } else { String::new() },
            options: r
                .inner("options", "a generator's options", GeneratorOptions::read)
                .unwrap_or_default(),
        }
    }
}

impl GeneratorOptions {
    fn read(r: &mut Reader<'_>) -> Self {
        Self {
            labels: r.map("labels"),
            annotations: r.map("annotations"),
            disable_name_suffix_hash: r.flag("disableNameSuffixHash").unwrap_or(false),
            immutable: r.flag("immutable").unwrap_or(false),
        }
    }

    fn inherit(&mut self, shared: &Self) {
        for (key, value) in &shared.labels {
            self.labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
        for (key, value) in &shared.annotations {
            self.annotations.entry(key.clone()).or_insert_with(|| value.clone());
        }
        self.disable_name_suffix_hash |= shared.disable_name_suffix_hash;
        self.immutable |= shared.immutable;
    }
}

impl SortOptions {
    pub(super) fn read(r: &mut Reader<'_>) -> Self {
        let order = r.located("order");
        let kinds = r.inner("legacySortOptions", "legacySortOptions", |r| {
            let texts = |all: Vec<Located>| all.into_iter().map(|l| l.text).collect::<Vec<_>>();
            (texts(r.texts("orderFirst")), texts(r.texts("orderLast")))
        });
        match order.as_ref().map(|o| o.text.as_str()) {
            Some("fifo") => {
                if kinds.is_some() {
                    r.problem(r.at(), "legacySortOptions is only for order: legacy");
                }
                Self::Fifo
            }
            Some("legacy") => Self::Legacy(kinds),
            other => {
                let at = order.as_ref().map_or(r.at(), |o| o.at);
                r.problem(
                    at,
                    format!(
                        "sortOptions.order must be legacy or fifo, not \"{}\"",
                        other.unwrap_or_default()
                    ),
                );
                Self::Fifo
            }
        }
    }
}
