//! A release, rehearsed with the program that was just built: archives, manifest and checksums as the Terraform
//! registry requires them, the signature, and a real `terraform init` that installs from them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::core::BINARY;
use crate::terraform::text;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn must(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    output
}

fn package(arguments: &[&str], out: &Path) {
    must(
        Command::new("python3")
            .arg(root().join(".ci/package.py"))
            .args(arguments)
            .args(["--version", "1.2.3", "--out"])
            .arg(out),
    );
}

const SYSTEMS: [(&str, &str); 6] = [
    ("linux", "amd64"),
    ("linux", "arm64"),
    ("darwin", "amd64"),
    ("darwin", "arm64"),
    ("windows", "amd64"),
    ("windows", "arm64"),
];

#[test]
fn a_release_has_what_the_registry_wants_and_its_checksums_are_signed() {
    let folder = tempfile::tempdir().unwrap();
    let (out, program) = (folder.path().join("dist"), folder.path().join("program"));
    std::fs::write(&program, "not a program, but packed like one").unwrap();
    let program = program.to_str().unwrap();
    for (os, arch) in SYSTEMS {
        for name in ["terraform-provider-myelin", "myelin", "myelin-agent"] {
            if name == "myelin-agent" && os != "linux" {
                continue;
            }
            package(
                &[
                    "zip",
                    "--program",
                    name,
                    "--binary",
                    program,
                    "--os",
                    os,
                    "--arch",
                    arch,
                ],
                &out,
            );
        }
    }
    let first = std::fs::read(out.join("myelin_1.2.3_linux_amd64.zip")).unwrap();
    package(
        &[
            "zip",
            "--program",
            "myelin",
            "--binary",
            program,
            "--os",
            "linux",
            "--arch",
            "amd64",
        ],
        &out,
    );
    let again = std::fs::read(out.join("myelin_1.2.3_linux_amd64.zip")).unwrap();
    assert_eq!(first, again, "the same program gives the same archive");
    for name in [
        "terraform-provider-myelin_1.2.3_sbom.cdx.json",
        "myelin_1.2.3_sbom.cdx.json",
        "myelin-agent_1.2.3_sbom.cdx.json",
    ] {
        std::fs::write(out.join(name), "{}").unwrap();
    }
    package(&["sums"], &out);

    // What the registry reads: https://developer.hashicorp.com/terraform/registry/providers/publishing
    let sums = std::fs::read_to_string(out.join("terraform-provider-myelin_1.2.3_SHA256SUMS")).unwrap();
    let mut named: Vec<&str> = sums.lines().map(|line| line.split_once("  ").unwrap().1).collect();
    let mut wanted: Vec<String> = SYSTEMS
        .iter()
        .map(|(os, arch)| format!("terraform-provider-myelin_1.2.3_{os}_{arch}.zip"))
        .collect();
    wanted.push("terraform-provider-myelin_1.2.3_manifest.json".to_owned());
    named.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(named, wanted);
    let others = std::fs::read_to_string(out.join("myelin_1.2.3_SHA256SUMS")).unwrap();
    assert_eq!(others.matches("myelin-agent_1.2.3_linux_").count(), 2, "{others}");
    let agent = must(
        Command::new("python3")
            .args(["-m", "zipfile", "-l", "myelin-agent_1.2.3_linux_arm64.zip"])
            .current_dir(&out),
    );
    for inside in ["myelin-agent ", "myelin-agent.service", "README.md", "LICENSE"] {
        assert!(text(&agent).contains(inside), "{inside}: {}", text(&agent));
    }
    for list in ["terraform-provider-myelin", "myelin"] {
        must(
            Command::new("sha256sum")
                .args(["--check", "--strict", &format!("{list}_1.2.3_SHA256SUMS")])
                .current_dir(&out),
        );
    }
    let manifest = std::fs::read(out.join("terraform-provider-myelin_1.2.3_manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(
        manifest,
        serde_json::json!({"version": 1, "metadata": {"protocol_versions": ["6.0"]}})
    );

    if Command::new("gpg").arg("--version").output().is_err() {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: gpg is not on this machine, so the signature was not rehearsed"
        );
        return;
    }
    let ring = folder.path().join("ring");
    std::fs::create_dir(&ring).unwrap();
    std::fs::set_permissions(&ring, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let gpg = |arguments: &[&str]| {
        must(
            Command::new("gpg")
                .args(["--batch", "--quiet"])
                .args(arguments)
                .env("GNUPGHOME", &ring),
        )
    };
    let (mode, phrase) = ("--pinentry-mode", "correct-horse");
    gpg(&[
        mode,
        "loopback",
        "--passphrase",
        phrase,
        "--quick-gen-key",
        "release@example.com",
        "rsa2048",
        "sign",
    ]);
    let key = gpg(&[
        mode,
        "loopback",
        "--passphrase",
        phrase,
        "--armor",
        "--export-secret-keys",
    ])
    .stdout;
    must(
        Command::new(root().join(".ci/sign"))
            .arg(&out)
            .env("GPG_PRIVATE_KEY", String::from_utf8(key).unwrap())
            .env("GPG_PASSPHRASE", phrase),
    );
    let list = out.join("terraform-provider-myelin_1.2.3_SHA256SUMS");
    let signature = out.join("terraform-provider-myelin_1.2.3_SHA256SUMS.sig");
    gpg(&["--verify", signature.to_str().unwrap(), list.to_str().unwrap()]);
    let _ = Command::new("gpgconf")
        .args(["--kill", "all"])
        .env("GNUPGHOME", &ring)
        .status();
}

#[test]
fn terraform_installs_the_packed_provider_from_a_mirror_and_runs_it() {
    let system = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("macos", arch) => ("darwin", arch),
        other => other,
    };
    let arch = match system.1 {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let folder = tempfile::tempdir().unwrap();
    let mirror = folder.path().join("mirror");
    let packed = mirror.join("registry.terraform.io/myelin-dev/myelin");
    // As a test builds it the program is mostly debugging information.
    let program = folder.path().join("program");
    must(Command::new("strip").arg("-o").arg(&program).arg(BINARY));
    let program = program.to_str().unwrap();
    let name = "terraform-provider-myelin";
    package(
        &[
            "zip",
            "--program",
            name,
            "--binary",
            program,
            "--os",
            system.0,
            "--arch",
            arch,
            "--level",
            "1",
        ],
        &packed,
    );
    let rc = format!("provider_installation {{\n  filesystem_mirror {{ path = {mirror:?} }}\n}}\n");
    std::fs::write(folder.path().join("terraform.rc"), rc).unwrap();
    let module = r#"
terraform {
  required_providers {
    myelin = {
      source  = "myelin-dev/myelin"
      version = "~> 1.2"
    }
  }
}
resource "myelin_stack" "shop" {
  name      = "shop"
  namespace = "shop"
  source    = path.module
}
"#;
    std::fs::write(folder.path().join("main.tf"), module).unwrap();
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\n";
    std::fs::write(folder.path().join("map.yaml"), map).unwrap();
    let terraform = |arguments: &[&str]| {
        must(
            Command::new("terraform")
                .args(arguments)
                .current_dir(folder.path())
                .env_remove("KUBECONFIG")
                .env_remove("KUBE_CONFIG_PATH")
                .env("TF_CLI_CONFIG_FILE", folder.path().join("terraform.rc"))
                .env("CHECKPOINT_DISABLE", "1"),
        )
    };
    let shown = text(&terraform(&["init", "-no-color", "-input=false"]));
    assert!(shown.contains("Installed myelin-dev/myelin v1.2.3"), "{shown}");
    terraform(&["validate", "-no-color"]);
    let shown = text(&terraform(&["plan", "-no-color", "-input=false"]));
    assert!(shown.contains("core/ConfigMap/shop/a"), "{shown}");
}
