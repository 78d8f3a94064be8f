//! Service accounts that stacks name: each has only its own rights, one that is denied stops no other, and a repository
//! names only accounts that the configuration allows. Myelin itself may change nothing here, so every change was made
//! under another account.

use crate::house::{House, map, stack};
use serde_json::json;

fn kustomization() -> String {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/kubernetes");
    folder.to_str().unwrap().to_owned()
}

fn account(house: &House, namespace: &str, name: &str) {
    house.kubectl(&["create", "serviceaccount", name, "-n", namespace]);
}

fn bind(house: &House, namespace: &str, role: &str, account: &str) {
    let name = account.replace(':', "-");
    let name = format!("{role}-{name}");
    house.kubectl(&[
        "create",
        "rolebinding",
        &name,
        "-n",
        namespace,
        "--clusterrole",
        role,
        "--serviceaccount",
        account,
    ]);
}

/// A map of namespace `other`.
fn elsewhere(house: &House, key: &str) -> Option<String> {
    let said = house.kubectl(&[
        "get",
        "configmap",
        "paint",
        "-n",
        "other",
        "--ignore-not-found",
        "-o",
        "json",
    ]);
    let map: serde_json::Value = serde_json::from_str(&said).ok()?;
    map["data"][key].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_stack_has_the_rights_of_its_account_and_one_that_is_denied_stops_no_other() {
    let house = House::new().await;
    house.kubectl(&["apply", "-k", &kustomization()]);
    house.kubectl(&["delete", "clusterrolebinding", "myelin-deploy"]);
    for namespace in ["shop", "other"] {
        house.kubectl(&["create", "namespace", namespace]);
        account(&house, namespace, "deployer");
        bind(&house, namespace, "myelin-impersonate", "myelin-system:myelin");
    }
    bind(&house, "shop", "myelin-deploy", "shop:deployer");
    let kubeconfig = house.kubeconfig_of("myelin-system", "myelin");
    let url = format!("file://{}", house.repository().display());
    let configuration = format!(
        "sources:\n- name: git\n  url: {url}\n  interval: 1s\n  blastRadius: 100\n  serviceAccount: shop/deployer\n  serviceAccounts: [other/deployer]\n"
    );
    let configuration = house.file("myelin.yaml", &configuration);
    let two = stack("two", "  serviceAccount: other/deployer\n").replace("namespace: shop", "namespace: other");
    let three = stack("three", "  dependsOn: [{kind: Stack, name: two}]\n");
    let first = house.commit(
        "first",
        &[
            ("one.yaml", &stack("one", "")),
            ("one/map.yaml", &map("one", "red")),
            ("two.yaml", &two),
            ("two/map.yaml", &map("paint", "red")),
            ("three.yaml", &three),
            ("three/map.yaml", &map("three", "red")),
        ],
    );
    let arguments = ["--config", &configuration, "--kubeconfig", &kubeconfig];
    let _reconciler = house.reconciler_of(&arguments);

    // other/deployer has no rights: its stack says so, its dependants wait, and the other stack is applied.
    let status = house.reaches("failed", &first).await;
    let said = status["message"].as_str().unwrap();
    assert!(
        said.contains("stack other/two was not applied") && said.contains("system:serviceaccount:other:deployer"),
        "{said}"
    );
    assert!(!said.contains("stack shop/one"), "{said}");
    assert_eq!(status["stacks"]["shop/one"], "ready", "{status:#}");
    assert!(
        status["stacks"]["shop/three"].as_str().unwrap().starts_with("skipped"),
        "{status:#}"
    );
    assert_eq!(house.value("one", "color").await.as_deref(), Some("red"));
    assert_eq!(
        (elsewhere(&house, "color"), house.value("three", "color").await),
        (None, None)
    );

    // It is tried again by itself.
    bind(&house, "other", "myelin-deploy", "other:deployer");
    house.says(0, &["reconcile", "git"]);
    house.reaches("ready", &first).await;
    assert_eq!(elsewhere(&house, "color").as_deref(), Some("red"));
    assert_eq!(house.value("three", "color").await.as_deref(), Some("red"));

    // Drift is reverted by whom the stack names.
    let patch = json!({"data": {"color": "foreign"}}).to_string();
    house.kubectl(&[
        "patch",
        "configmap",
        "paint",
        "-n",
        "other",
        "--type=merge",
        "-p",
        &patch,
    ]);
    house
        .eventually("reverted", async || {
            (elsewhere(&house, "color").as_deref() == Some("red")).then_some(())
        })
        .await;
    house.reaches("ready", &first).await;

    // An account of one namespace has no rights in another, whatever a manifest says.
    let out = map("paint", "red").replace("{name: paint}", "{name: paint, namespace: shop}");
    let second = house.commit(
        "reaches out",
        &[("two/map.yaml", &out), ("one/map.yaml", &map("one", "blue"))],
    );
    let status = house.reaches("failed", &second).await;
    let said = status["message"].as_str().unwrap();
    assert!(
        said.contains("system:serviceaccount:other:deployer") && said.contains("\"shop\""),
        "{said}"
    );
    assert_eq!(house.value("one", "color").await.as_deref(), Some("blue"));
    assert_eq!(house.value("paint", "color").await, None);

    // A document that is gone is removed by whom it was made.
    house.git(&["rm", "-r", "--quiet", "two.yaml", "two", "three.yaml", "three"]);
    let third = house.commit("without", &[]);
    house.reaches("ready", &third).await;
    assert_eq!(
        (elsewhere(&house, "color"), house.value("three", "color").await),
        (None, None)
    );
}

/// The value that a token of namespace `other` has.
fn minted(house: &House) -> Option<String> {
    let said = house.kubectl(&[
        "get",
        "secret",
        "key",
        "-n",
        "other",
        "--ignore-not-found",
        "-o",
        "json",
    ]);
    let secret: serde_json::Value = serde_json::from_str(&said).ok()?;
    secret["data"]["value"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_minted_and_taken_away_as_the_account_that_it_names() {
    let house = House::new().await;
    house.kubectl(&["apply", "-k", &kustomization()]);
    house.kubectl(&["delete", "clusterrolebinding", "myelin-deploy"]);
    for namespace in ["shop", "other"] {
        house.kubectl(&["create", "namespace", namespace]);
        account(&house, namespace, "deployer");
        bind(&house, namespace, "myelin-impersonate", "myelin-system:myelin");
    }
    bind(&house, "shop", "myelin-deploy", "shop:deployer");
    let kubeconfig = house.kubeconfig_of("myelin-system", "myelin");
    let url = format!("file://{}", house.repository().display());
    let configuration = format!(
        "sources:\n- name: git\n  url: {url}\n  interval: 1s\n  blastRadius: 100\n  serviceAccount: shop/deployer\n  serviceAccounts: [other/deployer]\n"
    );
    let configuration = house.file("myelin.yaml", &configuration);
    let token = "apiVersion: myelin.dev/v1alpha1\nkind: ProvisioningToken\nmetadata: {name: key, namespace: other}\nspec:\n  \
                 issuer: {random: {bytes: 24}}\n  secret: {name: key, key: value}\n  serviceAccount: deployer\n";
    let first = house.commit(
        "first",
        &[
            ("one.yaml", &stack("one", "")),
            ("one/map.yaml", &map("one", "red")),
            ("key.yaml", token),
        ],
    );
    let _reconciler = house.reconciler_of(&["--config", &configuration, "--kubeconfig", &kubeconfig]);
    // The account may nothing yet: the token says so, the stack of the source's account is there.
    let status = house.reaches("failed", &first).await;
    let said = status["message"].as_str().unwrap();
    assert!(said.contains("system:serviceaccount:other:deployer"), "{said}");
    assert_eq!(house.value("one", "color").await.as_deref(), Some("red"));
    assert_eq!(minted(&house), None);

    bind(&house, "other", "myelin-deploy", "other:deployer");
    house.says(0, &["reconcile", "git"]);
    house.reaches("ready", &first).await;
    let value = minted(&house).expect("a value");
    // Without that line it would be minted as shop/deployer, which has no rights there: it is kept, and reported.
    let second = house.commit(
        "another's",
        &[("key.yaml", &token.replace("  serviceAccount: deployer\n", ""))],
    );
    let status = house.reaches("failed", &second).await;
    let said = status["message"].as_str().unwrap();
    assert!(said.contains("system:serviceaccount:shop:deployer"), "{said}");
    assert_eq!(minted(&house), Some(value));

    let third = house.commit("its own again", &[("key.yaml", token)]);
    house.reaches("ready", &third).await;
    house.git(&["rm", "--quiet", "key.yaml"]);
    let fourth = house.commit("without", &[]);
    house.reaches("ready", &fourth).await;
    assert_eq!(
        minted(&house),
        None,
        "its document is gone, and its account may take it away"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_cannot_name_an_account_that_its_configuration_does_not_allow() {
    let house = House::new().await;
    let url = format!("file://{}", house.repository().display());
    let arguments = ["--url", url.as_str()];
    for (account, allowed, why) in [
        (
            "kube-system/admin",
            "",
            "does not allow serviceAccount kube-system/admin",
        ),
        (
            "admin",
            "  serviceAccount: shop/deployer\n  serviceAccounts: [other/admin]\n",
            "does not allow serviceAccount shop/admin",
        ),
        ("a/b/c", "", "is no service account"),
        ("''", "", "is no service account"),
    ] {
        let text = stack("one", &format!("  serviceAccount: {account}\n"));
        let hash = house.commit(account, &[("one.yaml", &text), ("one/map.yaml", &map("one", "red"))]);
        let configuration = format!("sources:\n- name: git\n  url: {url}\n  interval: 1s\n{allowed}");
        let configuration = house.file("myelin.yaml", &configuration);
        let with = ["--config", configuration.as_str()];
        let reconciler = house.reconciler_of(if allowed.is_empty() { &arguments } else { &with });
        let status = house
            .eventually("rejected", async || {
                let status = house.status().await;
                (status["state"] == "rejected" && status["head"] == hash.as_str()).then_some(status)
            })
            .await;
        let said = status["message"].as_str().unwrap();
        assert!(said.contains(why) && said.contains("one.yaml:"), "{account}: {said}");
        assert_eq!(house.value("one", "color").await, None, "{account}");
        reconciler.kill();
    }
    // A configuration that lets stacks choose says what those do that do not.
    let text = format!("sources:\n- name: git\n  url: {url}\n  serviceAccounts: [shop/deployer]\n");
    let refused = house.myelin(&["run", "--config", &house.file("myelin.yaml", &text)]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("myelin.yaml:2") && said.contains("needs serviceAccount"),
        "{said}"
    );
}
