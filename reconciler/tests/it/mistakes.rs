//! Mistyped commands are reported at once and do nothing: meaningless flags, unknown sources, plans that are not
//! waiting.

use crate::house::{House, map, stack};

/// What a command that fails says on its error stream.
fn told(house: &House, arguments: &[&str]) -> String {
    let output = house.myelin(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "myelin {arguments:?}\n{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_that_cannot_be_meant_end_the_reconciler_before_it_begins() {
    let house = House::new().await;
    let configuration = house.file("myelin.yaml", "sources: [{name: a, url: /nowhere}]\n");
    for (arguments, said) in [
        (&[][..], "error: no source: pass --url, or --config"),
        (&["--config", "absent.yaml"], "cannot be read"),
        (&["--config", &configuration, "--branch", "prod"], "cannot be used with"),
        (&["--config", &configuration, "--interval", "5s"], "cannot be used with"),
        (&["--config", &configuration, "--name", "b"], "cannot be used with"),
        (&["--config", &configuration, "--signers", "x"], "cannot be used with"),
        (
            &["--config", &configuration, "--service-account", "a/b"],
            "cannot be used with",
        ),
        (&["--url", "/x", "--interval", "0s"], "shorter than one second"),
        (
            &["--url", "/x", "--interval", "soon"],
            "--interval: \"soon\" is not a duration",
        ),
        (&["--url", "git@host:x.git"], "--identity FILE and --known-hosts FILE"),
        (
            &["--url", "git@host:x.git", "--identity", "k"],
            "ssh needs --known-hosts FILE:",
        ),
        (&["--url", "/x", "--context", "nope"], "error: the kubeconfig"),
    ] {
        let all: Vec<&str> = ["run", "--listen", "none"].iter().chain(arguments).copied().collect();
        let line = told(&house, &all);
        assert!(line.contains(said), "{arguments:?}\n{line}");
        assert!(line.starts_with("error: "), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_to_a_source_that_nobody_runs_is_refused_and_leaves_nothing_behind() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    for command in ["suspend", "resume", "reconcile", "release"] {
        let said = told(&house, &[command]);
        assert!(said.contains("no source git has reported"), "{said}");
    }
    let _reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    for arguments in [
        &["suspend", "typo"][..],
        &["resume", "typo"],
        &["reconcile", "typo", "--wait"],
        &["release", "typo"],
        &["rollback", "typo", "--to", &first],
        &["rollback", "typo", "--to", &first[..8]],
        &["confirm", "typo", "0123456789abcdef0123456789abcdef"],
        &["history", "typo"],
        &["events", "typo"],
        &["status", "typo"],
    ] {
        let said = told(&house, arguments);
        assert!(
            said.contains("no source typo has reported") && said.contains("there are: git"),
            "{said}"
        );
    }
    // Nothing is said when what comes with it is wrong.
    let said = told(&house, &["suspend", "--wait", "--timeout", "soon"]);
    assert!(said.contains("--timeout"), "{said}");
    let said = told(&house, &["confirm", "git", "yes"]);
    assert!(said.contains("no hash of a plan"), "{said}");
    let said = told(&house, &["rollback", "--to", "HEAD"]);
    assert!(said.contains("myelin history git"), "{said}");
    let tree = house.says(0, &["status", "--depth", "stack"]);
    assert!(
        tree.contains("git: ready at") && tree.contains("stack shop/one: ready"),
        "{tree}"
    );
    assert!(!tree.contains("typo"), "{tree}");

    // A commit that is on no branch is reported, and the branch is not called missing.
    let nowhere = "1".repeat(40);
    house.says(0, &["rollback", "--to", &nowhere]);
    house.reaches("rejected", &first).await;
    let tree = house.says(1, &["status"]);
    assert!(
        tree.contains("held at 111111111111") && !tree.contains("the branch is at"),
        "{tree}"
    );
    assert!(house.says(0, &["release", "--wait"]).contains("ready at"));

    let empty = house.file("nothing", "");
    let folder = std::path::Path::new(&empty).with_file_name("empty");
    std::fs::create_dir(&folder).unwrap();
    let said = told(&house, &["validate", folder.to_str().unwrap()]);
    assert!(said.contains("no document"), "{said}");
    let said = house.says(0, &["validate", house.repository().to_str().unwrap()]);
    assert_eq!(said, "1 stack, 2 objects: valid\n");
}
