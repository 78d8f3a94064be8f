//! The `Accept` header: JSON, YAML, and the forms Table, PartialObjectMetadata and aggregated discovery.

use crate::kubernetes::registry::Failure;

/// One acceptable form.
#[derive(Debug, Clone, PartialEq)]
struct Clause {
    media: String,
    quality: f32,
    form: String,
    version: String,
    group: String,
}

/// What a client accepts, best first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accept {
    clauses: Vec<Clause>,
    given: bool,
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    Json,
    Yaml,
}

/// What an object is turned into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Itself.
    Object,
    /// A table.
    Table,
    /// Metadata only.
    Partial,
    /// Metadata only, of a list.
    PartialList,
}

impl Accept {
    /// Read the header.
    pub(crate) fn parse(header: Option<&str>) -> Self {
        let Some(header) = header.filter(|h| !h.trim().is_empty()) else {
            return Self::default();
        };
        let mut clauses = Vec::new();
        for text in header.split(',').take(32) {
            let mut parts = text.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let mut clause = Clause {
                media,
                quality: 1.0,
                form: String::new(),
                version: String::new(),
                group: String::new(),
            };
            for part in parts {
                match part.split_once('=') {
                    Some(("q", value)) => clause.quality = value.parse().unwrap_or(1.0),
                    Some(("as", value)) => value.clone_into(&mut clause.form),
                    Some(("v", value)) => value.clone_into(&mut clause.version),
                    Some(("g", value)) => value.clone_into(&mut clause.group),
                    _ => {}
                }
            }
            clauses.push(clause);
        }
        clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
        Self { clauses, given: true }
    }

    fn media(media: &str) -> Option<Media> {
        match media {
            "application/json" | "*/*" => Some(Media::Json),
            "application/yaml" => Some(Media::Yaml),
            _ => None,
        }
    }

    /// The form for objects of the API.
    pub(crate) fn object(&self) -> Result<(Media, Form), Failure> {
        if !self.given {
            return Ok((Media::Json, Form::Object));
        }
        let mut transforms = false;
        for clause in &self.clauses {
            let Some(media) = Self::media(&clause.media) else {
                continue;
            };
            let known = clause.group == "meta.k8s.io" && matches!(clause.version.as_str(), "v1" | "v1beta1");
            match clause.form.as_str() {
                "" => return Ok((media, Form::Object)),
                "Table" if known => return Ok((media, Form::Table)),
                "PartialObjectMetadata" if known => return Ok((media, Form::Partial)),
                "PartialObjectMetadataList" if known => return Ok((media, Form::PartialList)),
                _ => transforms = true,
            }
        }
        Err(not_acceptable(transforms))
    }

    /// Plain objects only: discovery documents, errors of unknown paths.
    pub(crate) fn kubernetes(&self) -> Result<Media, Failure> {
        if !self.given {
            return Ok(Media::Json);
        }
        let mut transforms = false;
        for clause in &self.clauses {
            let Some(media) = Self::media(&clause.media) else {
                continue;
            };
            if clause.form.is_empty() {
                return Ok(media);
            }
            transforms = true;
        }
        Err(not_acceptable(transforms))
    }

    /// For `/api` and `/apis`: whether aggregated discovery comes before the plain form.
    pub(crate) fn aggregated(&self) -> bool {
        for clause in &self.clauses {
            if Self::media(&clause.media).is_none() {
                continue;
            }
            match clause.form.as_str() {
                "" => return false,
                "APIGroupDiscoveryList" if clause.group == "apidiscovery.k8s.io" && clause.version == "v2" => {
                    return true;
                }
                _ => {}
            }
        }
        false
    }

    /// For errors: whatever can be spoken, JSON if nothing can.
    pub(crate) fn lenient(&self) -> Media {
        let mut medias = self.clauses.iter().filter_map(|clause| Self::media(&clause.media));
        medias.next().unwrap_or(Media::Json)
    }
}

fn not_acceptable(transforms: bool) -> Failure {
    let message = if transforms {
        "only the following media types are accepted: application/json, application/yaml, \
         application/vnd.kubernetes.protobuf"
    } else {
        "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, \
         application/vnd.kubernetes.protobuf"
    };
    let mut failure = Failure::new(406, "NotAcceptable", message);
    failure.details = Some(serde_json::json!({}));
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_form_that_can_be_spoken_is_chosen() {
        for (header, expected) in [
            ("*/*", Some((Media::Json, Form::Object))),
            ("application/*", None),
            ("application/yaml", Some((Media::Yaml, Form::Object))),
            ("text/html, application/json;q=0.5", Some((Media::Json, Form::Object))),
            (
                "application/yaml;q=0.5, application/json",
                Some((Media::Json, Form::Object)),
            ),
            (
                "application/vnd.kubernetes.protobuf, application/json",
                Some((Media::Json, Form::Object)),
            ),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
                Some((Media::Json, Form::Table)),
            ),
            (
                "application/json;as=Unknown;v=v1;g=meta.k8s.io,application/json",
                Some((Media::Json, Form::Object)),
            ),
            ("application/json;as=Unknown;v=v1;g=meta.k8s.io", None),
        ] {
            assert_eq!(Accept::parse(Some(header)).object().ok(), expected, "{header}");
        }
    }
}
