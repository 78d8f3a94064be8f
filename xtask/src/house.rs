//! House rules that a compiler does not know: what each crate may name, how long a file may be, what may not be
//! committed.
//!
//! A rule belongs here if it can be decided without judgement. The others are in CONTRIBUTING.md.

use crate::repository;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Lines a Rust file may have. Beyond this it holds more than one idea.
const LINES: usize = 800;

/// Crates that a crate may not name in its manifest (the "may not" column of ARCHITECTURE.md). A trailing `-` is a prefix.
const MAY_NOT: &[(&str, &[&str])] = &[
    ("myelin-proto", &["myelin-engine", "myelin-sandbox", "kube"]),
    (
        "myelin-engine",
        &[
            "tonic",
            "tonic-prost",
            "git2",
            "axum",
            "aws-sdk-",
            "aws-config",
            "myelin-proto",
            "terraform-provider-myelin",
        ],
    ),
    ("terraform-provider-myelin", &["git2", "axum", "aws-sdk-", "myelin"]),
    (
        "myelin",
        &["terraform-provider-myelin", "myelin-proto", "tonic", "aws-sdk-"],
    ),
    ("myelin-aws", &["kube", "k8s-openapi", "tonic", "axum"]),
    (
        "myelin-sandbox",
        &[
            "myelin-engine",
            "myelin-proto",
            "terraform-provider-myelin",
            "myelin",
            "kube",
        ],
    ),
    (
        "myelin-agent",
        &[
            "kube",
            "k8s-openapi",
            "aws-sdk-",
            "aws-config",
            "myelin-engine",
            "myelin-aws",
        ],
    ),
];

/// Why a test may be left out of the test command: a bench runs it, or it is a program that another test starts from this binary.
const RUNS_ELSEWHERE: &[&str] = &[
    concat!("#[ign", "ore = \"a measurement: cargo xtask bench "),
    concat!("#[ign", "ore = \"this is the "),
];

/// What a test says when it skips has to be seen in a run that passes, and these macros are captured there.
const CAPTURED: &[&str] = &[concat!("println!(\"", "SKIPPED"), concat!("println!(\"", "skipped")];

/// Paths that may be used only under one folder: the one door to a library.
const ONE_DOOR: &[(&str, &str, &str)] = &[
    // (where the rule holds, the path prefix that Rust code would name, the only place that may name it)
    ("engine/src/", "saphyr_parser::", "engine/src/yaml"),
    ("engine/src/", "kube::", "engine/src/cluster"),
];

/// File names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "util", "helpers", "helper", "common", "manager", "misc"];

/// All broken rules of the repository, one line each.
pub(crate) fn problems() -> Result<Vec<String>> {
    let mut problems = dependency_problems(&metadata()?);
    let machine = machine_paths();
    for file in repository::files()? {
        let Some(text) = repository::text(&file)? else { continue };
        let name = file.to_string_lossy().replace('\\', "/");
        problems.extend(text_problems(&name, &text, &machine));
        if file.extension().is_some_and(|extension| extension == "rs") {
            problems.extend(rust_problems(&name, &text));
        }
    }
    Ok(problems)
}

/// The dependencies that each crate of the workspace names in its own manifest, as cargo sees them.
fn metadata() -> Result<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .current_dir(repository::root())
        .output()
        .context("run cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    serde_json::from_slice(&output.stdout).context("read the output of cargo metadata")
}

fn dependency_problems(metadata: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    for package in list(&metadata["packages"]) {
        let name = text(&package["name"]);
        let forbidden = MAY_NOT
            .iter()
            .find(|(of, _)| *of == name)
            .map_or(&[][..], |(_, crates)| crates);
        for dependency in list(&package["dependencies"]) {
            let dependency_name = text(&dependency["name"]);
            let for_tests = dependency["kind"] == "dev";
            let is_forbidden = forbidden.iter().any(|rule| match rule.strip_suffix('-') {
                Some(_) => dependency_name.starts_with(rule),
                None => dependency_name == *rule,
            });
            if is_forbidden && !for_tests {
                problems.push(format!(
                    "{name} may not depend on {dependency_name} (ARCHITECTURE.md, \"may not\")"
                ));
            }
            if dependency_name == "myelin-sandbox" && !for_tests && name != "myelin-sandbox" {
                problems.push(format!(
                    "{name} may name myelin-sandbox only under [dev-dependencies]: no product code knows it"
                ));
            }
            if name == "myelin-sandbox" && dependency_name.starts_with("myelin-") {
                problems.push(format!(
                    "myelin-sandbox may not share code with what it tests: {dependency_name}"
                ));
            }
        }
    }
    problems
}

/// Folders of this machine that a committed file must not name.
fn machine_paths() -> Vec<String> {
    let home = std::env::var("HOME").ok();
    let above = repository::root()
        .parent()
        .map(|folder| folder.to_string_lossy().into_owned());
    let mut paths: Vec<String> = home.into_iter().chain(above).filter(|path| path.len() > 1).collect();
    for path in &mut paths {
        path.push('/');
    }
    paths
}

fn text_problems(name: &str, text: &str, machine: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for path in machine {
            if line.contains(path.as_str()) {
                problems.push(format!("{name}:{}: names a path of this machine ({path})", index + 1));
            }
        }
    }
    problems
}

