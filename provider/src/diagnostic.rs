//! What Terraform shows the user: the provider's form of a problem, and the conversion from the engine's form.
//!
//! A problem that a user can cause is always a diagnostic, never a gRPC status: Terraform prints a status as a plugin
//! bug.

use myelin_engine::diagnostic as engine;
use myelin_proto::tfplugin6 as tf;

use crate::spelling::in_hcl;
use crate::value::{Path, Step};

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it stops the operation.
    pub is_error: bool,
    /// What failed, in one line.
    pub summary: String,
    /// Why, and what to do next.
    pub detail: String,
    /// Where in the configuration, if it is about one place.
    pub path: Option<Path>,
}

impl Diagnostic {
    /// A problem that stops the operation.
    pub fn error(summary: impl Into<String>, detail: impl Into<String>) -> Diagnostic {
        Diagnostic {
            is_error: true,
            summary: summary.into(),
            detail: detail.into(),
            path: None,
        }
    }

    /// A problem that does not.
    pub fn warning(summary: impl Into<String>, detail: impl Into<String>) -> Diagnostic {
        Diagnostic {
            is_error: false,
            ..Diagnostic::error(summary, detail)
        }
    }

    /// The same, about that place.
    #[must_use]
    pub fn at(mut self, path: Path) -> Diagnostic {
        self.path = Some(path);
        self
    }

    fn to_wire(&self) -> tf::Diagnostic {
        use tf::diagnostic::Severity;
        tf::Diagnostic {
            severity: if self.is_error {
                Severity::Error
            } else {
                Severity::Warning
            }
            .into(),
            summary: self.summary.clone(),
            detail: self.detail_with_place(),
            attribute: self.path.as_ref().map(|path| wire_path(&shown(path))),
        }
    }

    /// The detail, plus the complete place if Terraform gets only its beginning and the text does not name it.
    fn detail_with_place(&self) -> String {
        let Some(path) = self.path.as_ref().filter(|path| shown(path) != **path) else {
            return self.detail.clone();
        };
        let place = path.to_string();
        if self.summary.contains(&place) || self.detail.contains(&place) {
            return self.detail.clone();
        }
        let gap = if self.detail.is_empty() { "" } else { "\n\n" };
        format!("{}{gap}At {place}.", self.detail)
    }
}

/// As much of a path as Terraform finds in the source: an attribute of the resource and, in it, one key or position.
/// For deeper steps it looks up the last name among the resource's own attributes, and shows the wrong line or none.
fn shown(path: &Path) -> Path {
    let deepest = match path.steps() {
        [Step::Attribute(_), Step::Key(_) | Step::Index(_), ..] => 2,
        _ => 1,
    };
    path.steps()
        .iter()
        .take(deepest)
        .fold(Path::root(), |path, step| path.then(step.clone()))
}

