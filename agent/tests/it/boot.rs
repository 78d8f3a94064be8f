//! Runs the boot script of `examples/synkti` in a folder that replaces a node's root, with fake `aws` and `systemctl`;
//! the real agent then reads the configuration that it writes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Copies from the folder that plays S3; prints its arguments.
const AWS: &str = r#"#!/usr/bin/env bash
echo "aws $*" >>"$WORLD/log"
case "$1 $2" in
  "s3 cp") cp "$WORLD/s3/${4#s3://}" "$5" ;;
esac
"#;

const SYSTEMCTL: &str = r#"#!/usr/bin/env bash
echo "systemctl $*" >>"$WORLD/log"
"#;

const PROGRAMS: [(&str, &str); 3] = [
    ("myelin-agent", "agent_sha256"),
    ("myelin-agent.service", "unit_sha256"),
    ("synkti", "synkti_sha256"),
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).expect("possible in a temporary folder");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("possible in a temporary folder");
}

/// The user data of the git layout.
fn user_data() -> String {
    let document =
        fs::read_to_string(repository().join("examples/synkti/git/pool.yaml")).expect("possible in a temporary folder");
    let (_, block) = document
        .split_once("  userData: |\n")
        .expect("a block of user data at the end");
    block
        .lines()
        .map(|line| format!("{}\n", line.trim_start_matches("    ")))
        .collect()
}

fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Node {
    folder: tempfile::TempDir,
    script: String,
}

impl Node {
    /// A node before its first boot, and a bucket with what it boots.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("possible in a temporary folder");
        let path = |name: &str| folder.path().join(name);
        for part in ["tools", "root/etc/systemd/system", "root/usr/local/bin", "root/bin"] {
            fs::create_dir_all(path(part)).expect("possible in a temporary folder");
        }
        executable(&path("tools/aws"), AWS);
        executable(&path("tools/systemctl"), SYSTEMCTL);
        let mut script = user_data();
        for (name, variable) in PROGRAMS {
            let bytes = match name {
                "myelin-agent.service" => {
                    fs::read(repository().join("agent/systemd").join(name)).expect("possible in a temporary folder")
                }
                _ => format!("program {name}").into_bytes(),
            };
            let sum = sha256(&bytes);
            let folder = path("s3/my-prod-models/bin").join(&sum);
            fs::create_dir_all(&folder).expect("possible in a temporary folder");
            fs::write(folder.join(name), bytes).expect("possible in a temporary folder");
            let line = script
                .lines()
                .find(|l| l.starts_with(&format!("{variable}=")))
                .expect(variable);
            script = script.replace(&line.to_owned(), &format!("{variable}={sum}"));
        }
        let root = path("root").display().to_string();
        for place in ["/usr/local/", "/etc/"] {
            script = script.replace(place, &format!("{root}{place}"));
        }
        Self { folder, script }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, program: &Path, argument: &str) -> Output {
        let path = std::env::var("PATH").unwrap_or_default();
        Command::new(program)
            .arg(argument)
            .env("PATH", format!("{}:{path}", self.path("tools").display()))
            .env("WORLD", self.folder.path())
            .env("MYELIN_INSTANCE", "i-0123")
            .output()
            .expect("possible in a temporary folder")
    }

    fn boot(&self) -> Output {
        let script = self.path("user-data");
        fs::write(&script, &self.script).expect("possible in a temporary folder");
        self.run(
            Path::new("bash"),
            script.to_str().expect("possible in a temporary folder"),
        )
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn the_boot_script_of_synkti_starts_the_agents_unit_with_a_configuration_that_it_reads() {
    let boot =
        fs::read_to_string(repository().join("examples/synkti/boot.sh")).expect("possible in a temporary folder");
    assert!(
        user_data().ends_with(&boot),
        "git/pool.yaml holds boot.sh to the last byte"
    );
    let node = Node::new();
    let output = node.boot();
    assert!(output.status.success(), "{}", said(&output));
    let log = node.log();
    assert!(
        log.ends_with("systemctl daemon-reload\nsystemctl enable --now myelin-agent.service\n"),
        "{log}"
    );
    for program in ["myelin-agent", "synkti", "save-checkpoint"] {
        let mode = fs::metadata(node.path("root/usr/local/bin").join(program))
            .expect("possible in a temporary folder")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o755, "{program}");
    }
    let unit = fs::read_to_string(node.path("root/etc/systemd/system/myelin-agent.service"))
        .expect("possible in a temporary folder");
    assert!(unit.contains("\nExecStart=/usr/local/bin/myelin-agent run\n"), "{unit}");
    let checked = Command::new(env!("CARGO_BIN_EXE_myelin-agent"))
        .args(["check", "--config"])
        .arg(node.path("root/etc/myelin/agent.yaml"))
        .output()
        .expect("possible in a temporary folder");
    assert!(checked.status.success(), "{}", said(&checked));

    let saved = node.run(&node.path("root/usr/local/bin/save-checkpoint"), "");
    assert!(saved.status.success(), "{}", said(&saved));
    assert!(
        node.log()
            .contains("/var/lib/synkti/checkpoints s3://my-prod-checkpoints/i-0123/"),
        "{}",
        node.log()
    );
}

#[test]
fn a_program_that_is_not_what_the_pool_was_told_is_not_started() {
    let node = Node::new();
    let folder = node.path("s3/my-prod-models/bin");
    let forged = fs::read_dir(&folder)
        .expect("possible in a temporary folder")
        .map(|sum| sum.expect("possible in a temporary folder").path().join("synkti"))
        .find(|file| file.exists())
        .expect("possible in a temporary folder");
    fs::write(forged, "another program").expect("possible in a temporary folder");
    let output = node.boot();
    assert!(
        !output.status.success() && said(&output).contains("did NOT match"),
        "{}",
        said(&output)
    );
    assert!(!node.log().contains("systemctl"), "{}", node.log());
    assert!(!node.path("root/usr/local/bin/synkti").exists());
}