fn rust_problems(name: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let lines = text.lines().count();
    if lines > LINES {
        problems.push(format!("{name}: {lines} lines, more than {LINES}: split it by idea"));
    }
    // The tests of a module, in a file of their own beside it, are what its header says.
    let is_tests = name.ends_with("/tests.rs");
    if !is_tests && !text.lines().next().is_some_and(|line| line.starts_with("//!")) {
        problems.push(format!(
            "{name}:1: does not open with a `//!` line that says what the file is for"
        ));
    }
    let stem = Path::new(name)
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    if EMPTY_NAMES.contains(&stem.as_str()) {
        problems.push(format!("{name}: a file is named after its idea, not {stem:?}"));
    }
    // The rules' own words are assembled here, so that this file does not break them.
    let unfinished = [
        concat!("to", "do!("),
        concat!("unimplemented", "!("),
        concat!("FIX", "ME"),
        concat!("#[ign", "ore"),
    ];
    for (index, line) in text.lines().enumerate() {
        for word in unfinished {
            let runs_elsewhere = RUNS_ELSEWHERE.iter().any(|reason| line.contains(reason));
            if line.contains(word) && !runs_elsewhere {
                problems.push(format!(
                    "{name}:{}: {word} is unfinished work or a test that does not run",
                    index + 1
                ));
            }
        }
        let code = line.trim_start();
        if CAPTURED.iter().any(|says| code.contains(says)) {
            problems.push(format!(
                "{name}:{}: the test runner swallows this: write it to `std::io::stderr()`",
                index + 1
            ));
        }
        for (holds_under, path, door) in ONE_DOOR {
            if name.starts_with(holds_under)
                && !name.starts_with(door)
                && !code.starts_with("//")
                && names_path(code, path)
            {
                problems.push(format!("{name}:{}: {path} is used only under {door}", index + 1));
            }
        }
    }
    problems
}

/// Whether code names the crate path, and not a longer identifier that ends like it (`myelin_kube::` is not `kube::`).
fn names_path(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(at, _)| {
        !code[..at]
            .chars()
            .next_back()
            .is_some_and(|before| before.is_alphanumeric() || before == '_' || before == ':')
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_crate_that_names_what_it_may_not_is_reported() {
        let metadata = json!({"packages": [
            {"name": "myelin-engine", "dependencies": [
                {"name": "tonic", "kind": null}, {"name": "kube", "kind": null}, {"name": "aws-sdk-ec2", "kind": null}]},
            {"name": "terraform-provider-myelin", "dependencies": [
                {"name": "myelin-sandbox", "kind": "dev"}, {"name": "myelin-engine", "kind": null}]},
        ]});
        let problems = dependency_problems(&metadata);
        assert_eq!(problems.len(), 2, "{problems:#?}");
        assert!(problems[0].contains("tonic") && problems[1].contains("aws-sdk-ec2"));
    }

    #[test]
    fn product_code_may_not_know_the_sandbox_nor_the_sandbox_the_product() {
        let metadata = json!({"packages": [
            {"name": "terraform-provider-myelin", "dependencies": [{"name": "myelin-sandbox", "kind": null}]},
            {"name": "myelin-sandbox", "dependencies": [{"name": "myelin-engine", "kind": "dev"}]},
        ]});
        assert_eq!(dependency_problems(&metadata).len(), 2);
    }

    #[test]
    fn a_long_file_a_file_without_a_header_and_unfinished_work_are_reported() {
        let long = format!("//! Long.\n{}", "\n".repeat(LINES));
        assert_eq!(rust_problems("engine/src/long.rs", &long).len(), 1);
        assert_eq!(rust_problems("engine/src/bare.rs", "fn f() {}\n").len(), 1);
        let unfinished = concat!("//! A.\nfn f() { to", "do!() }\n");
        assert_eq!(rust_problems("engine/src/a.rs", unfinished).len(), 1);
        assert_eq!(rust_problems("engine/src/utils.rs", "//! Odds and ends.\n").len(), 1);
    }

    #[test]
    fn a_test_that_does_not_run_says_who_runs_it() {
        let test = |attribute: &str| format!("//! A.\n#[test]\n{attribute}\nfn f() {{}}\n");
        let bare = test(concat!("#[ign", "ore]"));
        let flaky = test(concat!("#[ign", "ore = \"fails at times\"]"));
        let bench = test(concat!("#[ign", "ore = \"a measurement: cargo xtask bench agent\"]"));
        let found = [bare, flaky, bench].map(|text| rust_problems("agent/tests/it/a.rs", &text).len());
        assert_eq!(found, [1, 1, 0]);
    }

    #[test]
    fn a_test_that_skips_says_so_where_it_is_seen() {
        let found = ["eprintln!(\"", "let _ = writeln!(std::io::stderr(), \""].map(|how| {
            rust_problems(
                "agent/tests/it/a.rs",
                &format!("//! A.\n{how}{}: no gpg\");\n", "SKIPPED"),
            )
            .len()
        });
        assert_eq!(found, [1, 0]);
    }

    #[test]
    fn a_library_with_one_door_is_used_only_behind_it() {
        let code = "//! A.\nuse kube::Client; // a comment\n";
        assert_eq!(rust_problems("engine/src/plan.rs", code).len(), 1);
        assert_eq!(rust_problems("engine/src/cluster/live.rs", code).len(), 0);
        assert_eq!(
            rust_problems(
                "engine/src/plan.rs",
                "//! A.\n// kube::Client is elsewhere\nuse crate::kube::X;\n"
            )
            .len(),
            0
        );
    }

    #[test]
    fn a_path_of_this_machine_is_reported_with_its_line() {
        let machine = ["/someone/".to_owned()];
        assert_eq!(
            text_problems("a.md", "x\nsee /someone/else\n", &machine),
            ["a.md:2: names a path of this machine (/someone/)"]
        );
    }
}
