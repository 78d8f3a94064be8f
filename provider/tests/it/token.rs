//! `myelin_provisioning_token` and the ephemeral `myelin_secret` with the real `terraform`: minted once, shown nowhere.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use myelin_sandbox::kubernetes::registry::{Actor, DeleteOptions};
use serde_json::{Value as Json, json};

use crate::cluster::Cluster;
use crate::core::Debugged;
use crate::stand::Stand;
use crate::terraform::{Workspace, text};

const TOKEN: &str = r#"
resource "myelin_provisioning_token" "axon" {
  namespace     = "shop"
  name          = "axon"
  issuer        = { random = { bytes = 24 } }
  secret        = { name = "axon", key = "value" }
  keepers       = { volume = "1" }
  expires_after = 3600
}
"#;

fn namespace(cluster: &Cluster) {
    let somebody = Actor::admin("kubectl");
    let registry = cluster.registry();
    registry
        .create(&somebody, "namespaces", "", json!({"metadata": {"name": "shop"}}))
        .unwrap();
}

fn stand(module: &str) -> Stand {
    let stand = Stand::new(module);
    namespace(&stand.cluster);
    stand
}

fn value(cluster: &Cluster) -> Option<String> {
    let secret = cluster.object("secrets", "shop", "axon")?;
    let bytes = BASE64.decode(secret["data"]["value"].as_str()?).unwrap();
    String::from_utf8(bytes).ok()
}

fn delete_secret(cluster: &Cluster) {
    let somebody = Actor::admin("kubectl");
    let options = DeleteOptions::default();
    let registry = cluster.registry();
    registry.delete(&somebody, "secrets", "shop", "axon", &options).unwrap();
}

/// The record and the events, where a value must not be either.
fn elsewhere(cluster: &Cluster) -> String {
    let mut all = String::new();
    for resource in ["secrets", "events", "configmaps"] {
        for object in cluster.registry().list(resource, Some("shop"), None).unwrap() {
            if object.name() != "axon" {
                let value = object.value();
                all.push_str(&value.to_string());
                for (_, data) in value["data"].as_object().into_iter().flatten() {
                    let bytes = BASE64.decode(data.as_str().unwrap_or_default()).unwrap_or_default();
                    all.push_str(&String::from_utf8_lossy(&bytes));
                }
            }
        }
    }
    all
}

fn attributes(stand: &Stand) -> Json {
    stand.state()["attributes"].clone()
}

