//! ConfigMaps and Secrets from files, env files and literals.

use super::kustomization::Generator;
use super::load::Loader;
use super::reader::Located;
use super::resource::{Behavior, Resource, field_map, set_text, set_texts};
use crate::yaml::{At, Content, Entry, Node, STARTS_WITH_TAB, Tag, is_written_as_block};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is wrong, and where.
pub(super) type Problem = (String, At);

/// Base64 longer than this is broken into lines of this length.
const BASE64_LINE: usize = 70;

pub(super) fn config_map(generator: &Generator, loader: &Loader<'_>) -> Result<Resource, Problem> {
    let mut resource = skeleton(generator, "ConfigMap")?;
    for (key, (value, at)) in pairs(generator, loader, "ConfigMap")? {
        match std::str::from_utf8(&value) {
            Ok(text) if text.starts_with('\t') && text.contains('\n') && is_written_as_block(text) => {
                return Err((
                    format!("{key} of the ConfigMap \"{}\": {STARTS_WITH_TAB}", generator.name),
                    at,
                ));
            }
            Ok(text) => put(&mut resource.node, "data", &key, text, at),
            Err(_) => put(&mut resource.node, "binaryData", &key, &base64_lines(&value), at),
        }
    }
    finish(&mut resource, generator);
    Ok(resource)
}

pub(super) fn secret(generator: &Generator, loader: &Loader<'_>) -> Result<Resource, Problem> {
    let mut resource = skeleton(generator, "Secret")?;
    let kind = if generator.secret_type.is_empty() {
        "Opaque"
    } else {
        &generator.secret_type
    };
    set_text(&mut resource.node, "type", kind);
    field_map(&mut resource.node, "data");
    for (key, (value, at)) in pairs(generator, loader, "Secret")? {
        put(&mut resource.node, "data", &key, &base64_lines(&value), at);
    }
    finish(&mut resource, generator);
    Ok(resource)
}

fn skeleton(generator: &Generator, kind: &str) -> Result<Resource, Problem> {
    if generator.name.is_empty() {
        return Err((format!("a generated {kind} needs a name"), generator.at));
    }
    let mut resource = Resource::new(Node::map().at(generator.at));
    set_text(&mut resource.node, "apiVersion", "v1");
    set_text(&mut resource.node, "kind", kind);
    resource.set_name(&generator.name);
    resource.set_namespace(&generator.namespace);
    resource.behavior = match generator.behavior.as_ref().map(|b| (b.text.as_str(), b.at)) {
        None | Some(("", _)) => Behavior::Unspecified,
        Some(("create", _)) => Behavior::Create,
        Some(("replace", _)) => Behavior::Replace,
        Some(("merge", _)) => Behavior::Merge,
        Some(_) => Behavior::Unspecified,
    };
    Ok(resource)
}

fn finish(resource: &mut Resource, generator: &Generator) {
    let texts = |map: &BTreeMap<String, String>| -> BTreeMap<Arc<str>, Arc<str>> {
        map.iter()
            .map(|(k, v)| (k.as_str().into(), v.as_str().into()))
            .collect()
    };
    let options = &generator.options;
    set_texts(resource.metadata(), "labels", &texts(&options.labels));
    set_texts(resource.metadata(), "annotations", &texts(&options.annotations));
    if options.immutable {
        resource
            .node
            .set("immutable", Node::tagged("true", Tag::Bool).at(generator.at));
    }
    resource.needs_hash = !options.disable_name_suffix_hash;
}

fn put(node: &mut Node, field: &str, key: &str, text: &str, at: At) {
    let map = field_map(node, field);
    if let Content::Map(entries) = &mut map.content {
        entries.push(Entry {
            key: key.into(),
            at,
            value: match text.contains('\n') {
                true => Node::string(text).in_quotes(true).at(at),
                false => Node::string(text).at(at),
            },
        });
    }
}

fn base64_lines(bytes: &[u8]) -> String {
    let packed = STANDARD.encode(bytes);
    if packed.len() <= BASE64_LINE {
        return packed;
    }
    let lines: Vec<&str> = packed
        .as_bytes()
        .chunks(BASE64_LINE)
        .map(|line| std::str::from_utf8(line).expect("base64 is ASCII"))
        .collect();
    lines.join("\n") + "\n"
}

/// All keys with their values, sorted.
fn pairs(generator: &Generator, loader: &Loader<'_>, kind: &str) -> Result<BTreeMap<String, (Vec<u8>, At)>, Problem> {
    let mut all = BTreeMap::new();
    let mut add = |key: String, value: Vec<u8>, at: At| match all.insert(key.clone(), (value, at)) {
        None => Ok(()),
        Some(_) => Err((
            format!("the {kind} \"{}\" gets the key \"{key}\" twice", generator.name),
            at,
        )),
    };
    for source in &generator.envs {
        let (bytes, path) = loader.file(source)?;
        let file = loader.tree.file_id(&path);
        let text = String::from_utf8(bytes.to_vec())
            .map_err(|_| (format!("the env file \"{}\" is not UTF-8 text", source.text), source.at))?;
        let lines = text.strip_prefix('\u{feff}').unwrap_or(&text).lines();
        for (number, line) in (1..).zip(lines) {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            if key.is_empty() {
                continue;
            }
            let at = At {
                file,
                line: number,
                column: 0,
            };
            add(key.to_owned(), value.as_bytes().to_vec(), at)?;
        }
    }
    for source in &generator.literals {
        let (key, value) = source
            .text
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| {
                (
                    format!("the literal \"{}\" must have the form key=value", source.text),
                    source.at,
                )
            })?;
        add(key.to_owned(), unquoted(value).as_bytes().to_vec(), source.at)?;
    }
    for source in &generator.files {
        let (key, path) = file_source(source)?;
        let (bytes, _) = loader.file(&Located {
            text: path,
            at: source.at,
        })?;
        add(key, bytes.to_vec(), source.at)?;
    }
    Ok(all)
}

fn unquoted(value: &str) -> &str {
    ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote).and_then(|rest| rest.strip_suffix(*quote)))
        .unwrap_or(value)
}

/// `path` or `key=path`.
fn file_source(source: &Located) -> Result<(String, String), Problem> {
    let text = &source.text;
    match text.split_once('=') {
        None => Ok((text.rsplit('/').next().unwrap_or(text).to_owned(), text.clone())),
        Some((key, path)) if !key.is_empty() && !path.is_empty() && !path.contains('=') => {
            Ok((key.to_owned(), path.to_owned()))
        }
        Some(_) => Err((
            format!("the file \"{text}\" must have the form path or key=path, with one \"=\" at most"),
            source.at,
        )),
    }
}
