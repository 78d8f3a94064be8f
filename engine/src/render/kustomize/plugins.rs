//! `transformers`, `validators` and `generators`: the built-in kinds, given as resources. Any other kind would be a
//! program, and no program is run.

use super::build::Step;
use super::config::read_field_spec;
use super::generate::{self, Problem};
use super::kustomization::{Generator, Image, Patch, Replica};
use super::load::Loader;
use super::reader::{Located, Reader, place};
use super::replacement::{Replacement, ReplacementEntry};
use super::resource::{Resource, set_text};
use super::selector::Selector;
use super::simple::{End, Subjects};
use super::value_add::ValueAdd;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::tree::TreePath;
use crate::yaml::Node;

/// Refuses what would have to be run.
fn refuse(resource: &Resource, loader: &Loader<'_>, field: &str) -> Diagnostic {
    Diagnostic::error(format!(
        "{field}: {} of {} is not supported",
        resource.kind(),
        if resource.api_version().is_empty() { "(no apiVersion)" } else { resource.api_version() }
    ))
    .detail("Only the built-in kinds (apiVersion: builtin) are; programs and containers are not run. Run it once, commit its output, and list that file under resources.")
    .at(place(loader.tree, resource.at()))
}

fn is_builtin(resource: &Resource) -> bool {
    let runs = ["config.kubernetes.io/function", "config.k8s.io/function"];
    resource.api_version() == "builtin" && !runs.iter().any(|key| resource.texts("annotations").contains_key(*key))
}

/// The steps that a transformer's configuration describes.
pub(super) fn transformer(
    resource: &Resource,
    file: &TreePath,
    loader: &Loader<'_>,
    field: &str,
) -> Result<Vec<Step>, Diagnostics> {
    if !is_builtin(resource) {
        return Err(refuse(resource, loader, field).into());
    }
    let mut problems = Diagnostics::new();
    let steps = Reader::known(
        &resource.node,
        loader.tree,
        &mut problems,
        "a built-in transformer",
        |r| {
            for header in ["apiVersion", "kind", "metadata"] {
                r.value(header);
            }
            steps(resource, r, file, loader)
        },
    );
    match steps {
        None => Err(refuse(resource, loader, field).into()),
        Some(steps) => problems.or(steps).map(|(steps, _)| steps),
    }
}

fn steps(resource: &Resource, r: &mut Reader<'_>, file: &TreePath, loader: &Loader<'_>) -> Option<Vec<Step>> {
    let at = r.at();
    if resource.kind().ends_with("fixTransformer") {
        r.need("fieldSpecs");
    }
    let fields = |r: &mut Reader<'_>| r.list("fieldSpecs", "a field specification", read_field_spec);
    let step = match resource.kind() {
        "AnnotationsTransformer" => Step::Texts {
            texts: r.map("annotations"),
            fields: fields(r),
            at,
        },
        "LabelTransformer" => Step::Texts {
            texts: r.map("labels"),
            fields: fields(r),
            at,
        },
        "NamespaceTransformer" => {
            let subjects = match r.text("setRoleBindingSubjects").as_str() {
                "" | "defaultOnly" => Subjects::NamedDefault,
                "allServiceAccounts" => Subjects::ServiceAccounts,
                "none" => Subjects::None,
                other => {
                    r.problem(
                        at,
                        format!(
                            "setRoleBindingSubjects must be defaultOnly, allServiceAccounts or none, not \"{other}\""
                        ),
                    );
                    Subjects::None
                }
            };
            let namespace = resource.namespace().to_owned();
            let unset_only = r.flag("unsetOnly").unwrap_or(false);
            Step::Namespace {
                namespace,
                fields: fields(r),
                unset_only,
                subjects,
                at,
            }
        }
        "PrefixTransformer" => Step::Affix {
            end: End::Prefix,
            text: r.text("prefix"),
            fields: fields(r),
            at,
        },
        "SuffixTransformer" => Step::Affix {
            end: End::Suffix,
            text: r.text("suffix"),
            fields: fields(r),
            at,
        },
        "PrefixSuffixTransformer" => {
            let fields = fields(r);
            return Some(vec![
                Step::Affix {
                    end: End::Prefix,
                    text: r.text("prefix"),
                    fields: fields.clone(),
                    at,
                },
                Step::Affix {
                    end: End::Suffix,
                    text: r.text("suffix"),
                    fields,
                    at,
                },
            ]);
        }
        "ImageTagTransformer" => {
            let image = r.inner("imageTag", "an image", Image::read).unwrap_or_default();
            Step::Image {
                image,
                fields: fields(r),
            }
        }
        "ReplicaCountTransformer" => {
            let replica = r.inner("replica", "a replica count", Replica::read).unwrap_or_default();
            Step::Replica {
                replica,
                fields: fields(r),
            }
        }
        "PatchTransformer" => Step::Patch {
            patch: Box::new(Patch::read(r)),
            file: file.clone(),
        },
        "PatchJson6902Transformer" => {
            let patch = Patch {
                at,
                path: r.located("path").filter(|l| !l.text.is_empty()),
                patch: r.located("jsonOp").filter(|l| !l.text.trim().is_empty()),
                target: r.inner("target", "a patch's target", Selector::read),
                json_only: true,
                ..Patch::default()
            };
            patch.needs_name(r);
            Step::Patch {
                patch: Box::new(patch),
                file: file.clone(),
            }
        }
        "PatchStrategicMergeTransformer" => {
            let mut patches = r.texts("paths");
            patches.extend(r.located("patches").filter(|l| !l.text.is_empty()));
            if patches.is_empty() {
                r.problem(at, "a PatchStrategicMergeTransformer needs paths or patches");
            }
            Step::Merges {
                patches,
                file: file.clone(),
            }
        }
        "ReplacementTransformer" => {
            let entries = r.list("replacements", "a replacement", |r| match r.located("path") {
                Some(path) => ReplacementEntry::File(path),
                None => ReplacementEntry::Inline(Box::new(Replacement::read(r))),
            });
            Step::Replacements { entries }
        }
        "HashTransformer" => Step::Hash,
        "ValueAddTransformer" => Step::Value(Box::new(ValueAdd::read(r, loader))),
        _ => return None,
    };
    Some(vec![step])
}

