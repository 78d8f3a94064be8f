//! Node pools through the real `terraform`, on the sandbox's EC2. Nodes are healthy when a model of their agent says so
//! in their state tag.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use myelin_sandbox::ec2;

use crate::examples::{a_user_tests, example, folder};
use crate::stand::Stand;
use crate::terraform::{Workspace, text};

const SUBNETS: &str = r#"["subnet-0aaaaaaaaaaaaaaa1", "subnet-0bbbbbbbbbbbbbbb2", "subnet-0ccccccccccccccc3"]"#;
const PARAMETER: &str = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";

/// A pool with these attributes beside those that all have.
pub(crate) fn module(own: &str) -> String {
    format!(
        r#"
resource "myelin_node_pool" "workers" {{
  name            = "workers"
  cluster         = "prod"
  instance_types  = ["m5.large", "c6i.large"]
  subnets         = {SUBNETS}
  security_groups = ["sg-0a1b2c3d4e5f60718"]
  discovery_tags  = {{ SynktiCluster = "prod", SynktiRole = "worker" }}
  rollout         = {{ health = "tag", health_timeout = "2m" }}
{own}
}}
"#
    )
}

/// With a fixed image.
pub(crate) fn fixed(own: &str) -> String {
    module(&format!("  image = {{ id = \"ami-08600000000000001\" }}\n{own}"))
}

