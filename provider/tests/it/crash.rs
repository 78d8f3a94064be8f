//! An apply that is stopped (by Ctrl-C, a kill, a failed request) at any request: what was created stays, the true
//! state is in the state file or the record, and the next apply finishes the work. Nothing is created twice, and
//! nothing is forgotten.

use std::time::Duration;

use myelin_sandbox::faults::{Effect, Rule};

use crate::stack::{LIMIT, RESOURCES};
use crate::stand::Stand;
use crate::terraform::text;

/// Two steps, so that there is something before and something after.
const MODULE: &str = r#"
variable "greeting" { default = "hello" }
resource "myelin_stack" "shop" {
  name       = "shop"
  namespace  = "shop"
  timeout    = "40s"
  source     = "${path.module}/k8s"
  substitute = { GREETING = var.greeting }
  components = {
    base = { path = "base" }
    web  = { path = "web", after = ["base"] }
  }
}
"#;

const APPLY: [&str; 4] = ["apply", "-input=false", "-no-color", "-auto-approve"];

fn config(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{greeting: '${{GREETING}}'}}\n")
}

fn stand() -> Stand {
    let stand = Stand::new(MODULE);
    stand.file("k8s/base/base.yaml", &config("base"));
    stand.file("k8s/web/web.yaml", &config("web"));
    stand
}

/// Names of the stack's own objects, without what Kubernetes and the record put into the namespace.
fn names(stand: &Stand) -> Vec<String> {
    let uids = stand.cluster.uids(&["configmaps"], "shop");
    uids.into_iter()
        .map(|(name, _)| name)
        .filter(|name| !name.contains("kube-root-ca"))
        .collect()
}

/// What changes something.
pub(crate) const WRITES: [&str; 4] = ["create", "update", "patch", "delete"];

/// What changes nothing.
const READS: [&str; 3] = ["get", "list", "watch"];

/// Applies, and is held at the request of these verbs after that many others. False if there is no such request any more.
fn held_at(
    stand: &Stand,
    verbs: &[&str],
    request: u64,
    effect: &Effect,
    arguments: &[&str],
    strike: impl FnOnce(&crate::stand::Running),
) -> bool {
    let fault = stand.cluster.hold(verbs, request, effect.clone());
    let running = stand.start(arguments);
    let held = stand.cluster.wait_for_or(&fault, LIMIT, || running.has_ended());
    if held {
        strike(&running);
    }
    let ended = running.end(LIMIT);
    stand.cluster.without_faults();
    if !held {
        assert!(ended.status.success(), "{}", text(&ended));
    }
    held
}

fn power_off(running: &crate::stand::Running) {
    running.kill_all();
}

#[test]
fn a_create_that_is_killed_at_any_write_is_finished_by_the_next_apply() {
    for effect in [Effect::HangBefore, Effect::HangAfter] {
        let mut write = 0;
        loop {
            let stand = stand();
            if !held_at(&stand, &WRITES, write, &effect, &APPLY, power_off) {
                break;
            }
            let before = stand.cluster.uids(&RESOURCES, "shop");
            stand.apply_at_once();
            assert_eq!(
                names(&stand),
                ["configmaps/base", "configmaps/web"],
                "killed at write {write}, {effect:?}"
            );
            let after = stand.cluster.uids(&RESOURCES, "shop");
            assert!(
                before.iter().all(|object| after.contains(object)),
                "made again: {before:?} {after:?}"
            );
            write += 1;
        }
        assert!(
            write >= 4,
            "record, namespace and two objects are at least four writes, not {write}"
        );
    }
}

