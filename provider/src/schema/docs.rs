//! The reference page of a schema, in the layout that the Terraform registry renders.
//!
//! Nothing in a page is written twice: names, types, rules and descriptions come from the schema alone.

use std::fmt::Write;

use super::{Attribute, IdentitySchema, Kind, Nesting, Presence, Schema};
use crate::value::Type;

/// What a page says that a schema does not know.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// Heading, such as `myelin_stack`.
    pub title: &'a str,
    /// `Resource`, `Data Source` or `Provider`.
    pub kind: &'a str,
    /// A complete example in HCL.
    pub example: Option<&'a str>,
    /// How to import, in Markdown.
    pub import: Option<&'a str>,
}

/// The whole page, with front matter.
pub fn markdown(page: Page<'_>, schema: &Schema, identity: Option<&IdentitySchema>) -> String {
    let mut out = String::new();
    let summary = schema
        .description
        .split("\n\n")
        .next()
        .unwrap_or_default()
        .replace('\n', " ");
    let Page { title, kind, .. } = page;
    put(
        &mut out,
        format_args!("---\npage_title: \"{title} ({kind})\"\nsubcategory: \"\"\ndescription: |-\n  {summary}\n---\n"),
    );
    put(
        &mut out,
        format_args!("\n# {title} ({kind})\n\n{}\n", schema.description),
    );
    if let Some(example) = page.example {
        put(
            &mut out,
            format_args!("\n## Example Usage\n\n```terraform\n{}\n```\n", example.trim_end()),
        );
    }
    put(&mut out, format_args!("\n## Schema\n"));
    let mut nested = Vec::new();
    section(&mut out, &schema.attributes, "", &mut nested);
    let mut next = 0;
    while next < nested.len() {
        let (path, attributes): (String, &[Attribute]) = (nested[next]).clone();
        let anchor = anchor(&path);
        put(
            &mut out,
            format_args!("\n<a id=\"{anchor}\"></a>\n### Nested Schema for `{path}`\n"),
        );
        section(&mut out, attributes, &path, &mut nested);
        next += 1;
    }
    if let Some(identity) = identity {
        put(&mut out, format_args!("\n## Identity\n\n"));
        for attribute in &identity.attributes {
            let need = if attribute.required {
                "required for import"
            } else {
                "optional for import"
            };
            put(
                &mut out,
                format_args!("- `{}` (String, {need}) {}\n", attribute.name, attribute.description),
            );
        }
    }
    if let Some(import) = page.import {
        put(&mut out, format_args!("\n## Import\n\n{}\n", import.trim_end()));
    }
    out
}

fn section<'s>(
    out: &mut String,
    attributes: &'s [Attribute],
    prefix: &str,
    nested: &mut Vec<(String, &'s [Attribute])>,
) {
    type Belongs = fn(Presence) -> bool;
    let groups: [(&str, Belongs); 3] = [
        ("Required", |presence| presence == Presence::Required),
        ("Optional", |presence| {
            matches!(presence, Presence::Optional | Presence::OptionalComputed)
        }),
        ("Read-Only", |presence| presence == Presence::Computed),
    ];
    for (heading, belongs) in groups {
        let members: Vec<&Attribute> = attributes
            .iter()
            .filter(|attribute| belongs(attribute.presence))
            .collect();
        if members.is_empty() {
            continue;
        }
        let level = if prefix.is_empty() { "###" } else { "####" };
        put(out, format_args!("\n{level} {heading}\n\n"));
        for attribute in members {
            put(
                out,
                format_args!(
                    "- `{}` ({}) {}",
                    attribute.name,
                    traits(attribute),
                    attribute.description
                ),
            );
            for rule in &attribute.rules {
                put(out, format_args!(" Must be {}.", rule.words()));
            }
            if let Kind::Nested(_, inner) = &attribute.kind {
                let path = if prefix.is_empty() {
                    attribute.name.to_owned()
                } else {
                    format!("{prefix}.{}", attribute.name)
                };
                put(
                    out,
                    format_args!(" (see [below for nested schema](#{}))", anchor(&path)),
                );
                nested.push((path, inner));
            }
            out.push('\n');
        }
    }
}

fn anchor(path: &str) -> String {
    format!("nestedatt--{}", path.replace('.', "--"))
}

fn traits(attribute: &Attribute) -> String {
    let mut traits = vec![match &attribute.kind {
        Kind::Plain(ty) => type_name(ty),
        Kind::Nested(Nesting::Single, _) => "Attributes".to_owned(),
        Kind::Nested(Nesting::List, _) => "Attributes List".to_owned(),
        Kind::Nested(Nesting::Map, _) => "Attributes Map".to_owned(),
    }];
    if attribute.write_only {
        traits.push("Write-only".to_owned());
    } else if attribute.sensitive {
        traits.push("Sensitive".to_owned());
    }
    if attribute.deprecated.is_some() {
        traits.push("Deprecated".to_owned());
    }
    if attribute.replaces {
        traits.push("Forces replacement".to_owned());
    }
    traits.join(", ")
}

fn type_name(ty: &Type) -> String {
    match ty {
        Type::Bool => "Boolean".to_owned(),
        Type::Number => "Number".to_owned(),
        Type::String => "String".to_owned(),
        Type::Dynamic => "Dynamic".to_owned(),
        Type::List(element) => format!("List of {}", type_name(element)),
        Type::Set(element) => format!("Set of {}", type_name(element)),
        Type::Map(element) => format!("Map of {}", type_name(element)),
        Type::Tuple(_) => "Tuple".to_owned(),
        Type::Object(_) => "Object".to_owned(),
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string cannot fail");
}
