//! Pools of nodes from git: one graph with stacks, the size by a commit, drift, removal, and hand-over.

use crate::house::{House, map, stack};
use crate::page::{address, get};
use myelin_sandbox::ec2::State;
use std::time::Duration;

/// A pool; nodes are healthy when a model of their agent says so.
fn pool(size: &str, extra: &str) -> String {
    format!(
        "apiVersion: myelin.dev/v1alpha1\nkind: NodePool\nmetadata: {{name: workers}}\nspec:\n  cluster: prod\n  {size}\n  \
         instanceTypes: [m5.large, c6i.large]\n  image: {{id: ami-08600000000000001}}\n  \
         subnets: [subnet-0aaaaaaaaaaaaaaa1, subnet-0bbbbbbbbbbbbbbb2]\n  rollout: {{health: tag}}\n{extra}"
    )
}

/// What the agents of all nodes would say.
fn agents(house: &House) -> tokio::task::JoinHandle<()> {
    let cloud = house.sandbox.cloud().clone();
    tokio::spawn(async move {
        loop {
            let now = cloud.clock.now();
            for instance in cloud.world().instances.values_mut() {
                if instance.state(now, &cloud.times) == Some(State::Running) {
                    let draining = instance.tags.contains_key("myelin.dev:drain");
                    let word = if draining { "drained" } else { "ready" };
                    instance.tags.insert("myelin.dev:state".to_owned(), word.to_owned());
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
}

fn alive(house: &House) -> Vec<String> {
    house.sandbox.cloud().alive().into_iter().map(|i| i.id).collect()
}

fn launched(house: &House) -> u64 {
    house.sandbox.cloud().world().launched
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_scales_a_pool_drift_is_mended_and_removing_its_document_drains_and_ends_it() {
    let house = House::new().await;
    let _agents = agents(&house);
    let after = "  dependsOn: [{kind: NodePool, name: workers}]\n";
    let first = house.commit(
        "first",
        &[
            ("pool.yaml", &pool("size: 1", "")),
            ("one.yaml", &stack("one", after)),
            ("one/map.yaml", &map("paint", "red")),
        ],
    );
    let planned = house.says(2, &["plan", "repository"]);
    assert!(
        planned.contains("pool prod/workers: 0 kept, 1 launched") && planned.contains("1. + launch new-1"),
        "{planned}"
    );
    let _reconciler = house.reconciler();
    let status = house.reaches("ready", &first).await;
    assert_eq!(status["stacks"]["NodePool prod/workers"], "ready");
    assert_eq!(alive(&house).len(), 1);
    assert!(house.says(0, &["plan", "repository"]).contains("1 kept, 0 launched"));
    let said = house.says(0, &["status"]);
    assert!(said.contains("pool prod/workers: ready: 1 of 1 nodes ready"), "{said}");
    let metrics = get(&address(&house).await, "/metrics", "").await;
    let sent = |operation: &str| {
        let name = format!("myelin_ec2_requests_total{{operation=\"{operation}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.and_then(|count| count.trim().parse::<u64>().ok())
    };
    assert_eq!(sent("CreateFleet"), Some(1), "{metrics}");
    assert!(sent("DescribeInstances") > Some(1), "{metrics}");

    let second = house.commit("more", &[("pool.yaml", &pool("size: 2", ""))]);
    house.reaches("ready", &second).await;
    let both = alive(&house);
    assert_eq!(both.len(), 2);

    // Somebody terminates one: it is replaced, and steady looks are one request each.
    house.sandbox.cloud().world().instances.remove(&both[0]);
    house
        .eventually("another node", async || (alive(&house).len() == 2).then_some(()))
        .await;
    house.reaches("ready", &second).await;
    assert_eq!(launched(&house), 3);

    house.git(&["rm", "--quiet", "pool.yaml"]);
    house.commit("without the pool", &[("one.yaml", &stack("one", ""))]);
    house
        .eventually("no node", async || alive(&house).is_empty().then_some(()))
        .await;
    house
        .eventually("no word of the pool", async || {
            let status = house.status().await;
            (status["state"] == "ready" && status["stacks"]["NodePool prod/workers"].is_null()).then_some(())
        })
        .await;
    assert_eq!(house.value("paint", "color").await.as_deref(), Some("red"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_and_stacks_wait_for_each_other_both_ways_and_a_pool_that_fails_holds_back_only_its_own() {
    let house = House::new().await;
    house.commit(
        "a circle",
        &[
            (
                "pool.yaml",
                &pool("size: 1", "  dependsOn: [{kind: Stack, name: one}]\n"),
            ),
            (
                "one.yaml",
                &stack("one", "  dependsOn: [{kind: NodePool, name: workers}]\n"),
            ),
            ("one/map.yaml", &map("paint", "red")),
        ],
    );
    let refused = house.myelin(&["plan", "repository"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("NodePool workers") && said.contains("Stack one"),
        "{said}"
    );

    // No capacity anywhere: the stack on the pool waits, the pool's own stack and a third one do not.
    house.sandbox.cloud().world().faults.no_capacity = vec![Default::default()];
    house.commit(
        "in order",
        &[
            ("one.yaml", &stack("one", "")),
            (
                "two.yaml",
                &stack("two", "  dependsOn: [{kind: NodePool, name: workers}]\n"),
            ),
            ("two/map.yaml", &map("wood", "oak")),
        ],
    );
    let applied = house.myelin(&["apply", "repository"]);
    let said = String::from_utf8_lossy(&applied.stderr).into_owned();
    assert_eq!(applied.status.code(), Some(1), "{said}");
    assert!(
        said.contains("no capacity for 1 of 1 nodes") && said.contains("NodePool workers is not ready"),
        "{said}"
    );
    assert_eq!(house.value("paint", "color").await.as_deref(), Some("red"));
    assert_eq!(house.value("wood", "color").await, None);

    house.sandbox.cloud().world().faults.no_capacity.clear();
    let _agents = agents(&house);
    house.says(0, &["apply", "repository"]);
    assert_eq!(house.value("wood", "color").await.as_deref(), Some("oak"));
    assert_eq!(alive(&house).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_handed_over_and_nobody_else_may_touch_it() {
    let house = House::new().await;
    let _agents = agents(&house);
    house.commit("first", &[("pool.yaml", &pool("size: 1", ""))]);
    house.says(0, &["apply", "repository"]);
    let gone = house.myelin(&["hand-over", "--pool", "prod/nobody", "--to", "terraform"]);
    assert_eq!(gone.status.code(), Some(1));
    let said = house.says(0, &["hand-over", "--pool", "prod/workers", "--to", "terraform"]);
    assert!(said.contains("was git:git's and is terraform's now"), "{said}");
    house.commit("more", &[("pool.yaml", &pool("size: 2", ""))]);
    let refused = house.myelin(&["apply", "repository"]);
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert_eq!(alive(&house).len(), 1);
    house.says(0, &["hand-over", "--pool", "prod/workers", "--to", "git:git"]);
    house.says(0, &["apply", "repository"]);
    assert_eq!((alive(&house).len(), launched(&house)), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn synkti_comes_up_from_its_git_layout_grows_by_a_commit_and_goes_with_its_document() {
    let house = House::new().await;
    let _agents = agents(&house);
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/synkti/git/pool.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    house.commit(
        "first",
        &[
            ("pool.yaml", &text),
            ("one.yaml", &stack("one", "")),
            ("one/map.yaml", &map("paint", "red")),
        ],
    );
    house.says(0, &["apply", "repository"]);
    let first = alive(&house);
    assert_eq!(first.len(), 2);
    house.says(0, &["plan", "repository"]);
    house.commit("more", &[("pool.yaml", &text.replace("size: 2", "size: 3"))]);
    house.says(0, &["apply", "repository"]);
    assert!(alive(&house).len() == 3 && first.iter().all(|id| alive(&house).contains(id)));
    house.says(0, &["plan", "repository"]);
    house.git(&["rm", "--quiet", "pool.yaml"]);
    let said = house.says(0, &["apply", "repository"]);
    assert!(said.contains("pool my-prod/workers: removed"), "{said}");
    assert!(alive(&house).is_empty());
}
