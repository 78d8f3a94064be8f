//! `myelin.yaml`: which sources there are. All problems at once, each with its line; nothing in it holds a secret, only names of
//! files that do.

use crate::git::Transport;
use myelin_engine::diagnostic::{Diagnostic, Diagnostics, FilePlace};
use myelin_engine::document::parse_duration;
use myelin_engine::yaml::{At, Entry, FileId, Limits, Node, Profile, parse_one};
use std::path::PathBuf;
use std::time::Duration;

/// One branch of one repository, kept as deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceConfiguration {
    /// Name; it is the owner that records name, so it must not change.
    pub(crate) name: String,
    /// `https://…`, `file://…` or an absolute path.
    pub(crate) url: String,
    /// Branch.
    pub(crate) branch: String,
    /// Folder of the documents in the repository.
    pub(crate) path: String,
    /// How often the branch is looked at.
    pub(crate) interval: Duration,
    /// How long one request may take.
    pub(crate) timeout: Duration,
    /// What a commit may remove, in per cent of the objects that there are.
    pub(crate) blast_radius: u8,
    /// Credentials and authorities of an https remote.
    pub(crate) transport: Transport,
    /// File of those whose signature a commit needs; no signature is needed if not given.
    pub(crate) signers: Option<PathBuf>,
}

/// Looks at a branch this often when nothing is said.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(60);
const FIELDS: [&str; 10] = [
    "name",
    "url",
    "branch",
    "path",
    "interval",
    "timeout",
    "blastRadius",
    "credentials",
    "authorities",
    "signers",
];

impl SourceConfiguration {
    /// A source with everything left as it is usually wanted.
    pub(crate) fn new(name: &str, url: &str) -> Self {
        Self {
            name: name.to_owned(),
            url: url.to_owned(),
            branch: "main".to_owned(),
            path: ".".to_owned(),
            interval: INTERVAL,
            timeout: TIMEOUT,
            blast_radius: 30,
            transport: Transport::default(),
            signers: None,
        }
    }
}

/// Reads the file.
///
/// # Errors
/// All its problems.
pub(crate) fn read(path: &PathBuf) -> Result<Vec<SourceConfiguration>, Diagnostics> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Diagnostic::error(format!("the configuration {shown} cannot be read")).detail(error.to_string())
    })?;
    sources(&text, &shown)
}

fn sources(text: &str, file: &str) -> Result<Vec<SourceConfiguration>, Diagnostics> {
    let node = parse_one(text, FileId(0), Profile::Manifest, Limits::default()).map_err(|error| error.in_file(file))?;
    let mut reading = Reading {
        file,
        problems: Diagnostics::new(),
    };
    for entry in node.entries() {
        if &*entry.key != "sources" {
            reading.unknown(entry, "the only field is sources");
        }
    }
    let list = node.get("sources").map(Node::items).unwrap_or_default();
    let sources: Vec<SourceConfiguration> = list.iter().filter_map(|item| reading.source(item)).collect();
    if sources.is_empty() && reading.problems.is_empty() {
        reading.problem(
            &node,
            "names no source",
            "write sources: [{name: main, url: https://…}]",
        );
    }
    for (i, source) in sources.iter().enumerate() {
        if sources[..i].iter().any(|other| other.name == source.name) {
            reading.problem(
                &list[i],
                &format!("is the second source named {}", source.name),
                "give each its own name",
            );
        }
    }
    reading.problems.or(sources).map(|(sources, _)| sources)
}

struct Reading<'a> {
    file: &'a str,
    problems: Diagnostics,
}