#[test]
fn a_token_lives_from_create_to_destroy_and_nobody_sees_its_value() {
    let mut stand = stand(TOKEN);
    stand.apply();
    let first = value(&stand.cluster).expect("a value");
    stand.secret(&first);
    stand.search_again();
    assert!(!elsewhere(&stand.cluster).contains(&first), "a value beside its Secret");
    let state = attributes(&stand);
    assert_eq!(
        (&state["id"], &state["mints"], &state["due"]),
        (&json!("shop/axon"), &json!(1), &Json::Null)
    );
    let time = |name: &str| state[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!((time("expires_at") - time("minted_at")).get_seconds(), 3600);
    let secret = stand.cluster.object("secrets", "shop", "axon").unwrap();
    assert_eq!(state["secret_uid"], secret["metadata"]["uid"]);
    assert!(state["value_hash"].as_str().unwrap().len() >= 32);

    for _ in 0..10 {
        assert_eq!(stand.plan().0, Some(0), "a plan mints nothing and finds nothing to do");
    }
    assert_eq!(value(&stand.cluster).as_ref(), Some(&first));

    // Gone: the plan says that a new one is minted, and why.
    delete_secret(&stand.cluster);
    let (code, shown) = stand.plan();
    assert_eq!(code, Some(2), "{shown}");
    assert!(
        shown.contains("a new one will be minted: its Secret or key is gone"),
        "{shown}"
    );
    assert!(value(&stand.cluster).is_none(), "a plan mints nothing");
    stand.apply();
    let second = value(&stand.cluster).expect("a value");
    stand.secret(&second);
    assert_ne!(first, second);
    assert_eq!(attributes(&stand)["mints"], 2);

    // Other keepers.
    stand.module(&TOKEN.replace("volume = \"1\"", "volume = \"2\""));
    let (code, shown) = stand.plan();
    assert!(code == Some(2) && shown.contains("its keepers changed"), "{shown}");
    stand.apply();
    let third = value(&stand.cluster).expect("a value");
    stand.secret(&third);
    stand.search_again();
    assert_ne!(second, third);
    assert_ne!(state["value_hash"], attributes(&stand)["value_hash"]);

    // Terms that mint nothing.
    stand.module(
        &TOKEN
            .replace("volume = \"1\"", "volume = \"2\"")
            .replace("3600", "7200"),
    );
    stand.apply();
    assert_eq!(value(&stand.cluster).as_ref(), Some(&third));
    assert_eq!(attributes(&stand)["mints"], 3);

    // A lost state is found again; another place is another token.
    std::fs::remove_file(stand.path("terraform.tfstate")).unwrap();
    stand.apply();
    assert_eq!(
        value(&stand.cluster).as_ref(),
        Some(&third),
        "the record says that it is there"
    );
    assert_eq!(attributes(&stand)["mints"], 3);
    stand.destroy();
    assert!(value(&stand.cluster).is_none());
    assert!(
        stand
            .cluster
            .registry()
            .list("secrets", Some("shop"), None)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn an_import_adopts_a_value_without_minting_and_a_destroy_leaves_it() {
    let stand = stand(&TOKEN.replace("expires_after = 3600", ""));
    let somebody = Actor::admin("kubectl");
    let secret = json!({"metadata": {"name": "axon"}, "data": {"value": BASE64.encode("somebody-elses-value")}});
    stand
        .cluster
        .registry()
        .create(&somebody, "secrets", "shop", secret)
        .unwrap();
    let (code, shown) = stand.plan();
    assert!(code == Some(1) && shown.contains("Myelin did not mint"), "{shown}");

    let import = |id: &str| {
        let arguments = [
            "import",
            "-input=false",
            "-no-color",
            "myelin_provisioning_token.axon",
            id,
        ];
        stand.run(&arguments)
    };
    let refused = import("shop/axon");
    assert!(
        !refused.status.success() && text(&refused).contains("namespace/name/secret/key"),
        "{}",
        text(&refused)
    );
    let imported = import("shop/axon/axon/value");
    assert!(imported.status.success(), "{}", text(&imported));
    let (code, shown) = stand.plan();
    assert!(code == Some(2) && shown.contains("nothing is minted"), "{shown}");
    stand.apply();
    assert_eq!(value(&stand.cluster).as_deref(), Some("somebody-elses-value"));
    assert_eq!(attributes(&stand)["mints"], 0);

    // With a record the short id is enough.
    std::fs::remove_file(stand.path("terraform.tfstate")).unwrap();
    assert!(import("shop/axon").status.success());
    stand.apply();
    assert_eq!(value(&stand.cluster).as_deref(), Some("somebody-elses-value"));
    stand.destroy();
    assert_eq!(
        value(&stand.cluster).as_deref(),
        Some("somebody-elses-value"),
        "it was not ours to delete"
    );
}

#[test]
fn a_failed_first_mint_is_told_and_the_next_apply_continues_from_it() {
    let exec = TOKEN.replace(
        "{ random = { bytes = 24 } }",
        "{ exec = { pod = \"aha-0\", command = [\"mint\"] } }",
    );
    let stand = stand(&exec);
    let failed = stand.try_apply();
    assert!(
        !failed.status.success() && text(&failed).contains("pod shop/aha-0 does not exist"),
        "{}",
        text(&failed)
    );
    stand.module(TOKEN);
    stand.apply();
    assert!(value(&stand.cluster).is_some());
    assert_eq!(attributes(&stand)["mints"], 1);
}

#[test]
fn two_terraform_runs_with_different_states_at_once_mint_once() {
    let stand = stand(TOKEN);
    let block = format!(
        "provider \"myelin\" {{\n  kubeconfig = {:?}\n}}\n",
        stand.cluster.kubeconfig()
    );
    let other = Workspace::new(&format!("{block}{TOKEN}"));
    let arguments = ["apply", "-input=false", "-no-color", "-auto-approve"];
    let second = other
        .command(&arguments)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let first = stand.run(&arguments);
    let second = second.wait_with_output().unwrap();
    for output in [&first, &second] {
        assert!(output.status.success(), "{}", text(output));
    }
    assert_eq!(attributes(&stand)["mints"], 1);
    let state: Json = serde_json::from_str(&std::fs::read_to_string(other.path("terraform.tfstate")).unwrap()).unwrap();
    let theirs = &state["resources"][0]["instances"][0]["attributes"];
    assert_eq!(
        (&theirs["mints"], &theirs["value_hash"]),
        (&json!(1), &attributes(&stand)["value_hash"])
    );
    stand.assert_settled();
}

#[test]
fn killed_at_every_write_a_token_is_minted_once_by_the_next_apply() {
    use myelin_sandbox::faults::Effect;
    for effect in [Effect::HangBefore, Effect::HangAfter] {
        let mut ended = false;
        for writes in 0..12 {
            let stand = stand(TOKEN);
            let fault = stand.cluster.hold(&crate::crash::WRITES, writes, effect.clone());
            let running = stand.start(&["apply", "-input=false", "-no-color", "-auto-approve"]);
            ended = !stand
                .cluster
                .wait_for_or(&fault, Duration::from_secs(60), || running.has_ended());
            if !ended {
                running.kill_all();
            }
            running.end(Duration::from_secs(20));
            stand.cluster.without_faults();
            let before = value(&stand.cluster);
            let _ = std::fs::remove_file(stand.path(".terraform.tfstate.lock.info"));
            stand.apply_at_once();
            let after = value(&stand.cluster);
            assert!(after.is_some(), "{effect:?} at {writes}");
            if before.is_some() {
                assert_eq!(after, before, "minted again, {effect:?} at {writes}");
            }
            assert_eq!(attributes(&stand)["mints"], 1, "{effect:?} at {writes}");
            if ended {
                break;
            }
        }
        assert!(ended, "twelve writes are enough for one token");
    }
}

const READER: &str = r#"
ephemeral "myelin_secret" "value" {
  namespace = "shop"
  name      = "axon"
  key       = "value"
  after     = myelin_provisioning_token.axon.secret_uid
}
resource "myelin_stack" "reader" {
  name          = "reader"
  namespace     = "shop"
  source        = "${path.module}/k8s"
  substitute_wo = { VALUE = ephemeral.myelin_secret.value.value }
}
"#;

#[test]
fn an_ephemeral_secret_is_read_for_another_configuration_and_stored_nowhere() {
    let mut stand = stand(&format!("{TOKEN}{READER}"));
    stand.file(
        "k8s/reader.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: reader}\nstringData: {copy: '${VALUE}'}\n",
    );
    stand.apply();
    let minted = value(&stand.cluster).expect("a value");
    stand.secret(&minted);
    stand.search_again();
    let reader = stand.cluster.object("secrets", "shop", "reader").unwrap();
    assert_eq!(
        BASE64.decode(reader["data"]["copy"].as_str().unwrap()).unwrap(),
        minted.as_bytes()
    );
    stand.assert_settled();
    assert_eq!(value(&stand.cluster), Some(minted), "reading mints nothing");

    // What is not there is told with the way out.
    stand.module(
        "ephemeral \"myelin_secret\" \"value\" {\n  namespace = \"shop\"\n  name = \"nowhere\"\n  key = \"value\"\n}\n\
                  output \"x\" {\n  value = nonsensitive(length(\"a\"))\n}\n",
    );
    let (code, shown) = stand.plan();
    assert_eq!(code, Some(1), "{shown}");
    assert!(
        shown.contains("There is no key value of Secret shop/nowhere") && shown.contains("set after"),
        "{shown}"
    );
}

#[test]
fn the_provider_writes_no_core() {
    let provider = Debugged::start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", provider.pid())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    let numbers: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(numbers, ["0", "0"], "{core}");
}

#[test]
fn a_stack_shows_when_its_tokens_were_minted_and_when_they_expire() {
    let mut stand = Stand::new(
        "resource \"myelin_stack\" \"shop\" {\n  name = \"shop\"\n  namespace = \"shop\"\n  source = \"${path.module}/k8s\"\n  \
         tokens = { axon = {\n    issuer = { random = {} }\n    secret = { name = \"axon\", key = \"value\" }\n    \
         expires_after = 3600\n  } }\n}\n",
    );
    stand.file(
        "k8s/map.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\n",
    );
    stand.apply();
    let minted = value(&stand.cluster).expect("a value");
    stand.secret(&minted);
    stand.search_again();
    let token = attributes(&stand)["tokens_status"]["axon"].clone();
    let time = |name: &str| token[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!((time("expires_at") - time("minted_at")).get_seconds(), 3600);
    assert_eq!(token["mints"], 1);
    delete_secret(&stand.cluster);
    let (code, shown) = stand.plan();
    assert!(
        code == Some(2) && shown.contains("its Secret or key is gone"),
        "{shown}"
    );
    stand.apply();
    assert_eq!(attributes(&stand)["tokens_status"]["axon"]["mints"], 2);
}