#[test]
fn an_update_that_is_killed_at_any_write_is_finished_by_the_next_apply() {
    let mut write = 0;
    let stand = stand();
    stand.apply_at_once();
    loop {
        // Each round is another update of the same stack: one field of both objects, and one object that goes or comes.
        stand.variable("greeting", &format!("greeting {write}"));
        let extra = stand.path("k8s/web/extra.yaml");
        let goes = extra.exists();
        if goes {
            std::fs::remove_file(extra).unwrap();
        } else {
            stand.file("k8s/web/extra.yaml", &config("extra"));
        }
        if !held_at(&stand, &WRITES, write, &Effect::HangAfter, &APPLY, power_off) {
            break;
        }
        stand.apply_at_once();
        let mut expected = vec!["configmaps/base", "configmaps/web"];
        if !goes {
            expected.insert(1, "configmaps/extra");
        }
        assert_eq!(names(&stand), expected, "killed at write {write}");
        let web = stand.cluster.object("configmaps", "shop", "web").unwrap();
        assert_eq!(web["data"]["greeting"], format!("greeting {write}"));
        write += 1;
    }
    assert!(write >= 3, "{write}");
}

#[test]
fn a_destroy_that_is_killed_at_any_write_is_finished_by_the_next_one() {
    let mut write = 0;
    loop {
        let stand = stand();
        stand.apply_at_once();
        let destroy = ["destroy", "-input=false", "-no-color", "-auto-approve"];
        if !held_at(&stand, &WRITES, write, &Effect::HangAfter, &destroy, power_off) {
            break;
        }
        stand.destroy();
        assert_eq!(names(&stand), [""; 0], "killed at write {write}");
        assert!(stand.state().is_null());
        write += 1;
    }
    assert!(write >= 3, "{write}");
}

#[test]
fn a_kill_at_any_read_of_a_create_an_update_or_a_destroy_loses_nothing() {
    let destroy = ["destroy", "-input=false", "-no-color", "-auto-approve"];
    // A create and the destroy of what it made, killed at the read after that many others.
    let mut read = 0;
    loop {
        let stand = stand();
        let created = !held_at(&stand, &READS, read, &Effect::HangBefore, &APPLY, power_off);
        stand.apply_at_once();
        assert_eq!(names(&stand), ["configmaps/base", "configmaps/web"], "at read {read}");
        let uids = stand.cluster.uids(&RESOURCES, "shop");
        let greeting = format!("greeting {read}");
        stand.variable("greeting", &greeting);
        let updated = !held_at(&stand, &READS, read, &Effect::HangBefore, &APPLY, power_off);
        stand.apply_at_once();
        assert_eq!(
            stand.cluster.uids(&RESOURCES, "shop"),
            uids,
            "made again at read {read}"
        );
        let web = stand.cluster.object("configmaps", "shop", "web").unwrap();
        assert_eq!(web["data"]["greeting"], greeting);
        let destroyed = !held_at(&stand, &READS, read, &Effect::HangBefore, &destroy, power_off);
        stand.destroy();
        assert_eq!(names(&stand), [""; 0], "at read {read}");
        assert!(stand.state().is_null());
        if created && updated && destroyed {
            break;
        }
        read += 1;
    }
    assert!(read >= 4, "{read}");
}