impl Reading<'_> {
    fn problem(&mut self, node: &Node, what: &str, fix: &str) {
        let subject = node
            .text()
            .map_or_else(|| "this".to_owned(), |text| format!("\"{text}\""));
        self.tell(node.at, format!("{subject} {what}"), fix);
    }

    fn unknown(&mut self, entry: &Entry, fix: &str) {
        self.tell(entry.at, format!("there is no field \"{}\" here", entry.key), fix);
    }

    fn tell(&mut self, at: At, summary: String, fix: &str) {
        self.problems.push(Diagnostic::error(summary).detail(fix).at(FilePlace {
            file: self.file.to_owned(),
            line: (at.line > 0).then_some(at.line),
            column: (at.column > 0).then_some(at.column),
        }));
    }

    fn source(&mut self, item: &Node) -> Option<SourceConfiguration> {
        for entry in item.entries() {
            if !FIELDS.contains(&&*entry.key) {
                self.unknown(entry, &format!("fields: {}", FIELDS.join(", ")));
            }
        }
        let text = |name: &str| item.get(name).and_then(Node::text).filter(|text| !text.is_empty());
        let mut source = SourceConfiguration::new(text("name").unwrap_or_default(), text("url").unwrap_or_default());
        if !is_name(&source.name) {
            self.problem(
                item,
                "needs a name",
                "name: at most 40 lower-case letters, digits and dashes",
            );
        }
        if !is_url(&source.url) {
            self.problem(item, "needs a url", "url: https://…, file://… or an absolute path");
        }
        if source.url.split_once("://").is_some_and(|(scheme, rest)| {
            scheme.starts_with("http") && rest.split('/').next().is_some_and(|host| host.contains('@'))
        }) {
            self.problem(
                item,
                "has a password in its url",
                "keep it in a file and name that file under credentials",
            );
        }
        source.branch = text("branch").unwrap_or("main").to_owned();
        source.path = text("path").unwrap_or(".").to_owned();
        source.transport.credentials = text("credentials").map(PathBuf::from);
        source.transport.authorities = text("authorities").map(PathBuf::from);
        source.signers = text("signers").map(PathBuf::from);
        for (name, value) in [("interval", &mut source.interval), ("timeout", &mut source.timeout)] {
            if let Some(node) = item.get(name) {
                match node.text().map(parse_duration) {
                    Some(Ok(span)) if span >= Duration::from_secs(1) => *value = span,
                    _ => self.problem(
                        node,
                        "is not a duration of at least one second",
                        "write for example 30s",
                    ),
                }
            }
        }
        if let Some(node) = item.get("blastRadius") {
            match node
                .text()
                .and_then(|text| text.trim_end_matches('%').parse::<u8>().ok())
            {
                Some(percent) if percent <= 100 => source.blast_radius = percent,
                _ => self.problem(node, "is not a share", "write for example 30%"),
            }
        }
        Some(source)
    }
}

/// Whether a text can name a source: it becomes part of the name of an object and of the owner in records.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 40
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_url(text: &str) -> bool {
    ["https://", "file://", "/"].iter().any(|start| text.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_what_is_said_and_else_the_usual() {
        let text = "sources:\n- name: main\n  url: https://example.com/x.git\n- {name: b, url: file:///srv/b, branch: prod, path: deploy, interval: 5s, blastRadius: 50%}\n";
        let found = sources(text, "myelin.yaml").expect("sources");
        assert_eq!(found[0], SourceConfiguration::new("main", "https://example.com/x.git"));
        assert_eq!(
            (
                found[1].branch.as_str(),
                found[1].path.as_str(),
                found[1].interval,
                found[1].blast_radius
            ),
            ("prod", "deploy", Duration::from_secs(5), 50)
        );
    }

    #[test]
    fn all_problems_come_at_once_with_their_lines() {
        let text = "sorces: []\nsources:\n- name: Main\n  url: nowhere\n  intervall: 5s\n- {name: a, url: 'https://u:p@h/x', interval: soon}\n- {name: a, url: /x}\n";
        let told = sources(text, "myelin.yaml").expect_err("problems").to_string();
        for expected in [
            "myelin.yaml:1",
            "needs a name",
            "needs a url",
            "intervall",
            "password",
            "soon",
            "second source",
        ] {
            assert!(told.contains(expected), "{expected} is missing in\n{told}");
        }
        assert!(!told.contains("u:p"), "{told}");
        assert!(sources("sources: []", "f").is_err());
    }
}
