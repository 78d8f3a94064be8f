//! `myelin.yaml`: which sources there are. All problems at once, each with its line; nothing in it holds a secret, only names of
//! files that do.

mod decryption;
mod schema;

pub(crate) use schema::json_schema;

use crate::git::{FORMS, Remote, Transport};
use crate::hook::{Caller, Hook};
use crate::notify::{Target, is_safe};
use crate::sops::KeyChoice;
use axum::http::Uri;
use myelin_engine::cluster::connect::ServiceAccount;
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
    /// Where the repository lies.
    pub(crate) remote: Remote,
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
    /// What a remote wants to see, and what we want to see of it.
    pub(crate) transport: Transport,
    /// Files of those whose signature a commit needs; no signature is needed if there are none.
    pub(crate) signers: Vec<PathBuf>,
    /// Keys that may open files encrypted by SOPS.
    pub(crate) keys: KeyChoice,
    /// Who may hint that something was pushed.
    pub(crate) hook: Option<Hook>,
    /// Who is told what became of a commit.
    pub(crate) report: Vec<Target>,
    /// As whom everything is changed; with our own rights if not given.
    pub(crate) service_account: Option<ServiceAccount>,
    /// The accounts that its stacks may name in place of that.
    pub(crate) service_accounts: Vec<ServiceAccount>,
}

/// Looks at a branch this often when nothing is said.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(60);
const FIELDS: [&str; 18] = [
    "name",
    "url",
    "branch",
    "path",
    "interval",
    "timeout",
    "blastRadius",
    "credentials",
    "authorities",
    "identity",
    "knownHosts",
    "signers",
    "verify",
    "decryption",
    "webhook",
    "report",
    "serviceAccount",
    "serviceAccounts",
];
const HOOK: [&str; 2] = ["kind", "secretFile"];
const REPORT: [&str; 2] = ["github", "webhook"];
const REPORT_GITHUB: [&str; 3] = ["repository", "tokenFile", "api"];
const REPORT_WEBHOOK: [&str; 2] = ["url", "tokenFile"];

