//! Which images exist. There is no registry: the name decides.
//!
//! A name that cannot be parsed is refused; hosts that the standards reserve (`*.invalid`, `example.com`, ...) do not
//! resolve; a tag `missing` is not found; all other images can be pulled. `busybox` is on the node, and its applets are
//! modelled.

use super::shell::Millis;

/// What comes of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Image {
    /// On the node already.
    Present,
    /// To be pulled, which takes a while.
    Pull(Millis),
    /// Not to be had: what the runtime says.
    Failed(String),
    /// Not a name.
    Invalid(String),
    /// Not here, and not to be pulled.
    Never,
}

/// Whether an image is one whose programs the sandbox models one by one.
pub(crate) fn is_closed(image: &str) -> bool {
    let name = repository(image);
    name == "busybox" || name.ends_with("/busybox")
}

fn repository(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

/// The name as the runtime knows it: with registry and tag.
pub(crate) fn normalized(image: &str) -> String {
    let (name, tag) = match image.split_once('@') {
        Some((name, digest)) => (name.to_owned(), format!("@{digest}")),
        None => match image.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name.to_owned(), format!(":{tag}")),
            _ => (image.to_owned(), ":latest".to_owned()),
        },
    };
    let host = name.split('/').next().unwrap_or_default();
    let name = if !name.contains('/') {
        format!("docker.io/library/{name}")
    } else if host.contains(['.', ':']) || host == "localhost" {
        name
    } else {
        format!("docker.io/{name}")
    };
    name + &tag
}

/// A digest that is the same for the same image.
pub(crate) fn id(image: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(normalized(image).as_bytes());
    format!(
        "sha256:{}",
        digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    )
}

fn parses(image: &str) -> bool {
    let (name, digest) = image
        .split_once('@')
        .map_or((image, None), |(name, digest)| (name, Some(digest)));
    if digest.is_some_and(|digest| {
        !digest
            .strip_prefix("sha256:")
            .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
    }) {
        return false;
    }
    let (path, tag) = match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (name, None),
    };
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if tag.is_some_and(|tag| tag.is_empty() || tag.len() > 128 || tag.starts_with(['.', '-']) || !tag.chars().all(word))
    {
        return false;
    }
    let mut parts = path.split('/').peekable();
    let mut first = true;
    while let Some(part) = parts.next() {
        let host = first && parts.peek().is_some() && (part.contains(['.', ':']) || part == "localhost");
        first = false;
        let fits = |c: char| {
            if host {
                word(c) || c == ':'
            } else {
                c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.' | '-')
            }
        };
        if part.is_empty()
            || !part.chars().all(fits)
            || (!host && part.starts_with(['.', '-', '_']))
            || (!host && part.ends_with(['.', '-', '_']))
        {
            return false;
        }
    }
    true
}

/// Names that the standards keep from ever resolving to a registry.
fn reserved(host: &str) -> bool {
    let host = host.split(':').next().unwrap_or(host);
    [
        "invalid",
        "test",
        "example",
        "example.com",
        "example.net",
        "example.org",
    ]
    .iter()
    .any(|name| host == *name || host.ends_with(&format!(".{name}")))
}

/// The result of pulling an image, given the images on the node and the container's pull policy.
pub(crate) fn resolve(image: &str, policy: &str, present: bool, dns: &str) -> Image {
    if !parses(image) {
        let why = format!(
            "Failed to apply default image tag \"{image}\": couldn't parse image name \"{image}\": invalid reference format"
        );
        return Image::Invalid(why);
    }
    let full = normalized(image);
    let here = present || full == "docker.io/library/busybox:1.36";
    if here && policy != "Always" {
        return Image::Present;
    }
    if policy == "Never" {
        return Image::Never;
    }
    let (host, path) = full.split_once('/').unwrap_or(("docker.io", &full));
    let (name, tag) = match path.split_once('@') {
        Some((name, digest)) => (name, digest),
        None => path.rsplit_once(':').unwrap_or((path, "latest")),
    };
    let failed = |why: String| {
        Image::Failed(format!(
            "failed to pull and unpack image \"{full}\": failed to resolve reference \"{full}\": {why}"
        ))
    };
    if reserved(host) {
        return failed(format!(
            "failed to do request: Head \"https://{host}/v2/{name}/manifests/{tag}\": dial tcp: lookup {} on {dns}:53: no such host",
            host.split(':').next().unwrap_or(host)
        ));
    }
    if tag == "missing" || tag.ends_with("-missing") {
        return failed(format!("{full}: not found"));
    }
    Image::Pull(if here { 100 } else { 600 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_decide_what_comes_of_an_image() {
        let says = |image: &str| match resolve(image, "IfNotPresent", false, "10.0.0.10") {
            Image::Failed(why) | Image::Invalid(why) => why,
            other => format!("{other:?}"),
        };
        assert_eq!(says("busybox:1.36"), "Present");
        assert_eq!(says("vertexproject/synapse-aha:v2.256.0"), "Pull(600)");
        assert_eq!(
            says("example.invalid/nope:1"),
            "failed to pull and unpack image \"example.invalid/nope:1\": failed to resolve reference \"example.invalid/nope:1\": failed to do request: Head \
             \"https://example.invalid/v2/nope/manifests/1\": dial tcp: lookup example.invalid on 10.0.0.10:53: no such host"
        );
        assert!(says("nginx:missing").ends_with("docker.io/library/nginx:missing: not found"));
        assert!(says("busybox:1.36:oops").contains("invalid reference format"));
        assert!(says("UPPER/case").contains("invalid reference format"));
        assert_eq!(resolve("a:1", "Never", false, ""), Image::Never);
        assert_eq!(normalized("localhost:5000/a"), "localhost:5000/a:latest");
    }
}
