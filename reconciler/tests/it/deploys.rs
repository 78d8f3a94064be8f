//! A commit to main is the deployment.

use crate::house::{House, map, stack};
use crate::page::get;
use serde_json::json;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_validated_planned_and_applied_with_documented_exit_codes() {
    let house = House::new().await;
    house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    assert_eq!(house.myelin(&["validate", "repository"]).status.code(), Some(0));
    let planned = house.myelin(&["plan", "repository"]);
    assert_eq!(planned.status.code(), Some(2), "{}", text(&planned.stderr));
    assert!(
        text(&planned.stdout).contains("create ConfigMap shop/paint"),
        "{}",
        text(&planned.stdout)
    );
    let applied = house.myelin(&["apply", "repository"]);
    assert_eq!(
        applied.status.code(),
        Some(0),
        "{}{}",
        text(&applied.stdout),
        text(&applied.stderr)
    );
    assert_eq!(house.value("paint", "color").await.as_deref(), Some("red"));
    assert_eq!(house.myelin(&["plan", "repository"]).status.code(), Some(0));

    house.commit(
        "bad",
        &[
            ("one.yaml", &stack("one", "  sorce: x\n")),
            ("two.yaml", &stack("two", "")),
        ],
    );
    let refused = house.myelin(&["apply", "repository"]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said.contains("one.yaml:7") && said.contains("sorce"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_deployed_drift_is_reverted_and_a_bad_commit_changes_nothing() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let _reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    assert_eq!(house.value("paint", "color").await.as_deref(), Some("red"));

    let second = house.commit("blue", &[("one/map.yaml", &map("paint", "blue"))]);
    house.reaches("ready", &second).await;
    assert_eq!(house.value("paint", "color").await.as_deref(), Some("blue"));

    house
        .meddle("paint", json!({"color": "green", "foreign": "stays"}))
        .await;
    house
        .eventually("reverted", async || {
            (house.value("paint", "color").await.as_deref() == Some("blue")).then_some(())
        })
        .await;
    assert_eq!(
        house.value("paint", "foreign").await.as_deref(),
        Some("stays"),
        "a field that is not ours is left alone"
    );
    house.delete("paint").await;
    house
        .eventually("made again", async || house.value("paint", "color").await)
        .await;

    let bad = house.commit(
        "bad",
        &[
            ("one.yaml", &stack("one", "  sorce: x\n")),
            ("one/map.yaml", &map("paint", "black")),
        ],
    );
    let status = house.reaches("rejected", &second).await;
    assert_eq!(status["head"], bad.as_str());
    assert!(status["message"].as_str().unwrap().contains("sorce"), "{status:#}");
    house.meddle("paint", json!({"color": "green"})).await;
    house
        .eventually("the last good commit stays enforced", async || {
            (house.value("paint", "color").await.as_deref() == Some("blue")).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_stack_goes_an_emptied_repository_is_refused_until_confirmed() {
    let house = House::new().await;
    let files: Vec<(String, String)> = (0..6)
        .flat_map(|i| {
            let name = format!("s{i}");
            [
                (format!("{name}.yaml"), stack(&name, "")),
                (format!("{name}/map.yaml"), map(&name, "red")),
            ]
        })
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let first = house.commit("six", &files);
    let _reconciler = house.reconciler();
    house.reaches("ready", &first).await;

    house.git(&["rm", "--quiet", "-r", "s0.yaml", "s0"]);
    let second = house.commit("without the first", &[]);
    house.reaches("ready", &second).await;
    assert_eq!(house.value("s0", "color").await, None);
    assert!(!house.has_record("s0").await);
    assert!(house.value("s1", "color").await.is_some());

    house.git(&["rm", "--quiet", "-r", "."]);
    let empty = house.commit("nothing", &[]);
    let status = house.reaches("refused", &empty).await;
    assert!(house.value("s1", "color").await.is_some(), "nothing was removed");
    let hash = status["unconfirmed"].as_str().unwrap();
    assert_eq!(house.myelin(&["confirm", "git", hash]).status.code(), Some(0));
    house
        .eventually("removed", async || {
            house.value("s5", "color").await.is_none().then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn suspend_rollback_and_release_do_what_they_say_and_history_is_in_the_cluster() {
    let house = House::new().await;
    let first = house.commit(
        "red",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    let second = house.commit("blue", &[("one/map.yaml", &map("paint", "blue"))]);
    house.reaches("ready", &second).await;

    assert_eq!(house.myelin(&["rollback", "--to", &first[..8]]).status.code(), Some(0));
    house.reaches("ready", &first).await;
    assert_eq!(house.value("paint", "color").await.as_deref(), Some("red"));
    let third = house.commit("white", &[("one/map.yaml", &map("paint", "white"))]);

    // Killed and restarted with an empty disk: users' requests and the history are in the cluster.
    reconciler.kill();
    let _reconciler = house.reconciler();
    house.meddle("paint", json!({"color": "green"})).await;
    house
        .eventually("held", async || {
            (house.value("paint", "color").await.as_deref() == Some("red")).then_some(())
        })
        .await;
    let history = house.status().await["history"].to_string();
    assert!(!history.contains(&third), "held from the first moment on: {history}");
    assert_eq!(house.myelin(&["release"]).status.code(), Some(0));
    house.reaches("ready", &third).await;
    assert_eq!(house.value("paint", "color").await.as_deref(), Some("white"));

    assert_eq!(house.myelin(&["suspend"]).status.code(), Some(0));
    house
        .eventually("suspended", async || {
            (house.status().await["state"] == "suspended").then_some(())
        })
        .await;
    house.meddle("paint", json!({"color": "green"})).await;
    let fourth = house.commit("black", &[("one/map.yaml", &map("paint", "black"))]);
    assert_eq!(house.value("paint", "color").await.as_deref(), Some("green"));
    assert_eq!(house.myelin(&["resume"]).status.code(), Some(0));
    house.reaches("ready", &fourth).await;
    let history = text(&house.myelin(&["history"]).stdout);
    for subject in ["red", "blue", "white", "black"] {
        assert!(history.contains(&format!("{subject} (Ada)")), "{history}");
    }
    let status = house.myelin(&["status"]);
    assert_eq!(status.status.code(), Some(0));
    assert!(
        text(&status.stdout).contains("stack shop/one: ready"),
        "{}",
        text(&status.stdout)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_commit_ends_the_waits_of_an_older_one() {
    let house = House::new().await;
    let stuck = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  selector: {matchLabels: {a: b}}\n  template:\n    metadata: {labels: {a: b}}\n    spec:\n      containers: [{name: c, image: 'nginx', readinessProbe: {httpGet: {port: 80}}, envFrom: [{secretRef: {name: absent}}]}]\n";
    let first = house.commit(
        "stuck",
        &[
            ("one.yaml", &stack("one", "")),
            ("one/web.yaml", stuck),
            ("one/map.yaml", &map("paint", "red")),
        ],
    );
    let _reconciler = house.reconciler();
    house.reaches("applying", &first).await;
    house
        .eventually("waiting", async || house.log().contains("waiting").then_some(()))
        .await;
    std::fs::remove_file(house.repository().join("one/web.yaml")).unwrap();
    let second = house.commit("without", &[("one/map.yaml", &map("paint", "blue"))]);
    let began = tokio::time::Instant::now();
    house
        .eventually("taken", async || {
            (house.status().await["commit"] == second.as_str()).then_some(())
        })
        .await;
    assert!(
        began.elapsed().as_secs() < 15,
        "the patience of the first commit's gate is longer"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_of_the_cluster_while_nothing_drifts() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let _reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    // The watches of the steady state begin after the status is written: wait until one is open, then count.
    house
        .eventually("watching", async || {
            let log = house.sandbox.faults().log(0);
            log.iter()
                .any(|line| format!("{line:?}").contains("configmaps") && format!("{line:?}").contains("atch"))
                .then_some(())
        })
        .await;
    house
        .eventually(
            "three seconds and three looks at the branch without a request",
            async || house.is_silent().await,
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_signers_are_named_an_unsigned_commit_is_refused_and_a_signed_one_is_taken() {
    let house = House::new().await;
    let key = house.file("key", "");
    std::fs::remove_file(&key).unwrap();
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f", &key])
        .status()
        .unwrap();
    assert!(made.success());
    let signers = house.file(
        "signers",
        &format!(
            "ada@example.com {}",
            std::fs::read_to_string(format!("{key}.pub")).unwrap()
        ),
    );
    let unsigned = house.commit(
        "unsigned",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let url = format!("file://{}", house.repository().display());
    let _reconciler = house.reconciler_of(&["--url", &url, "--signers", &signers]);
    house
        .eventually("refused", async || {
            let status = house.status().await;
            (status["state"] == "rejected"
                && status["message"]
                    .as_str()?
                    .contains(&format!("commit {unsigned} is refused: it is not signed")))
            .then_some(())
        })
        .await;
    assert_eq!(house.value("paint", "color").await, None);
    house.git(&[
        "-c",
        "gpg.format=ssh",
        "-c",
        &format!("user.signingkey={key}"),
        "commit",
        "--quiet",
        "--amend",
        "-S",
        "-m",
        "signed",
    ]);
    let signed = house.git(&["rev-parse", "HEAD"]);
    house.reaches("ready", &signed).await;
    assert_eq!(house.value("paint", "color").await.as_deref(), Some("red"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_the_metrics_and_the_checks_say_how_it_stands_to_who_knows_the_token() {
    let house = House::new().await;
    let first = house.commit(
        "first <b>",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let url = format!("file://{}", house.repository().display());
    let token = house.file("token", "open-sesame\n");
    let _reconciler = house.reconciler_of(&["--url", &url, "--listen-token", &token]);
    house.reaches("ready", &first).await;
    let log = house.log();
    let line = log.lines().find(|line| line.contains("listening")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let address = line["fields"]["address"].as_str().unwrap();
    assert!(get(address, "/healthz", "").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/readyz", "").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/metrics", "").await.starts_with("HTTP/1.1 401"));
    let known = "Authorization: Bearer open-sesame\r\n";
    let metrics = get(address, "/metrics", known).await;
    assert!(
        metrics.contains("myelin_source_state{source=\"git\",state=\"ready\"} 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("myelin_stack_ready{source=\"git\",stack=\"shop/one\"} 1"),
        "{metrics}"
    );
    // A browser is asked for a password, and sends the token as one.
    let unknown = get(address, "/", "").await.to_ascii_lowercase();
    assert!(unknown.contains("www-authenticate: basic"), "{unknown}");
    let password = "Authorization: Basic bWU6b3Blbi1zZXNhbWU=\r\n";
    assert!(get(address, "/", password).await.starts_with("HTTP/1.1 200"));
    let page = get(address, "/", known).await;
    assert!(
        page.contains("Source git") && page.contains(&first) && page.contains("first &lt;b&gt;"),
        "{page}"
    );
    let state = get(address, "/debug/state.json", known).await;
    assert!(state.contains("\"state\":\"ready\""), "{state}");
}
