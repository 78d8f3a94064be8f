//! Launch templates and their versions.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::cloud::{Cloud, World};
use super::error::Ec2Error;
use super::filters::Filter;
use super::instances::dry_run;
use super::launch::{Settings, check_tags, tag_specifications};
use super::params::Params;
use super::xml::Xml;

/// A launch template.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    /// Its id.
    pub id: String,
    /// Its name, unique.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The data of version 1, 2, … as they were sent.
    pub versions: Vec<Params>,
    /// The default version.
    pub default: usize,
}

/// The settings that a `LaunchTemplate…Specification` names; none without one.
///
/// # Errors
/// When the template or its version does not exist.
pub(crate) fn data(world: &World, specification: Option<&Params>) -> Result<Settings, Ec2Error> {
    let Some(p) = specification else {
        return Ok(Settings::default());
    };
    let template = find(world, p)?;
    let version = match p.text("Version").unwrap_or("$Default") {
        "$Default" => template.default,
        "$Latest" => template.versions.len(),
        number => number.parse().unwrap_or(0),
    };
    let data = version
        .checked_sub(1)
        .and_then(|i| template.versions.get(i))
        .ok_or_else(|| {
            Ec2Error::new(
                "InvalidLaunchTemplateId.VersionNotFound",
                format!("Could not find launch template version {version} of {}", template.id),
            )
        })?;
    Ok(Settings::read(data))
}

/// The template that a request names by id or name.
///
/// # Errors
/// When there is none.
pub(super) fn find<'w>(world: &'w World, p: &Params) -> Result<&'w Template, Ec2Error> {
    match (p.text("LaunchTemplateId"), p.text("LaunchTemplateName")) {
        (Some(id), None) => world.templates.get(id).ok_or_else(|| {
            Ec2Error::new(
                "InvalidLaunchTemplateId.NotFound",
                format!("The specified launch template, with template ID {id}, does not exist."),
            )
        }),
        (None, Some(name)) => world.templates.values().find(|t| t.name == name).ok_or_else(|| {
            Ec2Error::new(
                "InvalidLaunchTemplateName.NotFoundException",
                format!("The specified launch template, with template name {name}, does not exist."),
            )
        }),
        _ => Err(Ec2Error::new(
            "InvalidParameterCombination",
            "Name the launch template by id or by name, not both",
        )),
    }
}

/// CreateLaunchTemplate.
pub(crate) fn create(cloud: &Cloud, p: &Params, request: &str) -> Result<String, Ec2Error> {
    let name = p
        .text("LaunchTemplateName")
        .ok_or_else(|| Ec2Error::missing("LaunchTemplateName"))?
        .to_owned();
    let data = p
        .at("LaunchTemplateData")
        .ok_or_else(|| Ec2Error::missing("LaunchTemplateData"))?
        .clone();
    let tags = tag_specifications(p).remove("launch-template").unwrap_or_default();
    check_tags(&tags)?;
    dry_run(p)?;
    let mut world = cloud.world();
    let token = p.owned("ClientToken");
    let fingerprint = p.fingerprint(&["ClientToken", "Action", "Version"]);
    let known = world.tokens.look("CreateLaunchTemplate", "", &token, &fingerprint)?;
    if let Some(template) = known.and_then(|ids| world.templates.get(ids.first()?).cloned()) {
        return Ok(Xml::response("CreateLaunchTemplate", request, |x| {
            x.node("launchTemplate", |x| write(x, &template));
        }));
    }
    if world.templates.values().any(|t| t.name == name) {
        return Err(Ec2Error::new(
            "InvalidLaunchTemplateName.AlreadyExistsException",
            format!("Launch template name already in use: {name}"),
        ));
    }
    let id = world.id("lt");
    let template = Template {
        id: id.clone(),
        name,
        created: cloud.clock.now(),
        tags,
        versions: vec![data],
        default: 1,
    };
    world.templates.insert(id.clone(), template.clone());
    world
        .tokens
        .remember("CreateLaunchTemplate", "", &token, fingerprint, vec![id]);
    Ok(Xml::response("CreateLaunchTemplate", request, |x| {
        x.node("launchTemplate", |x| write(x, &template));
    }))
}

/// CreateLaunchTemplateVersion. A source version is refused: what it merges is not modelled.
pub(crate) fn create_version(cloud: &Cloud, p: &Params, request: &str) -> Result<String, Ec2Error> {
    if p.text("SourceVersion").is_some() {
        return Err(Ec2Error::new(
            "UnsupportedOperation",
            "SourceVersion is not modelled by this sandbox",
        ));
    }
    let data = p
        .at("LaunchTemplateData")
        .ok_or_else(|| Ec2Error::missing("LaunchTemplateData"))?
        .clone();
    let mut world = cloud.world();
    let id = find(&world, p)?.id.clone();
    let token = p.owned("ClientToken");
    let fingerprint = p.fingerprint(&["ClientToken", "Action", "Version"]);
    let known = world
        .tokens
        .look("CreateLaunchTemplateVersion", &id, &token, &fingerprint)?;
    let template = world
        .templates
        .get_mut(&id)
        .ok_or_else(|| Ec2Error::new("InternalError", "template is gone"))?;
    let version = match known.and_then(|v| v.first()?.parse::<usize>().ok()) {
        Some(version) => version,
        None => {
            template.versions.push(data);
            template.versions.len()
        }
    };
    let template = template.clone();
    world.tokens.remember(
        "CreateLaunchTemplateVersion",
        &id,
        &token,
        fingerprint,
        vec![version.to_string()],
    );
    Ok(Xml::response("CreateLaunchTemplateVersion", request, |x| {
        x.node("launchTemplateVersion", |x| write_version(x, &template, version));
    }))
}