#[test]
fn an_interrupt_at_any_write_ends_soon_with_a_true_state_and_the_next_apply_finishes() {
    let mut write = 0;
    loop {
        let stand = stand();
        // A saved plan: while `terraform apply` is still planning, it does not listen, and tells no provider to stop.
        assert!(
            stand
                .run(&["plan", "-input=false", "-no-color", "-out=plan.bin"])
                .status
                .success()
        );
        let apply = ["apply", "-input=false", "-no-color", "plan.bin"];
        let interrupt = |running: &crate::stand::Running| {
            running.interrupt();
            let struck = std::time::Instant::now();
            while !running.has_ended() {
                assert!(
                    struck.elapsed() < Duration::from_secs(20),
                    "still running at write {write}"
                );
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        if !held_at(&stand, &WRITES, write, &Effect::HangBefore, &apply, interrupt) {
            break;
        }
        let before = stand.cluster.uids(&RESOURCES, "shop");
        stand.apply_at_once();
        let after = stand.cluster.uids(&RESOURCES, "shop");
        assert!(
            before.iter().all(|object| after.contains(object)),
            "interrupted at write {write}"
        );
        write += 1;
    }
    assert!(write >= 4, "{write}");
}

#[test]
fn a_first_apply_that_fails_is_taken_over_by_the_next_one_and_not_destroyed() {
    let stand = stand();
    let refused = Effect::Status {
        code: 403,
        retry_after: None,
        message: "not today".to_owned(),
    };
    stand.cluster.fault(Rule {
        name: "web".to_owned(),
        effect: refused,
        ..Rule::default()
    });
    let failed = stand.run(&APPLY);
    assert!(!failed.status.success());
    assert!(text(&failed).contains("ConfigMap shop/web"), "{}", text(&failed));
    let state = stand.state();
    assert_eq!(
        state["status"], "tainted",
        "Terraform taints what failed while it was created"
    );
    assert_eq!(state["attributes"]["ready"], false);
    assert!(state["attributes"]["objects"]["core/ConfigMap/shop/base"].is_string());
    assert!(
        state["attributes"]["objects"]["core/ConfigMap/shop/web"].is_null(),
        "what was not applied is not claimed"
    );
    let before = stand.cluster.uids(&RESOURCES, "shop");

    stand.cluster.without_faults();
    let (code, shown) = stand.plan();
    assert!(code == Some(2) && shown.contains("is tainted"), "{shown}");
    stand.apply_at_once();
    let after = stand.cluster.uids(&RESOURCES, "shop");
    assert!(
        before.iter().all(|object| after.contains(object)),
        "healthy objects were made again"
    );
    assert_eq!(names(&stand), ["configmaps/base", "configmaps/web"]);

    // But a user who asks for a replacement gets one.
    let replaced = stand.run(&[
        "apply",
        "-input=false",
        "-no-color",
        "-auto-approve",
        "-replace=myelin_stack.shop",
    ]);
    assert!(replaced.status.success(), "{}", text(&replaced));
    let anew = stand.cluster.uids(&["configmaps"], "shop");
    assert!(
        after
            .iter()
            .all(|object| !object.0.ends_with("/web") || !anew.contains(object)),
        "{anew:?}"
    );
}

#[test]
fn a_failed_update_is_never_recorded_as_applied() {
    let stand = stand();
    stand.apply_at_once();
    stand.variable("greeting", "good evening");
    // A plan tries the change on the server, and an apply plans twice; only the write itself is to be refused.
    let before = stand.cluster.sequence();
    assert_eq!(stand.plan().0, Some(2));
    let of_web = |request: &&String| request.starts_with("patch ") && request.ends_with("/web");
    let tried = stand.cluster.requests(before).iter().filter(of_web).count() as u64;
    stand.cluster.fault(Rule {
        name: "web".to_owned(),
        verbs: vec!["patch".to_owned()],
        skip: 2 * tried,
        effect: Effect::Status {
            code: 403,
            retry_after: None,
            message: "not today".to_owned(),
        },
        ..Rule::default()
    });
    let failed = stand.run(&APPLY);
    assert!(!failed.status.success());
    let attributes = stand.state()["attributes"].clone();
    let objects = &attributes["objects"];
    assert!(
        objects["core/ConfigMap/shop/base"]
            .as_str()
            .unwrap()
            .contains("good evening")
    );
    assert!(objects["core/ConfigMap/shop/web"].as_str().unwrap().contains("hello"));
    assert_eq!(attributes["ready"], false);
    stand.cluster.without_faults();
    let (code, shown) = stand.plan();
    assert_eq!(code, Some(2), "{shown}");
    assert!(shown.contains("\"hello\" -> \"good evening\""), "{shown}");
    stand.apply_at_once();
}

#[test]
fn a_stop_in_a_plan_or_refresh_ends_it_soon() {
    let stand = stand();
    stand.apply_at_once();
    let verbs = vec!["list".to_owned(), "get".to_owned()];
    let fault = stand.cluster.fault(Rule {
        verbs,
        times: 1,
        effect: Effect::HangBefore,
        ..Rule::default()
    });
    let running = stand.start(&["plan", "-input=false", "-no-color"]);
    assert!(stand.cluster.wait_for(&fault, LIMIT));
    running.interrupt();
    let ended = running.end(Duration::from_secs(15));
    assert!(!ended.status.success(), "{}", text(&ended));
    stand.cluster.without_faults();
    stand.assert_settled();
}
