//! `myelin.yaml`: the sources. All problems at once, each with its line. The file holds no secret, only names of files
//! that do.

mod decryption;
mod schema;

pub(crate) use schema::json_schema;

use crate::git::{FORMS, Remote, Transport};
use crate::hook::{Caller, Hook};
use crate::notify::{Target, is_safe};
use crate::shared::IN_FLIGHT;
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
    /// Requests to the cluster that the source has in flight at once, at most.
    pub(crate) concurrency: usize,
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
    /// The accounts that its stacks may name instead of that.
    pub(crate) service_accounts: Vec<ServiceAccount>,
}

/// The default polling interval of a branch.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(60);
/// The shortest interval and timeout.
const SHORTEST: Duration = Duration::from_secs(1);
const FIELDS: [&str; 19] = [
    "name",
    "url",
    "branch",
    "path",
    "interval",
    "timeout",
    "blastRadius",
    "concurrency",
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
            concurrency: IN_FLIGHT,
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
    let given = node.get("sources").unwrap_or(&node);
    let list = node.get("sources").map(Node::items).unwrap_or_default();
    if list.is_empty() {
        let what = if given.is_map() && node.get("sources").is_some() {
            "sources is a map, and a list is needed"
        } else {
            "the configuration names no source"
        };
        reading.tell(
            given.at,
            what.to_owned(),
            "write sources: [{name: main, url: https://…}]",
        );
    }
    let mut sources: Vec<SourceConfiguration> = Vec::new();
    for item in list {
        if !item.is_map() {
            let what = format!("a source is a map, not {}", item.kind_name());
            reading.tell(item.at, what, "write {name: main, url: https://…}");
            continue;
        }
        let source = reading.source(item);
        if !source.name.is_empty() && sources.iter().any(|other| other.name == source.name) {
            let what = format!("{} is the name of two sources", source.name);
            reading.tell(item.at, what, "give each its own name; records know their owner by it");
        }
        sources.push(source);
    }
    reading.problems.or(sources).map(|(sources, _)| sources)
}

struct Reading<'a> {
    file: &'a str,
    problems: Diagnostics,
}

