//! Commits that the real `gpg` signed, from the commit to the cluster.

use crate::house::{House, map, stack};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn where_openpgp_signers_are_named_only_their_commits_are_taken() {
    if Command::new("gpg").arg("--version").output().is_err() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: there is no gpg on this machine");
        return;
    }
    let house = House::new().await;
    let home = tempfile::Builder::new().prefix("g").tempdir().unwrap();
    let gpg = house.file(
        "gpg",
        &format!(
            "#!/bin/sh\nexec gpg --homedir {} --batch --no-tty --pinentry-mode loopback --passphrase '' \"$@\"\n",
            home.path().display()
        ),
    );
    std::fs::set_permissions(&gpg, std::fs::Permissions::from_mode(0o700)).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(&gpg).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for who in ["ada", "eve"] {
        run(&["--quiet", "--quick-gen-key", who, "ed25519", "sign", "never"]);
    }
    let signers = house.file("signers.asc", &run(&["--armor", "--export", "ada"]));
    let program = format!("gpg.program={gpg}");
    let commit = |who: Option<&str>, color: &str| {
        house.commit(
            "files",
            &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", color))],
        );
        let sign = who.map_or_else(|| "--no-gpg-sign".to_owned(), |who| format!("-S{who}"));
        house.git(&[
            "-c",
            &program,
            "-c",
            "gpg.format=openpgp",
            "commit",
            "--quiet",
            "--amend",
            &sign,
            "-m",
            color,
        ]);
        house.git(&["rev-parse", "HEAD"])
    };
    let first = commit(Some("ada"), "red");
    let config = house.file(
        "myelin.yaml",
        &format!(
            "sources:\n- {{name: git, url: '{}', interval: 1s, verify: {{signers: ['{signers}']}}}}\n",
            house.repository().display()
        ),
    );
    let _reconciler = house.reconciler_of(&["--config", &config]);
    house.reaches("ready", &first).await;
    for (who, color, why) in [
        (None, "green", "it is not signed"),
        (Some("eve"), "black", "not among the signers"),
    ] {
        commit(who, color);
        house
            .eventually(&format!("told: {why}"), async || {
                let status = house.status().await;
                (status["state"] == "rejected" && status["message"].as_str()?.contains(why)).then_some(())
            })
            .await;
        assert_eq!(house.value("paint", "color").await.as_deref(), Some("red"));
    }
    let last = commit(Some("ada"), "blue");
    house.reaches("ready", &last).await;
    assert_eq!(house.value("paint", "color").await.as_deref(), Some("blue"));
}