/// All problems of one call, in the order in which they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// One more.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Whether any stops the operation.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|diagnostic| diagnostic.is_error)
    }

    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }

    /// The protocol's form.
    pub fn to_wire(&self) -> Vec<tf::Diagnostic> {
        self.0.iter().map(Diagnostic::to_wire).collect()
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<I: IntoIterator<Item = Diagnostic>>(&mut self, more: I) {
        self.0.extend(more);
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(one: Diagnostic) -> Diagnostics {
        Diagnostics(vec![one])
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<I: IntoIterator<Item = Diagnostic>>(all: I) -> Diagnostics {
        Diagnostics(all.into_iter().collect())
    }
}

/// The protocol's form of a path.
pub fn wire_path(path: &Path) -> tf::AttributePath {
    use tf::attribute_path::{Step as WireStep, step::Selector};
    let steps = path.steps().iter().map(|step| WireStep {
        selector: Some(match step {
            Step::Attribute(name) => Selector::AttributeName(name.clone()),
            Step::Key(key) => Selector::ElementKeyString(key.clone()),
            Step::Index(index) => Selector::ElementKeyInt(i64::try_from(*index).unwrap_or(i64::MAX)),
        }),
    });
    tf::AttributePath { steps: steps.collect() }
}

/// The engine's problem as Terraform shows it. `locate` turns the document's field names into a place in the schema.
pub fn from_engine(problem: &engine::Diagnostic, locate: impl Fn(&[String]) -> Option<Path>) -> Diagnostic {
    let mut detail = Vec::new();
    if let Some(place) = &problem.place {
        detail.push(format!("At {place}."));
    }
    if let Some(object) = &problem.object {
        let names = [object.to_string(), object.human()];
        if !names
            .iter()
            .any(|name| problem.summary.contains(name) || problem.detail.contains(name))
        {
            detail.push(format!("Object: {}.", names[0]));
        }
    }
    if !problem.detail.is_empty() {
        detail.push(problem.detail.clone());
    }
    let of_document = !problem.attribute.is_empty();
    let summary = in_hcl(&problem.summary, of_document);
    let (summary, rest) = headline(&summary);
    if !rest.is_empty() {
        detail.insert(0, rest.to_owned());
    }
    Diagnostic {
        is_error: problem.is_error(),
        summary: summary.to_owned(),
        detail: in_hcl(&detail.join("\n\n"), of_document),
        path: if problem.attribute.is_empty() {
            None
        } else {
            locate(&problem.attribute)
        },
    }
}

/// The longest headline.
const HEADLINE: usize = 110;

/// Splits a long line at the last colon that leaves a headline: `Pod a/b: ImagePullBackOff` and the rest. What the API server says
/// stays whole: its sentences are full of colons.
fn headline(text: &str) -> (&str, &str) {
    if text.chars().count() <= HEADLINE {
        return (text, "");
    }
    let answer = text.find("the API server answered ");
    let answer = answer.and_then(|from| Some(from + text[from..].find(": ")?));
    let sentence = [" is forbidden: ", " is invalid: "]
        .iter()
        .filter_map(|s| text.find(s))
        .min();
    let end = answer.or(sentence).unwrap_or(HEADLINE).min(HEADLINE);
    let colons = text.match_indices(": ").map(|(at, _)| at).take_while(|at| *at <= end);
    colons.last().map_or((text, ""), |at| (&text[..at], &text[at + 2..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terraform_is_told_the_attribute_and_one_key_and_the_text_names_the_rest() {
        let place = Path::root()
            .then(Step::Attribute("tokens".into()))
            .then(Step::Key("t".into()))
            .then(Step::Attribute("secret".into()))
            .then(Step::Attribute("name".into()));
        let problem = Diagnostic::error("\"A B\" cannot name a Secret", "use lower-case letters").at(place);
        let told = problem.to_wire();
        assert_eq!(told.attribute.expect("a place").steps.len(), 2);
        assert_eq!(told.detail, "use lower-case letters\n\nAt tokens[\"t\"].secret.name.");
        let flat = Diagnostic::error("no", "").at(Path::root().then(Step::Attribute("name".into())));
        let told = flat.to_wire();
        assert_eq!(told.attribute.expect("a place").steps.len(), 1);
        assert_eq!(told.detail, "");
    }

    #[test]
    fn a_long_reason_has_a_headline_and_the_rest_below() {
        let rest = "x".repeat(200);
        let text = format!("StatefulSet a/b: pod b-0: ErrImagePull: {rest}");
        assert_eq!(
            headline(&text),
            ("StatefulSet a/b: pod b-0: ErrImagePull", rest.as_str())
        );
        assert_eq!(headline("short: reason"), ("short: reason", ""));
        let says =
            "configmaps \"c\" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=2, limited: 2";
        for head in [
            "ConfigMap a/c: the API server answered 403 Forbidden",
            "Deployment a/d: FailedCreate",
        ] {
            assert_eq!(headline(&format!("{head}: {says}")), (head, says));
        }
        assert_eq!(headline(&rest), (rest.as_str(), ""));
    }
}