impl SourceConfiguration {
    /// A source with everything left as it is usually wanted.
    pub(crate) fn new(name: &str, remote: Remote) -> Self {
        Self {
            name: name.to_owned(),
            remote,
            branch: "main".to_owned(),
            path: ".".to_owned(),
            interval: INTERVAL,
            timeout: TIMEOUT,
            blast_radius: 30,
            transport: Transport::default(),
            signers: Vec::new(),
            keys: KeyChoice::default(),
            hook: None,
            report: Vec::new(),
            service_account: None,
            service_accounts: Vec::new(),
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
        let remote = match text("url").map(Remote::parse) {
            Some(Ok(remote)) => remote,
            other => {
                let why = other.map_or_else(
                    || "needs a url".to_owned(),
                    |parsed| format!("has a url that {}", parsed.err().unwrap_or_default()),
                );
                self.problem(item, &why, &format!("url: {FORMS}"));
                // Nothing is done with it: there is a problem.
                Remote::Local("/".to_owned())
            }
        };
        let mut source = SourceConfiguration::new(text("name").unwrap_or_default(), remote);
        if !is_name(&source.name) {
            self.problem(
                item,
                "needs a name",
                "name: at most 40 lower-case letters, digits and dashes",
            );
        }
        source.branch = text("branch").unwrap_or("main").to_owned();
        source.path = text("path").unwrap_or(".").to_owned();
        source.transport.credentials = text("credentials").map(PathBuf::from);
        source.transport.authorities = text("authorities").map(PathBuf::from);
        source.transport.identity = text("identity").map(PathBuf::from);
        source.transport.known_hosts = text("knownHosts").map(PathBuf::from);
        if matches!(source.remote, Remote::Ssh(_)) {
            for (name, given) in [
                ("identity", source.transport.identity.is_some()),
                ("knownHosts", source.transport.known_hosts.is_some()),
            ] {
                if !given {
                    let fix = "ssh needs the file with the private key under identity, and the keys of its host under knownHosts";
                    self.problem(item, &format!("needs {name}"), fix);
                }
            }
        }
        source.signers = self.signers(item);
        source.hook = item.get("webhook").and_then(|hook| self.hook(hook));
        source.report = item.get("report").map(|report| self.report(report)).unwrap_or_default();
        if let Some(decryption) = item.get("decryption") {
            source.keys = self.decryption(decryption);
        }
        // An empty one is a mistake, and must never mean: with our own rights.
        if let Some(node) = item.get("serviceAccount") {
            match node.text().unwrap_or_default().parse() {
                Ok(account) => source.service_account = Some(account),
                Err(_) => self.problem(
                    node,
                    "is no service account",
                    "write namespace/name, for example shop/deployer",
                ),
            }
        }
        source.service_accounts = self.accounts(item);
        if !source.service_accounts.is_empty() && source.service_account.is_none() {
            self.problem(
                item,
                "lets stacks name accounts and needs serviceAccount for those that do not",
                "serviceAccount: NAMESPACE/NAME; it may be one without rights",
            );
        }
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

    /// `serviceAccounts: [NAMESPACE/NAME, …]`.
    fn accounts(&mut self, item: &Node) -> Vec<ServiceAccount> {
        let mut accounts = Vec::new();
        for node in item.get("serviceAccounts").map(Node::items).unwrap_or_default() {
            match node.text().unwrap_or_default().parse() {
                Ok(account) => accounts.push(account),
                Err(_) => self.problem(
                    node,
                    "is no service account",
                    "write namespace/name, for example shop/deployer",
                ),
            }
        }
        accounts
    }

    fn fields(&mut self, node: &Node, known: &[&str]) {
        for entry in node.entries().iter().filter(|entry| !known.contains(&&*entry.key)) {
            self.unknown(entry, &format!("fields: {}", known.join(", ")));
        }
    }

    /// `webhook: {kind: github, secretFile: FILE}`.
    fn hook(&mut self, node: &Node) -> Option<Hook> {
        self.fields(node, &HOOK);
        let caller = node.get("kind").and_then(Node::text).and_then(Caller::from_word);
        let secret = node.get("secretFile").and_then(Node::text).map(PathBuf::from);
        if let (Some(caller), Some(secret)) = (caller, secret) {
            return Some(Hook { caller, secret });
        }
        let fix = "webhook: {kind: github, secretFile: FILE}; kinds: github, gitlab, gitea, generic";
        self.problem(node, "needs a kind of caller and the file with the secret", fix);
        None
    }

    /// `report: {github: {repository: OWNER/NAME, tokenFile: FILE}, webhook: {url: URL, tokenFile: FILE}}`.
    fn report(&mut self, node: &Node) -> Vec<Target> {
        self.fields(node, &REPORT);
        let mut targets = Vec::new();
        // The text of a URL is not repeated: there may be a secret in it.
        let url = |node: &Node, name: &str, usual: &str| {
            let text = node.get(name).and_then(Node::text).unwrap_or(usual);
            text.parse::<Uri>().ok().filter(is_safe)
        };
        let file = |node: &Node| node.get("tokenFile").and_then(Node::text).map(PathBuf::from);
        if let Some(github) = node.get("github") {
            self.fields(github, &REPORT_GITHUB);
            let repository = github.get("repository").and_then(Node::text).unwrap_or_default();
            let plain = |part: &str| {
                !part.is_empty()
                    && part
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
            };
            let is_repository = repository.split('/').count() == 2 && repository.split('/').all(plain);
            match (url(github, "api", "https://api.github.com"), file(github)) {
                (Some(api), Some(token)) if is_repository => targets.push(Target::GitHub {
                    api,
                    repository: repository.to_owned(),
                    token,
                }),
                _ => self.tell(
                    github.at,
                    "github needs a repository, the file with a token, and an api over https".to_owned(),
                    "github: {repository: OWNER/NAME, tokenFile: FILE}",
                ),
            }
        }
        if let Some(webhook) = node.get("webhook") {
            self.fields(webhook, &REPORT_WEBHOOK);
            match url(webhook, "url", "") {
                Some(url) => targets.push(Target::Webhook {
                    url,
                    token: file(webhook),
                }),
                None => self.tell(
                    webhook.at,
                    "webhook needs a url over https (http on this machine only) without a password".to_owned(),
                    "webhook: {url: https://…, tokenFile: FILE}",
                ),
            }
        }
        targets
    }

    /// `signers: FILE`, or `verify: {signers: [FILE, …]}`.
    fn signers(&mut self, item: &Node) -> Vec<PathBuf> {
        let verify = item.get("verify");
        for entry in verify.into_iter().flat_map(Node::entries) {
            if &*entry.key != "signers" {
                self.unknown(entry, "verify has one field: signers, a file or a list of files");
            }
        }
        let given = verify
            .and_then(|verify| verify.get("signers"))
            .or_else(|| item.get("signers"));
        let files: Vec<PathBuf> = match given {
            None => Vec::new(),
            Some(one) if one.text().is_some() => one.text().into_iter().map(PathBuf::from).collect(),
            Some(list) => list.items().iter().filter_map(Node::text).map(PathBuf::from).collect(),
        };
        // Whoever writes that signatures are to be verified must never run without.
        if files.iter().all(|file| file.as_os_str().is_empty()) && (given.is_some() || verify.is_some()) {
            self.problem(
                item,
                "asks for signatures and names no signers",
                "verify: {signers: [FILE, …]}",
            );
        }
        files
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_what_is_said_and_else_the_usual() {
        let text = "sources:\n- name: main\n  url: https://example.com/x.git\n- {name: b, url: file:///srv/b, branch: prod, path: deploy, interval: 5s, blastRadius: 50%, serviceAccount: shop/deployer}\n";
        let found = sources(text, "myelin.yaml").expect("sources");
        let remote = Remote::parse("https://example.com/x.git").expect("a remote");
        assert_eq!(found[0], SourceConfiguration::new("main", remote));
        assert_eq!(
            (
                found[1].branch.as_str(),
                found[1].path.as_str(),
                found[1].interval,
                found[1].blast_radius
            ),
            ("prod", "deploy", Duration::from_secs(5), 50)
        );
        assert_eq!(
            found[1].service_account.as_ref().map(ToString::to_string).as_deref(),
            Some("shop/deployer")
        );
        for wrong in ["''", "/", "shop/", "/deployer", "a/b/c", "'shop/de ployer'", "[]"] {
            let text = format!("sources:\n- {{name: a, url: /x, serviceAccount: {wrong}}}\n");
            let told = sources(&text, "f").expect_err(wrong).to_string();
            assert!(told.contains("is no service account"), "{wrong}: {told}");
        }
    }

    #[test]
    fn all_problems_come_at_once_with_their_lines() {
        let text = "sorces: []\nsources:\n- name: Main\n  url: nowhere\n  intervall: 5s\n- {name: a, url: 'https://u:p@h/x', interval: soon}\n- {name: a, url: /x}\n- {name: s, url: 'git@h:x', verify: {signers: []}}\n";
        let told = sources(text, "myelin.yaml").expect_err("problems").to_string();
        for expected in [
            "myelin.yaml:1",
            "needs a name",
            "has a url that is of no kind",
            "intervall",
            "password",
            "soon",
            "second source",
            "needs identity",
            "needs knownHosts",
            "names no signers",
        ] {
            assert!(told.contains(expected), "{expected} is missing in\n{told}");
        }
        assert!(!told.contains("u:p"), "{told}");
        assert!(sources("sources: []", "f").is_err());
    }
}