/// A model of the agents of all nodes: ready once they run, drained once they are told to drain.
pub(crate) struct Agents {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Agents {
    pub(crate) fn start(cloud: &ec2::Cloud) -> Agents {
        let stop = Arc::new(AtomicBool::new(false));
        let (cloud, stopped) = (cloud.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                speak(&cloud);
                std::thread::park_timeout(Duration::from_millis(50));
            }
        });
        Agents {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn speak(cloud: &ec2::Cloud) {
    let now = cloud.clock.now();
    for instance in cloud.world().instances.values_mut() {
        if instance.state(now, &cloud.times) == Some(ec2::State::Running) {
            let draining = instance.tags.contains_key("myelin.dev:drain");
            let word = if draining { "drained" } else { "ready" };
            instance.tags.insert("myelin.dev:state".to_owned(), word.to_owned());
        }
    }
}

/// Ids of what runs or is about to.
pub(crate) fn alive(stand: &Stand) -> Vec<String> {
    stand.cluster.cloud().alive().into_iter().map(|i| i.id).collect()
}

/// Instances that were ever launched.
pub(crate) fn launched(stand: &Stand) -> u64 {
    stand.cluster.cloud().world().launched
}

/// Ids that the state knows.
pub(crate) fn known(stand: &Stand) -> Vec<String> {
    let nodes = stand.state()["attributes"]["nodes"].clone();
    let nodes = nodes.as_object().map(|nodes| nodes.keys().cloned().collect());
    nodes.unwrap_or_default()
}

/// Another instance of the pool that is in no state, as an autoscaler would launch it.
fn one_more(stand: &Stand, id: &str) {
    let cloud = stand.cluster.cloud();
    let mut world = cloud.world();
    let mut more = world.instances.values().next().unwrap().clone();
    more.id = id.to_owned();
    world.instances.insert(id.to_owned(), more);
}

#[test]
fn a_pool_is_made_scaled_rolled_and_destroyed_and_every_second_plan_is_empty() {
    let mut stand = Stand::new("");
    stand.secret("correct-horse-battery");
    stand.variable("data", "#!/bin/sh\necho correct-horse-battery\n");
    let pool = |size: u32| {
        format!(
            "variable \"data\" {{ ephemeral = true }}\n{}",
            fixed(&format!("  size = {size}\n  user_data = var.data"))
        )
    };
    stand.module(&pool(2));
    let _agents = Agents::start(stand.cluster.cloud());
    let (code, shown) = stand.plan();
    assert_eq!(code, Some(2), "{shown}");
    assert!(
        shown.contains("Pool prod/workers: 0 kept, 2 launched") && shown.contains("1. + launch new-1"),
        "{shown}"
    );
    stand.apply();
    assert_eq!(alive(&stand).len(), 2);
    assert_eq!(known(&stand), alive(&stand));
    let requests = stand.state()["attributes"]["requests"].clone();
    assert_eq!(requests["CreateFleet"], 1, "{requests}");
    assert!(requests["DescribeInstances"].as_u64() >= Some(1), "{requests}");
    let tags = stand.cluster.cloud().alive()[0].tags.clone();
    assert_eq!(tags["SynktiCluster"], "prod");

    let first = alive(&stand);
    stand.module(&pool(3));
    let shown = stand.apply();
    assert!(
        shown.contains("0 to destroy") || shown.contains("0 destroyed"),
        "{shown}"
    );
    assert_eq!(alive(&stand).len(), 3);
    assert!(
        first.iter().all(|id| alive(&stand).contains(id)),
        "scaling replaced a node"
    );

    stand.variable("data", "#!/bin/sh\necho correct-horse-battery 2\n");
    let (code, shown) = stand.plan();
    assert_eq!(code, Some(2), "{shown}");
    assert!(
        shown.contains("3 replaced") && shown.contains("user_data_hash"),
        "{shown}"
    );
    let before = alive(&stand);
    stand.apply();
    assert!(
        before.iter().all(|id| !alive(&stand).contains(id)),
        "an old node stayed"
    );
    assert_eq!((alive(&stand).len(), launched(&stand)), (3, 6));

    // Of this one only the tags tell.
    one_more(&stand, "i-0stranger00000000");
    let shown = stand.destroy();
    assert!(alive(&stand).is_empty(), "{shown}");
    assert!(shown.contains("i-0stranger00000000"), "{shown}");
}

#[test]
fn a_lost_state_loses_no_node_and_an_import_adopts() {
    let stand = Stand::new(&fixed("  size = 2\n  user_data = \"x\""));
    let _agents = Agents::start(stand.cluster.cloud());
    stand.apply();
    std::fs::remove_file(stand.path("terraform.tfstate")).unwrap();
    let (_, shown) = stand.plan();
    assert!(shown.contains("exists and is taken over"), "{shown}");
    stand.apply();
    assert_eq!((known(&stand), launched(&stand)), (alive(&stand), 2));

    std::fs::remove_file(stand.path("terraform.tfstate")).unwrap();
    let imported = stand.run(&["import", "-no-color", "myelin_node_pool.workers", "prod/workers"]);
    assert!(imported.status.success(), "{}", text(&imported));
    assert_eq!(known(&stand), alive(&stand));
    stand.apply();
    assert_eq!(launched(&stand), 2);
    let absent = stand.run(&["import", "-no-color", "myelin_node_pool.other", "prod/others"]);
    assert!(!absent.status.success());
}

#[test]
fn inside_its_range_an_autoscaler_is_no_drift_and_outside_it_is() {
    let stand = Stand::new(&fixed("  min = 1\n  max = 2"));
    let _agents = Agents::start(stand.cluster.cloud());
    stand.apply();
    assert_eq!(alive(&stand).len(), 1);
    one_more(&stand, "i-0autoscaled000000");
    let (code, shown) = stand.plan();
    assert_eq!(code, Some(0), "{shown}");
    one_more(&stand, "i-0autoscaled000001");
    let (code, shown) = stand.plan();
    assert_eq!(code, Some(2), "{shown}");
    assert!(shown.contains("2 kept, 0 launched, 0 replaced, 1 removed"), "{shown}");
    stand.apply();
    assert_eq!(alive(&stand).len(), 2);
}

#[test]
fn a_newer_image_is_reported_and_taken_only_when_asked() {
    let image = |own: &str| {
        module(&format!(
            "  size = 1\n  image = {{ parameter = \"{PARAMETER}\" {own} }}"
        ))
    };
    let stand = Stand::new(&image(""));
    let _agents = Agents::start(stand.cluster.cloud());
    stand.apply();
    assert_eq!(stand.state()["attributes"]["image_id"], "ami-08600000000000001");
    stand
        .cluster
        .cloud()
        .world()
        .parameters
        .insert(PARAMETER.to_owned(), "ami-08600000000000002".to_owned());
    let (code, shown) = stand.plan();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("A newer image is available"), "{shown}");
    let drift = stand.run(&[
        "plan",
        "-refresh-only",
        "-no-color",
        "-input=false",
        "-detailed-exitcode",
    ]);
    assert_eq!(drift.status.code(), Some(2), "{}", text(&drift));
    assert!(text(&drift).contains("newer_image_id"), "{}", text(&drift));
    let before = alive(&stand);
    stand.module(&image(", follow = true"));
    stand.apply();
    assert_eq!(stand.state()["attributes"]["image_id"], "ami-08600000000000002");
    assert!(alive(&stand).len() == 1 && alive(&stand) != before);
}

#[test]
fn what_is_unknown_or_cannot_be_asked_plans_all_the_same() {
    let unknown = module("  size = 2\n  image = { id = \"ami-08600000000000001\" }")
        .replace(SUBNETS, "terraform_data.net.output");
    let stand = Stand::new(&format!(
        "resource \"terraform_data\" \"net\" {{ input = {SUBNETS} }}\n{unknown}"
    ));
    let _agents = Agents::start(stand.cluster.cloud());
    let (code, shown) = stand.plan();
    assert_eq!(code, Some(2), "{shown}");
    stand.apply_at_once();
    assert_eq!(alive(&stand).len(), 2);

    let nowhere = Workspace::new(&fixed("  size = 2"));
    let shown = text(&nowhere.terraform(&["plan", "-no-color", "-input=false"]));
    assert!(
        shown.contains("Planned without EC2") && shown.contains("Plan: 1 to add"),
        "{shown}"
    );
}

#[test]
fn every_limit_is_told_at_plan_and_at_its_attribute() {
    let large = format!("  user_data = \"{}\"", "x".repeat(17_000));
    for (own, expected) in [
        (format!("  size = 1\n{large}"), "EC2 takes 16384"),
        ("  size = 1001".to_owned(), "size"),
        ("  min = 3\n  max = 1".to_owned(), "min is larger than max"),
        ("  size = 1\n  tags = { \"aws:x\" = \"y\" }".to_owned(), "reserved"),
        ("  size = 1\n  tags = { \"a/b\" = \"y\" }".to_owned(), "a/b"),
        ("  size = 1\n  launch_timeout = \"soon\"".to_owned(), "time span"),
    ] {
        let shown = text(&Workspace::new(&fixed(&own)).terraform(&["plan", "-no-color", "-input=false"]));
        assert!(
            shown.contains("Error:") && shown.contains(expected),
            "{expected}: {shown}"
        );
        assert!(shown.contains("on main.tf line"), "{shown}");
    }
    // Known only to EC2: a type of another architecture than the image.
    let mixed = fixed("  size = 1").replace("c6i.large", "m7g.large");
    let stand = Stand::new(&mixed);
    let (code, shown) = stand.plan();
    assert_eq!(code, Some(1), "{shown}");
    assert!(
        shown.contains("m7g.large") && shown.contains("instance_types"),
        "{shown}"
    );
}

#[test]
fn a_data_source_gives_the_nodes_of_a_pool_to_others() {
    let stand = Stand::new(&format!(
        r#"{}
data "myelin_nodes" "peers" {{
  tags       = {{ SynktiCluster = "prod", SynktiRole = "worker" }}
  depends_on = [myelin_node_pool.workers]
}}
output "ids" {{ value = data.myelin_nodes.peers.ids }}
output "first" {{ value = data.myelin_nodes.peers.nodes[0] }}
"#,
        fixed("  size = 2")
    ));
    let _agents = Agents::start(stand.cluster.cloud());
    stand.apply_at_once();
    let shown = stand.run(&["output", "-json"]);
    let outputs: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(outputs["ids"]["value"], serde_json::json!(alive(&stand)));
    let first = &outputs["first"]["value"];
    let real = stand.cluster.cloud().alive()[0].clone();
    assert_eq!(first["private_ip"], real.address.as_str());
    assert_eq!(first["zone"], real.zone.as_str());
    assert_eq!(
        (&first["lifecycle"], &first["state"]),
        (&"spot".into(), &"running".into())
    );
    assert_eq!(first["reported"], "ready");

    let all = Workspace::new("data \"myelin_nodes\" \"all\" {}\n");
    let shown = text(&all.terraform(&["plan", "-no-color", "-input=false"]));
    assert!(shown.contains("Which nodes?"), "{shown}");
}

#[test]
fn synkti_comes_up_is_the_pool_of_its_git_layout_grows_and_goes() {
    let stand = example("synkti");
    let _agents = Agents::start(stand.cluster.cloud());
    let lists = |ids: &[&str]| serde_json::to_string(ids).unwrap();
    stand.variable("project", "my-prod");
    stand.variable("instance_profile", "my-prod-worker");
    let sums = |synkti: &str| {
        let all = serde_json::json!({"agent": "ab".repeat(32), "unit": "cd".repeat(32), "synkti": synkti.repeat(32)});
        stand.variable("checksums", &all.to_string());
    };
    sums("ef");
    stand.variable("security_groups", &lists(&["sg-0a1b2c3d4e5f60718"]));
    stand.variable(
        "subnets",
        &lists(&["subnet-0aaaaaaaaaaaaaaa1", "subnet-0bbbbbbbbbbbbbbb2"]),
    );
    stand.apply_at_once();
    let first = alive(&stand);
    assert_eq!(first.len(), 2);
    let instance = stand.cluster.cloud().alive()[0].clone();
    let boot = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD,
        instance.user_data.unwrap_or_default(),
    );
    let boot = String::from_utf8(boot.unwrap()).unwrap();
    assert!(
        boot.contains("\nproject=my-prod\n") && boot.contains("systemctl enable --now myelin-agent.service"),
        "{boot}"
    );

