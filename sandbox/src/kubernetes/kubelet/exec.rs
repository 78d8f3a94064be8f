//! Commands that are run in a container from outside: canned answers first, then the model of the container. The same answers are
//! given where a container itself is started with such a command: it prints what is written down and ends.
//!
//! Where answers come from, in this order: `Config::commands`; the pod's annotation `sandbox.myelin.dev/exec`, a JSON list; a ConfigMap
//! `sandbox-exec` in the pod's namespace, whose values are such lists; the sandbox's own table. An entry is
//! `{"command": ["python*", "-m", "x", "*"], "stdout": "...", "stderr": "...", "exitCode": 0, "process": ["/bin/prog"]}`, where `*` fits any
//! argument or part of one, and `{hex:32}` in an answer is replaced by that many random hexadecimal digits.

use serde::Deserialize;
use serde_json::Value;

use super::shell::{Process, Progress, lock};
use crate::kubernetes::controllers::object;
use crate::kubernetes::controllers::world::World;

/// A command with its answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Canned {
    /// The arguments; `*` matches any text. A final `**` matches any further arguments.
    pub command: Vec<String>,
    /// Only in containers whose image contains this text.
    #[serde(default)]
    pub image: String,
    /// What it prints.
    #[serde(default)]
    pub stdout: String,
    /// What it complains.
    #[serde(default)]
    pub stderr: String,
    /// How it ends.
    #[serde(default)]
    pub exit_code: i32,
    /// A program of this machine to run instead, if a test asks for a real process: only from `Config::commands`.
    #[serde(skip)]
    pub process: Vec<String>,
}

/// What an exec comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is over already.
    Output {
        stdout: Vec<u8>,
        stderr: Vec<u8>,
        code: i32,
    },
    /// A real local process is to be run.
    Process(Vec<String>),
    /// It cannot be started: the runtime's sentence.
    Refused(String),
}

fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => {
            let Some(rest) = text.strip_prefix(head) else {
                return false;
            };
            tail.is_empty()
                || (0..=rest.len())
                    .filter(|i| rest.is_char_boundary(*i))
                    .any(|i| fits(tail, &rest[i..]))
        }
    }
}

impl Canned {
    fn answers(&self, image: &str, argv: &[String]) -> bool {
        let open = self.command.last().is_some_and(|last| last == "**");
        let fixed = if open {
            &self.command[..self.command.len() - 1]
        } else {
            &self.command[..]
        };
        image.contains(&self.image)
            && (argv.len() == fixed.len() || (open && argv.len() > fixed.len()))
            && fixed
                .iter()
                .zip(argv)
                .all(|(pattern, argument)| fits(pattern, argument))
    }
}

/// The last argument of a command when it is run, for `{last}` in answers.
fn filled(template: &str, argv: &[String], host: &str) -> Vec<u8> {
    let mut out = String::new();
    let mut rest = template;
    while let Some((head, tail)) = rest.split_once('{') {
        out.push_str(head);
        let Some((name, left)) = tail.split_once('}') else {
            out.push('{');
            rest = tail;
            continue;
        };
        match name.strip_prefix("hex:").and_then(|n| n.parse::<usize>().ok()) {
            Some(n) => out.extend(
                (0..n.min(1024)).map(|_| char::from(b"0123456789abcdef"[usize::from(rand::random::<u8>() & 15)])),
            ),
            None if name == "host" => out.push_str(host),
            None if name == "last" => out.push_str(argv.last().map_or("", String::as_str)),
            None => {
                out.push('{');
                out.push_str(name);
                out.push('}');
            }
        }
        rest = left;
    }
    (out + rest).into_bytes()
}

/// The sandbox's own table: the provisioning tool of Synapse's AHA, with its real output.
fn own() -> Vec<Canned> {
    ["python", "python3"]
        .into_iter()
        .map(|python| Canned {
            command: [python, "-m", "synapse.tools.aha.provision.service", "*"]
                .map(str::to_owned)
                .to_vec(),
            image: "synapse-aha".to_owned(),
            stdout: "one-time use URL: ssl://{host}:27272/{hex:32}?certhash={hex:64}\n".to_owned(),
            stderr: String::new(),
            exit_code: 0,
            process: Vec::new(),
        })
        .collect()
}

fn listed(text: &str) -> Vec<Canned> {
    // A broken table is reported once it is used: no entry fits.
    serde_json::from_str(text).unwrap_or_else(|error| {
        tracing::warn!(%error, "a table of canned commands cannot be read");
        Vec::new()
    })
}

/// The program of this machine that a test assigned to a command.
pub(crate) fn local_process(table: &[Canned], image: &str, argv: &[String]) -> Option<Vec<String>> {
    let entry = table.iter().find(|entry| entry.answers(image, argv))?;
    (!entry.process.is_empty()).then(|| entry.process.clone())
}