impl Reading<'_> {
    /// What is wrong with a value: its text first, where it has one.
    fn problem(&mut self, node: &Node, what: &str, fix: &str) {
        let subject = match node.text().filter(|text| !text.is_empty()) {
            Some(text) => format!("\"{text}\""),
            None if node.is_null() || node.text().is_some() => "nothing".to_owned(),
            None => node.kind_name().to_owned(),
        };
        self.tell(node.at, format!("{subject} {what}"), fix);
    }

    /// The text under a name; None if absent. A value that is not a text is a problem: nothing is ignored.
    fn text<'n>(&mut self, node: &'n Node, name: &str) -> Option<&'n str> {
        let value = node.get(name)?;
        let text = value.text().filter(|text| !text.is_empty() && !value.is_null());
        if text.is_none() {
            let found = if value.is_map() || value.is_seq() {
                value.kind_name()
            } else {
                "empty"
            };
            let what = format!("{name} is a text, and here it is {found}");
            self.tell(value.at, what, "write a text, or leave the field out");
        }
        text
    }

    /// A name of a file.
    fn file(&mut self, node: &Node, name: &str) -> Option<PathBuf> {
        self.text(node, name).map(PathBuf::from)
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

    fn source(&mut self, item: &Node) -> SourceConfiguration {
        for entry in item.entries() {
            if !FIELDS.contains(&&*entry.key) {
                self.unknown(entry, &format!("fields: {}", FIELDS.join(", ")));
            }
        }
        let name = self.text(item, "name").unwrap_or_default();
        // What a source is called in what is wrong with it.
        let subject = if name.is_empty() {
            "a source".to_owned()
        } else {
            format!("source {name}")
        };
        if !is_name(name) {
            self.tell(
                item.get("name").map_or(item.at, |node| node.at),
                if name.is_empty() {
                    format!("{subject} needs a name")
                } else {
                    format!("\"{name}\" cannot name a source")
                },
                "name: at most 40 lower-case letters, digits and dashes",
            );
        }
        let remote = match self.text(item, "url").map(Remote::parse) {
            Some(Ok(remote)) => remote,
            other => {
                let why = other.map_or_else(
                    || "needs a url".to_owned(),
                    |parsed| format!("has a url that {}", parsed.err().unwrap_or_default()),
                );
                let at = item.get("url").map_or(item.at, |node| node.at);
                self.tell(at, format!("{subject} {why}"), &format!("url: {FORMS}"));
                // Nothing is done with it: there is a problem.
                Remote::Local("/".to_owned())
            }
        };
        let mut source = SourceConfiguration::new(name, remote);
        if let Some(branch) = self.text(item, "branch") {
            branch.clone_into(&mut source.branch);
        }
        if let Some(path) = self.text(item, "path") {
            path.clone_into(&mut source.path);
        }
        source.transport = Transport {
            credentials: self.file(item, "credentials"),
            authorities: self.file(item, "authorities"),
            identity: self.file(item, "identity"),
            known_hosts: self.file(item, "knownHosts"),
        };
        for (name, _) in source.transport.missing(&source.remote) {
            let fix =
                "ssh needs the file with the private key under identity, and the keys of its host under knownHosts";
            self.tell(item.at, format!("{subject} needs {name}"), fix);
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
            self.tell(
                item.at,
                format!("{subject} lets stacks name accounts and needs serviceAccount for those that do not"),
                "serviceAccount: NAMESPACE/NAME; it may be one without rights",
            );
        }
        for (name, value) in [("interval", &mut source.interval), ("timeout", &mut source.timeout)] {
            if let Some(node) = item.get(name) {
                match node.text().map(span) {
                    Some(Ok(span)) => *value = span,
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
        if let Some(node) = item.get("concurrency") {
            match node.text().and_then(|text| text.parse().ok()) {
                Some(number @ 1..=IN_FLIGHT) => source.concurrency = number,
                _ => self.problem(
                    node,
                    "is no number of requests at once",
                    &format!("write a number from 1 to {IN_FLIGHT}"),
                ),
            }
        }
        source
    }

    /// `serviceAccounts: [NAMESPACE/NAME, …]`.
    fn accounts(&mut self, item: &Node) -> Vec<ServiceAccount> {
        let mut accounts = Vec::new();
        let Some(list) = item.get("serviceAccounts") else {
            return accounts;
        };
        if !list.is_seq() {
            let fix = "write serviceAccounts: [NAMESPACE/NAME, …]";
            self.problem(list, "is no list of service accounts", fix);
        }
        for node in list.items() {
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

    /// The fields of a map. Anything else has no fields and is reported.
    fn fields(&mut self, node: &Node, known: &[&str]) {
        if !node.is_map() {
            let fix = format!("fields: {}", known.join(", "));
            self.problem(node, "is no map of fields", &fix);
        }
        for entry in node.entries().iter().filter(|entry| !known.contains(&&*entry.key)) {
            self.unknown(entry, &format!("fields: {}", known.join(", ")));
        }
    }

    /// `webhook: {kind: github, secretFile: FILE}`.
    fn hook(&mut self, node: &Node) -> Option<Hook> {
        self.fields(node, &HOOK);
        let caller = self.text(node, "kind").and_then(Caller::from_word);
        let secret = self.file(node, "secretFile");
        if let (Some(caller), Some(secret)) = (caller, secret) {
            return Some(Hook { caller, secret });
        }
        let fix = "webhook: {kind: github, secretFile: FILE}; kinds: github, gitlab, gitea, generic";
        let what = "webhook needs a kind of caller and the file with the secret";
        self.tell(node.at, what.to_owned(), fix);
        None
    }

    /// `report: {github: {repository: OWNER/NAME, tokenFile: FILE}, webhook: {url: URL, tokenFile: FILE}}`.
    fn report(&mut self, node: &Node) -> Vec<Target> {
        self.fields(node, &REPORT);
        let mut targets = Vec::new();
        // The text of a URL is not repeated: there may be a secret in it.
        let url = |text: &str| text.parse::<Uri>().ok().filter(is_safe);
        if let Some(github) = node.get("github") {
            self.fields(github, &REPORT_GITHUB);
            let repository = self.text(github, "repository").unwrap_or_default();
            let plain = |part: &str| {
                !part.is_empty()
                    && part
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
            };
            let is_repository = repository.split('/').count() == 2 && repository.split('/').all(plain);
            let api = self.text(github, "api").unwrap_or("https://api.github.com");
            match (url(api), self.file(github, "tokenFile")) {
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
            let token = self.file(webhook, "tokenFile");
            match self.text(webhook, "url").and_then(url) {
                Some(url) => targets.push(Target::Webhook { url, token }),
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
        let named: Vec<&Node> = match given {
            None => Vec::new(),
            Some(one) if one.is_seq() => one.items().iter().collect(),
            Some(one) => vec![one],
        };
        let name = |node: &&Node| node.text().filter(|text| !text.is_empty()).map(PathBuf::from);
        let files: Vec<PathBuf> = named.iter().filter_map(name).collect();
        // A configuration that asks for signature checks must never run without them.
        if (given.is_some() || verify.is_some()) && (files.is_empty() || files.len() < named.len()) {
            let at = given.or(verify).map_or(item.at, |node| node.at);
            let what = "signatures are asked for and not every signer is the name of a file";
            self.tell(at, what.to_owned(), "verify: {signers: [FILE, …]}");
        }
        files
    }
}

/// How often something is done, or how long it may take: a second at least, or it would never rest.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(span) if span >= SHORTEST => Ok(span),
        Ok(_) => Err(format!("{text} is shorter than one second")),
        Err(why) => Err(why),
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
            "\"Main\" cannot name a source",
            "has a url that is of no kind",
            "intervall",
            "password",
            "soon",
            "name of two sources",
            "needs identity",
            "needs knownHosts",
            "not every signer is the name of a file",
        ] {
            assert!(told.contains(expected), "{expected} is missing in\n{told}");
        }
        assert!(!told.contains("u:p"), "{told}");
    }

    #[test]
    fn nothing_that_is_said_is_passed_over() {
        let url = "sources: [{name: a, url: /x, ";
        for (text, said) in [
            ("sources: []", "names no source"),
            ("other: 1", "names no source"),
            (
                "sources: {a: {url: /x}}",
                "f:1:10: error: sources is a map, and a list is needed",
            ),
            ("sources: [text]", "a source is a map, not a string"),
            ("sources: [{name: a, url: /x}, null]", "a source is a map, not null"),
            (
                &format!("{url}branch: [main]}}]"),
                "branch is a text, and here it is a list",
            ),
            (
                &format!("{url}path: {{a: b}}}}]"),
                "path is a text, and here it is a map",
            ),
            (
                &format!("{url}credentials: ''}}]"),
                "credentials is a text, and here it is empty",
            ),
            (&format!("{url}identity: null}}]"), "identity is a text"),
            (&format!("{url}webhook: null}}]"), "webhook needs a kind"),
            (&format!("{url}report: null}}]"), "is no map of fields"),
            (&format!("{url}report: [x]}}]"), "a list is no map of fields"),
            (
                &format!("{url}report: {{webhook: {{url: 'https://x', tokenFile: []}}}}}}]"),
                "tokenFile is a text",
            ),
            (&format!("{url}decryption: null}}]"), "names no key"),
            (
                &format!("{url}signers: {{a: b}}}}]"),
                "not every signer is the name of a file",
            ),
            (
                &format!("{url}signers: [one, '']}}]"),
                "not every signer is the name of a file",
            ),
            (
                &format!("{url}serviceAccounts: shop/x}}]"),
                "is no list of service accounts",
            ),
            (&format!("{url}interval: 10ms}}]"), "at least one second"),
            (&format!("{url}concurrency: 0}}]"), "from 1 to 64"),
            (&format!("{url}concurrency: 65}}]"), "from 1 to 64"),
            (&format!("{url}concurrency: many}}]"), "from 1 to 64"),
        ] {
            let told = sources(text, "f").expect_err(text).to_string();
            assert!(told.contains(said), "{text}\n{told}");
        }
        let found = sources(&format!("{url}concurrency: 3}}]"), "f").expect("a source");
        assert_eq!(found[0].concurrency, 3);
    }
}
