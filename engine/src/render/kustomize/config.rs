//! The fields that transformers change: the default ones, and those that `configurations` and `crds` add.
//! Configurations of bases also apply to the kustomizations that use them.

use super::fieldspec::{FieldSpec, add_all};
use super::id::Gvk;
use super::reader::{Located, Reader};
use super::sort::gvk_rank;
use crate::diagnostic::Diagnostics;
use crate::tree::Tree;
use crate::yaml::Node;
use std::sync::{Arc, LazyLock};

/// What a reference refers to, and which fields hold such references.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NameReference {
    pub(super) target: Gvk,
    pub(super) fields: Vec<FieldSpec>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Config {
    pub(super) name_prefix: Vec<FieldSpec>,
    pub(super) name_suffix: Vec<FieldSpec>,
    pub(super) namespace: Vec<FieldSpec>,
    pub(super) common_labels: Vec<FieldSpec>,
    pub(super) template_labels: Vec<FieldSpec>,
    /// Places that every entry of `labels` writes to, besides its own.
    pub(super) labels: Vec<FieldSpec>,
    pub(super) common_annotations: Vec<FieldSpec>,
    pub(super) images: Vec<FieldSpec>,
    pub(super) replicas: Vec<FieldSpec>,
    pub(super) var_reference: Vec<FieldSpec>,
    pub(super) name_reference: Vec<NameReference>,
}

/// The sections of a configuration that are lists of places.
const SECTIONS: [&str; 10] = [
    "namePrefix",
    "nameSuffix",
    "namespace",
    "commonLabels",
    "templateLabels",
    "labels",
    "commonAnnotations",
    "images",
    "replicas",
    "varReference",
];

impl Config {
    /// The places that need no configuration.
    pub(super) fn built_in() -> &'static Arc<Self> {
        static TABLE: LazyLock<Arc<Config>> = LazyLock::new(|| {
            let mut config = Config::from_table(include_str!("facts/fieldspecs.txt"));
            config.sort();
            Arc::new(config)
        });
        &TABLE
    }

    /// Adds another's places to a configuration. The usual case, nothing but the built-in places on both sides, is free.
    pub(super) fn join(into: &mut Arc<Self>, other: &Arc<Self>) -> Result<(), String> {
        let built_in = Self::built_in();
        if Arc::ptr_eq(other, built_in) && (Arc::ptr_eq(into, built_in) || **into == Self::default()) {
            *into = other.clone();
            return Ok(());
        }
        Arc::make_mut(into).merge(other)
    }

    fn section(&mut self, name: &str) -> Option<&mut Vec<FieldSpec>> {
        Some(match name {
            "namePrefix" => &mut self.name_prefix,
            "nameSuffix" => &mut self.name_suffix,
            "namespace" => &mut self.namespace,
            "commonLabels" => &mut self.common_labels,
            "templateLabels" => &mut self.template_labels,
            "labels" => &mut self.labels,
            "commonAnnotations" => &mut self.common_annotations,
            "images" => &mut self.images,
            "replicas" => &mut self.replicas,
            "varReference" => &mut self.var_reference,
            _ => return None,
        })
    }

    fn from_table(text: &'static str) -> Self {
        let mut config = Self::default();
        let mut section = "";
        let part = |word: &str| if word == "*" { "".into() } else { word.into() };
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["section", name] => section = name,
                ["section", name, group, version, kind] => {
                    section = name;
                    let target = Gvk {
                        group: part(group),
                        version: part(version),
                        kind: part(kind),
                    };
                    config.name_reference.push(NameReference {
                        target,
                        fields: Vec::new(),
                    });
                }
                [path, group, version, kind, create] => {
                    let spec = FieldSpec {
                        gvk: Gvk {
                            group: part(group),
                            version: part(version),
                            kind: part(kind),
                        },
                        path: path.into(),
                        create: create == "create",
                    };
                    match config.section(section) {
                        Some(specs) => specs.push(spec),
                        None => config
                            .name_reference
                            .last_mut()
                            .expect("a section precedes")
                            .fields
                            .push(spec),
                    }
                }
                _ => {}
            }
        }
        config
    }

    /// Reads one configuration file.
    pub(super) fn read(node: &Node, tree: &Tree, problems: &mut Diagnostics) -> Self {
        Reader::loose(node, tree, problems, "a transformer configuration", |r| {
            let mut config = Self::default();
            for name in SECTIONS {
                let specs = r.list(name, "a field specification", read_field_spec);
                if let Some(section) = config.section(name) {
                    *section = specs;
                }
            }
            config.name_reference = r.list("nameReference", "an entry of nameReference", |r| NameReference {
                target: read_gvk(r),
                fields: r.list("fieldSpecs", "a field specification", read_field_spec),
            });
            config
        })
    }

    /// Adds the field specs of another configuration. An existing spec for narrower kinds excludes a wider one with the
    /// same path. Because narrower ones are sorted to the front, a configuration for one kind overrides a default for
    /// all kinds.
    pub(super) fn merge(&mut self, other: &Self) -> Result<(), String> {
        let mut other = other.clone();
        for name in SECTIONS {
            let more = other.section(name).map(std::mem::take).unwrap_or_default();
            if let Some(specs) = self.section(name) {
                add_all(specs, &more)?;
            }
        }
        for reference in other.name_reference {
            match self.name_reference.iter_mut().find(|r| r.target == reference.target) {
                Some(there) => add_all(&mut there.fields, &reference.fields)?,
                None => self.name_reference.push(reference),
            }
        }
        self.sort();
        Ok(())
    }

    fn sort(&mut self) {
        for name in SECTIONS {
            if let Some(specs) = self.section(name) {
                specs.sort_by_cached_key(|spec| gvk_rank(&spec.gvk));
            }
        }
        self.name_reference
            .sort_by_cached_key(|reference| gvk_rank(&reference.target));
    }
}

fn read_gvk(r: &mut Reader<'_>) -> Gvk {
    Gvk {
        group: r.text("group").into(),
        version: r.text("version").into(),
        kind: r.text("kind").into(),
    }
}

pub(super) fn read_field_spec(r: &mut Reader<'_>) -> FieldSpec {
    let gvk = read_gvk(r);
    let path = r.located("path").unwrap_or(Located {
        text: String::new(),
        at: r.at(),
    });
    let create = r.flag("create").unwrap_or(false);
    r.value("skip");
    FieldSpec {
        gvk,
        path: path.text.as_str().into(),
        create,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_places_is_whole() {
        let config = Config::built_in();
        assert_eq!(config.common_labels.len(), 32);
        assert_eq!(config.var_reference.len(), 72);
        assert_eq!(config.name_reference.len(), 16);
        assert_eq!(config.name_reference.iter().map(|r| r.fields.len()).sum::<usize>(), 167);
        let mut joined = Config::default();
        joined.merge(config).unwrap();
        assert_eq!(joined, **config, "what join takes for free is what merging gives");
        joined.merge(config).unwrap();
        assert_eq!(joined, **config);
    }

    #[test]
    fn a_place_for_one_kind_takes_the_place_of_the_default_for_all() {
        let spec = |kind: &str| FieldSpec {
            gvk: Gvk::of("", kind),
            path: "metadata/name".into(),
            create: false,
        };
        let mut custom = (**Config::built_in()).clone();
        custom
            .merge(&Config {
                name_prefix: vec![spec("ConfigMap")],
                ..Config::default()
            })
            .unwrap();
        let mut accumulated = Arc::new(Config::default());
        Config::join(&mut accumulated, &Arc::new(custom)).unwrap();
        assert_eq!(accumulated.name_prefix, [spec("ConfigMap")]);
    }
}