/// Everything that is written down for a pod, what counts most first.
fn table(world: &World, pod: &Value) -> Vec<Canned> {
    let mut table: Vec<Canned> = world.config.commands.clone();
    table.extend(
        object::annotation(pod, &format!("{}exec", super::behaviour::PREFIX))
            .map(listed)
            .unwrap_or_default(),
    );
    if let Some(map) = world
        .registry
        .find("configmaps", object::namespace(pod), "sandbox-exec")
    {
        let data = map.value()["data"].as_object().cloned().unwrap_or_default();
        table.extend(data.values().filter_map(Value::as_str).flat_map(listed));
    }
    table.extend(own());
    table
}

/// What a container prints and how it ends, if the command that it is started with is written down. The sandbox cannot tell of a
/// program that it does not model whether it is a server or ends.
pub(crate) fn started_with(world: &World, pod: &Value, container: &Value, argv: &[String]) -> Option<(Vec<u8>, i32)> {
    let image = container["image"].as_str().unwrap_or_default();
    let table = table(world, pod);
    let entry = table
        .iter()
        .find(|entry| entry.process.is_empty() && entry.answers(image, argv))?;
    let host = aha_host(pod, container);
    let mut printed = filled(&entry.stdout, argv, &host);
    printed.extend(filled(&entry.stderr, argv, &host));
    Some((printed, entry.exit_code))
}

/// Run a command in a container.
pub(crate) fn run(world: &World, pod: &Value, container: &Value, argv: &[String], stdin: Vec<u8>) -> Answer {
    let image = container["image"].as_str().unwrap_or_default();
    let namespace = object::namespace(pod);
    let table = table(world, pod);
    if let Some(entry) = table.iter().find(|entry| entry.answers(image, argv)) {
        if !entry.process.is_empty() {
            return Answer::Process(entry.process.clone());
        }
        let host = aha_host(pod, container);
        return Answer::Output {
            stdout: filled(&entry.stdout, argv, &host),
            stderr: filled(&entry.stderr, argv, &host),
            code: entry.exit_code,
        };
    }
    let Some(machine) = world
        .kubelet
        .machine(object::uid(pod), container["name"].as_str().unwrap_or_default())
    else {
        return Answer::Refused("container not running".to_owned());
    };
    // A command that is not in the table and that no applet models is not there: pretending that it worked would be worse.
    let machine = super::shell::Machine {
        closed: true,
        ..machine
    };
    let now = world.now;
    let mut process = match Process::start(&machine, argv, stdin, now) {
        Ok(process) => process,
        Err(why) => {
            let text =
                format!("OCI runtime exec failed: exec failed: unable to start container process: {why}: unknown");
            return Answer::Refused(text);
        }
    };
    let reach = |host: &str, port: u16| super::network::answer(world, namespace, host, port);
    let mut at = now;
    let code = loop {
        match process.run(at, &reach) {
            Progress::Ended(code) => break code,
            Progress::OutOfMemory => break 137,
            // It takes no real time here: a client of the sandbox should not have to wait for a modelled sleep.
            Progress::Waits(Some(next)) if next - now < 3_600_000 => at = next,
            Progress::Waits(_) => break 143,
        }
    };
    let stdout = std::mem::take(&mut *lock(&process.out));
    let stderr = std::mem::take(&mut *lock(&process.err));
    Answer::Output { stdout, stderr, code }
}

/// The name that an AHA server gives to those whom it provisions.
fn aha_host(pod: &Value, container: &Value) -> String {
    let named = object::list(container, "/env")
        .iter()
        .find(|variable| variable["name"] == "SYN_AHA_DNS_NAME");
    match named.and_then(|variable| variable["value"].as_str()) {
        Some(name) => name.to_owned(),
        None => format!("aha.{}.svc.cluster.local", object::namespace(pod)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn an_entry_answers_the_command_that_it_names_and_no_other() {
        let entry = |command: &str| Canned {
            command: words(command),
            image: String::new(),
            stdout: String::new(),
            stderr: String::new(),
            exit_code: 0,
            process: Vec::new(),
        };
        for (pattern, argv, yes) in [
            ("python* -m x *", "python3 -m x 00.axon", true),
            ("python* -m x *", "python3 -m x", false),
            ("cat **", "cat a b c", true),
            ("cat **", "dog a", false),
            ("a*b", "aXbXb", true),
            ("a*b", "ab c", false),
        ] {
            assert_eq!(entry(pattern).answers("any", &words(argv)), yes, "{pattern} / {argv}");
        }
    }

    #[test]
    fn the_aha_tool_gives_another_url_each_time_and_only_in_its_image() {
        let tool = &own()[1];
        let argv = words("python3 -m synapse.tools.aha.provision.service 00.axon");
        assert!(tool.answers("vertexproject/synapse-aha:v2.256.0", &argv));
        assert!(!tool.answers("vertexproject/synapse-axon:v2.256.0", &argv));
        let print = || String::from_utf8(filled(&tool.stdout, &argv, "aha.synapse")).unwrap();
        let shape =
            regex::Regex::new(r"^one-time use URL: ssl://aha\.synapse:27272/[0-9a-f]{32}\?certhash=[0-9a-f]{64}\n$")
                .unwrap();
        assert!(shape.is_match(&print()), "{}", print());
        assert_ne!(print(), print());
    }
}