/// The resource that a generator's configuration describes.
pub(super) fn generator(resource: &Resource, loader: &Loader<'_>) -> Result<Resource, Diagnostics> {
    let secret = match (is_builtin(resource), resource.kind()) {
        (true, "ConfigMapGenerator") => false,
        (true, "SecretGenerator") => true,
        (true, "IAMPolicyGenerator") => return iam_policy(resource, loader),
        _ => return Err(refuse(resource, loader, "generators").into()),
    };
    let mut problems = Diagnostics::new();
    let mut generator = Reader::known(
        &resource.node,
        loader.tree,
        &mut problems,
        "a built-in generator",
        |r| {
            for header in ["apiVersion", "kind", "metadata"] {
                r.value(header);
            }
            Generator::read(r, secret)
        },
    );
    let meta = |name| {
        resource
            .node
            .path(&["metadata", name])
            .and_then(Node::text)
            .unwrap_or_default()
            .to_owned()
    };
    if generator.name.is_empty() {
        generator.name = meta("name");
    }
    if generator.namespace.is_empty() {
        generator.namespace = meta("namespace");
    }
    let (generator, _) = problems.or(generator)?;
    let made = if secret {
        generate::secret(&generator, loader)
    } else {
        generate::config_map(&generator, loader)
    };
    made.map_err(|problem| tell(loader, problem).into())
}

/// The service account of a workload identity on Google's cloud, the only one that the original knows.
fn iam_policy(resource: &Resource, loader: &Loader<'_>) -> Result<Resource, Diagnostics> {
    let mut problems = Diagnostics::new();
    let made = Reader::known(
        &resource.node,
        loader.tree,
        &mut problems,
        "an IAMPolicyGenerator",
        |r| {
            let cloud = r.text("cloud");
            if cloud != "gke" {
                r.problem(
                    r.at(),
                    format!("the cloud of an IAMPolicyGenerator is gke, not \"{cloud}\""),
                );
            }
            let service = |r: &mut Reader<'_>| (r.text("namespace"), r.text("name"));
            let (namespace, name) = r
                .inner("kubernetesService", "kubernetesService", service)
                .unwrap_or_default();
            let account = |r: &mut Reader<'_>| (r.text("name"), r.text("projectId"));
            let (account, project) = r.inner("serviceAccount", "serviceAccount", account).unwrap_or_default();
            let mut made = Resource::new(Node::map().at(r.at()));
            set_text(&mut made.node, "apiVersion", "v1");
            set_text(&mut made.node, "kind", "ServiceAccount");
            let email = format!("{account}@{project}.iam.gserviceaccount.com");
            made.set_texts(
                "annotations",
                &[("iam.gke.io/gcp-service-account".into(), email.as_str().into())].into(),
            );
            made.set_name(&name);
            made.set_namespace(&namespace);
            made
        },
    );
    problems.or(made).map(|(made, _)| made)
}

pub(super) fn tell(loader: &Loader<'_>, (summary, at): Problem) -> Diagnostic {
    Diagnostic::error(summary).at(place(loader.tree, at))
}

/// Whether a text in a list of files is a document of its own.
pub(super) fn is_inline(named: &Located) -> bool {
    named.text.contains('\n') || named.text.contains(": ")
}