    // What git would launch is the same to the last byte: no node is replaced when the pool changes sides.
    let text = std::fs::read_to_string(folder("synkti").join("git/pool.yaml")).unwrap();
    let document = document_of(&text);
    let hash = myelin_engine::fleet::spec_hash(&document, &instance.image);
    assert_eq!(instance.tags["myelin.dev:spec-hash"], hash);

    stand.variable("worker_count", "3");
    stand.apply_at_once();
    assert!(alive(&stand).len() == 3 && first.iter().all(|id| alive(&stand).contains(id)));
    // Another program is another checksum, and rolls all of them.
    sums("01");
    let (code, shown) = stand.plan();
    assert!(code == Some(2) && shown.contains("3 replaced"), "{shown}");
    sums("ef");
    stand.destroy();
    assert!(alive(&stand).is_empty());
}

#[test]
fn the_terraform_test_of_synkti_passes() {
    let stand = example("synkti");
    let _agents = Agents::start(stand.cluster.cloud());
    a_user_tests(&stand, 3);
    assert!(alive(&stand).is_empty());
}

#[test]
fn a_drain_hook_is_sent_before_a_node_ends_and_its_limits_are_told_at_plan() {
    let too_long = fixed(&format!("  size = 1\n  drain_hook = \"{}\"", "x".repeat(257)));
    let shown = text(&Workspace::new(&too_long).terraform(&["plan", "-no-color", "-input=false"]));
    assert!(
        shown.contains("Error:") && shown.contains("drain_hook") && shown.contains("on main.tf line"),
        "{shown}"
    );
    let stand = Stand::new(&fixed(
        "  size = 1\n  drain_hook = \"systemctl stop worker\"\n  undrain_hook = \"systemctl start worker\"",
    ));
    let agents = Agents::start(stand.cluster.cloud());
    stand.apply_at_once();
    let node = alive(&stand);
    // It has no agent any more that would answer for it.
    drop(agents);
    let tag = "myelin.dev:state";
    stand
        .cluster
        .cloud()
        .world()
        .instances
        .values_mut()
        .for_each(|i| drop(i.tags.remove(tag)));
    stand.destroy();
    let world = stand.cluster.cloud().world();
    let sent: Vec<_> = world
        .commands
        .iter()
        .map(|c| (c.script.join("\n"), c.instances.clone()))
        .collect();
    assert_eq!(sent, [("systemctl stop worker".to_owned(), node)]);
}

/// The pool of a git layout.
fn document_of(text: &str) -> myelin_engine::document::NodePool {
    use myelin_engine::yaml::{FileId, Limits, Profile, parse, to_json};
    let nodes = parse(text, FileId::default(), Profile::Manifest, Limits::default()).unwrap();
    myelin_engine::document::node_pool_from_value(to_json(&nodes[0]).unwrap(), &|_| None).unwrap()
}
