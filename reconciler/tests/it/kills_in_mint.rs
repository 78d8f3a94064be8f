//! The reconciler is killed while a command in a pod mints a token for git, and right before and after the value is
//! stored. The next process finishes the mint, or mints again and reports that the issuer may hold an unused value. It
//! never does so silently, and no value appears anywhere but in its Secret.

use crate::house::{House, stack};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams};
use myelin_sandbox::faults::{Effect, Rule};
use serde_json::Value;
use std::collections::BTreeSet;

/// A pod in which AHA's provisioning tool answers, each time with another URL.
const AHA: &str = "\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: aha}
spec:
  serviceName: aha
  selector: {matchLabels: {app: aha}}
  template:
    metadata: {labels: {app: aha}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: aha
        image: vertexproject/synapse-aha:v2.256.0
        readinessProbe: {exec: {command: [\"true\"]}, periodSeconds: 1}
";

fn token(round: usize) -> String {
    format!(
        "apiVersion: myelin.dev/v1alpha1\nkind: ProvisioningToken\nmetadata: {{name: axon, namespace: shop}}\nspec:\n  \
         issuer: {{exec: {{pod: aha-0, timeout: 2s, command: [python, -m, synapse.tools.aha.provision.service, 00.axon]}}}}\n  \
         extract: url\n  secret: {{name: axon-provision, key: URL}}\n  dependsOn: [{{kind: Stack, name: one}}]\n  \
         keepers: {{round: '{round}'}}\n"
    )
}

impl House {
    async fn minted(&self) -> Option<String> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), "shop");
        let secret = secrets.get_opt("axon-provision").await.unwrap()?;
        let value = secret.data?.remove("URL")?;
        Some(String::from_utf8(value.0).unwrap())
    }

    /// What the token's record says: how often a value was minted and stored, and how many mints were interrupted.
    async fn counted(&self) -> (u64, usize) {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), "shop");
        let records = ListParams::default().fields("type=myelin.dev/stack");
        for record in secrets.list(&records).await.unwrap() {
            for bytes in record.data.unwrap_or_default().into_values() {
                let Ok(value) = serde_json::from_slice::<Value>(&bytes.0) else {
                    continue;
                };
                let Some(entry) = token_entry(&value) else { continue };
                let orphans = entry["orphans"].as_array().map_or(0, Vec::len);
                return (entry["mints"].as_u64().unwrap_or_default(), orphans);
            }
        }
        panic!("no record names the token");
    }

    /// How often the issuer was asked.
    fn commands(&self) -> usize {
        let all = self.sandbox.faults().log(0);
        all.iter()
            .filter(|request| request.path.ends_with("/exec") && request.user_agent.contains("myelin/"))
            .count()
    }

    /// Everything that users and other programs can read, except the Secret itself.
    async fn readable(&self) -> String {
        let kinds = "configmaps,events,statefulsets,pods,leases";
        let mut all = self.kubectl(&["get", kinds, "--all-namespaces", "--output=json"]);
        let secrets: Api<Secret> = Api::all(self.client.clone());
        for secret in secrets.list(&ListParams::default()).await.unwrap() {
            all.push_str(&format!("{:?}", secret.metadata));
            if secret.metadata.name.as_deref() != Some("axon-provision") {
                for bytes in secret.data.unwrap_or_default().into_values() {
                    all.push_str(&String::from_utf8_lossy(&bytes.0));
                }
            }
        }
        all + &self.log()
    }
}

/// The entry of the token in a record's JSON, wherever it is in it.
fn token_entry(value: &Value) -> Option<&Value> {
    match value {
        Value::Object(map) if map.contains_key("mints") && map.contains_key("state") => Some(value),
        Value::Object(map) => map.values().find_map(token_entry),
        Value::Array(items) => items.iter().find_map(token_entry),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_a_mint_the_next_process_finishes_it_or_says_that_it_was_interrupted() {
    let house = House::new().await;
    let commit = |round: usize| {
        house.commit(
            &format!("round {round}"),
            &[
                ("one.yaml", &stack("one", "")),
                ("one/aha.yaml", AHA),
                ("axon.yaml", &token(round)),
            ],
        )
    };
    let first = commit(0);
    let process = house.reconciler();
    house.reaches("ready", &first).await;
    process.kill();
    let mut values = BTreeSet::from([house.minted().await.expect("a value")]);
    assert_eq!((house.counted().await, house.commands()), ((1, 0), 1));
    let (mut stored, mut orphans) = (1, 0);
    for (round, (what, path, verbs, effect, interrupted)) in [
        // The command was asked for and did not begin.
        (
            "before the command",
            "/exec",
            &["get", "create"][..],
            Effect::HangBefore,
            true,
        ),
        // The command ran: the issuer has created a value, and nobody has it.
        ("in the command", "/exec", &["get", "create"], Effect::HangAfter, true),
        (
            "before the value is stored",
            "/secrets/axon-provision",
            &["patch"],
            Effect::HangBefore,
            true,
        ),
        (
            "after the value is stored",
            "/secrets/axon-provision",
            &["patch"],
            Effect::HangAfter,
            false,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let before = house.commands();
        let rule = house.sandbox.faults().add(Rule {
            id: format!("strike-{round}"),
            verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
            path: path.to_owned(),
            user_agent: "myelin/".to_owned(),
            times: 1,
            effect,
            ..Rule::default()
        });
        let hash = commit(round + 1);
        let process = house.reconciler();
        house
            .eventually(what, async || {
                let rules = house.sandbox.faults().rules();
                rules
                    .iter()
                    .any(|report| report.rule.id == rule && report.met > 0)
                    .then_some(())
            })
            .await;
        process.kill();
        house.sandbox.faults().remove(&rule);
        assert_eq!(house.commands(), before + 1, "{what}");
        let left = house.minted().await.expect("a value");
        let said = house.log().len();
        let next = house.reconciler();
        house.reaches("ready", &hash).await;
        let now = house.minted().await.expect("a value");
        stored += 1;
        orphans += usize::from(interrupted);
        assert_eq!(house.counted().await, (stored, orphans), "{what}");
        let log = house.log()[said..].to_owned();
        if interrupted {
            assert!(
                values.contains(&left),
                "{what}: what was stored before is there until there is a new one"
            );
            assert_eq!(house.commands(), before + 2, "{what}: one more, and no more");
            assert!(
                log.contains("was interrupted before its value was stored"),
                "{what}: minted again in silence\n{log}"
            );
            // Events are written beside the work.
            house
                .eventually("an event", async || {
                    let events = house.says(0, &["events"]);
                    let told = events.matches("was interrupted before its value was stored").count();
                    (told == orphans).then_some(())
                })
                .await;
        } else {
            assert_eq!(
                (house.commands(), &now),
                (before + 1, &left),
                "{what}: it was stored, and is kept"
            );
            assert!(!log.contains("interrupted"), "{what}\n{log}");
        }
        next.kill();
        assert!(values.insert(now), "{what}: new keepers, and the old value");
    }
    let readable = house.readable().await;
    assert!(readable.contains("axon"), "there is something to read");
    for value in &values {
        let secret = value.rsplit('/').next().unwrap();
        let (body, hash) = secret.split_once("?certhash=").unwrap();
        for part in [body, hash] {
            assert!(!readable.contains(part), "a value that was minted can be read");
        }
    }
}