/// DeleteLaunchTemplate.
pub(crate) fn delete(cloud: &Cloud, p: &Params, request: &str) -> Result<String, Ec2Error> {
    dry_run(p)?;
    let mut world = cloud.world();
    let template = find(&world, p)?.clone();
    world.templates.remove(&template.id);
    Ok(Xml::response("DeleteLaunchTemplate", request, |x| {
        x.node("launchTemplate", |x| write(x, &template));
    }))
}

/// DescribeLaunchTemplates.
pub(crate) fn describe(cloud: &Cloud, p: &Params, request: &str) -> Result<String, Ec2Error> {
    let world = cloud.world();
    let (ids, names) = (p.texts("LaunchTemplateId"), p.texts("LaunchTemplateName"));
    for id in &ids {
        find(&world, &Params::from_form(format!("LaunchTemplateId={id}").as_bytes()))?;
    }
    for name in &names {
        if !world.templates.values().any(|t| t.name == *name) {
            return Err(Ec2Error::new(
                "InvalidLaunchTemplateName.NotFoundException",
                format!("At least one of the launch templates specified in the request does not exist: {name}"),
            ));
        }
    }
    let filters = Filter::of(p);
    let mut chosen = Vec::new();
    for template in world.templates.values() {
        let named =
            (ids.is_empty() && names.is_empty()) || ids.contains(&template.id) || names.contains(&template.name);
        if named && matches(&filters, template)? {
            chosen.push(template);
        }
    }
    let max = p.number("MaxResults");
    if max.is_some_and(|m| !(1..=200).contains(&m)) {
        return Err(Ec2Error::invalid(
            "Value for parameter maxResults is invalid. Expecting a value between 1 and 200.",
        ));
    }
    let (page, next) = super::instances::page(p, chosen, max.unwrap_or(200))?;
    Ok(Xml::response("DescribeLaunchTemplates", request, |x| {
        x.list("launchTemplates", page, write);
        x.maybe("nextToken", next);
    }))
}

fn matches(filters: &[Filter], template: &Template) -> Result<bool, Ec2Error> {
    for filter in filters {
        let taken = match filter.name.as_str() {
            "launch-template-name" => filter.takes(&template.name),
            "tag-key" => filter.takes_any(template.tags.keys().map(String::as_str)),
            name => match name.strip_prefix("tag:") {
                Some(key) => template.tags.get(key).is_some_and(|v| filter.takes(v)),
                None => return Err(Ec2Error::invalid(format!("The filter '{name}' is invalid"))),
            },
        };
        if !taken {
            return Ok(false);
        }
    }
    Ok(true)
}

/// DescribeLaunchTemplateVersions: number, default flag and the data that this sandbox models.
pub(crate) fn describe_versions(cloud: &Cloud, p: &Params, request: &str) -> Result<String, Ec2Error> {
    let world = cloud.world();
    let template = find(&world, p)?;
    let wanted = p.texts("LaunchTemplateVersion");
    let number = |text: &String| match text.as_str() {
        "$Latest" => template.versions.len(),
        "$Default" => template.default,
        number => number.parse().unwrap_or(0),
    };
    let wanted: Vec<usize> = wanted.iter().map(number).collect();
    if let Some(missing) = wanted.iter().find(|v| **v == 0 || **v > template.versions.len()) {
        return Err(Ec2Error::new(
            "InvalidLaunchTemplateId.VersionNotFound",
            format!("Could not find version {missing} of {}", template.id),
        ));
    }
    let all: Vec<usize> = (1..=template.versions.len()).rev().collect();
    let shown = if wanted.is_empty() { all } else { wanted };
    Ok(Xml::response("DescribeLaunchTemplateVersions", request, |x| {
        x.list("launchTemplateVersionSet", shown, |x, v| write_version(x, template, v));
    }))
}

fn write(x: &mut Xml, t: &Template) {
    x.text("launchTemplateId", &t.id);
    x.text("launchTemplateName", &t.name);
    x.text("createTime", t.created);
    x.text("defaultVersionNumber", t.default);
    x.text("latestVersionNumber", t.versions.len());
    x.list("tagSet", &t.tags, |x, (k, v)| {
        x.text("key", k);
        x.text("value", v);
    });
}

fn write_version(x: &mut Xml, t: &Template, version: usize) {
    x.text("launchTemplateId", &t.id);
    x.text("launchTemplateName", &t.name);
    x.text("versionNumber", version);
    x.text("defaultVersion", version == t.default);
    let Some(data) = version.checked_sub(1).and_then(|i| t.versions.get(i)) else {
        return;
    };
    x.node("launchTemplateData", |x| {
        for (element, parameter) in [
            ("imageId", "ImageId"),
            ("instanceType", "InstanceType"),
            ("userData", "UserData"),
        ] {
            x.maybe(element, data.text(parameter));
        }
    });
}
