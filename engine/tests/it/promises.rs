//! The promises of an apply about order, gates and pruning, against a sandbox over real HTTPS.

use crate::stage::{DEPLOYMENT, NAMESPACE, PROBED, Stage, deployment};
use myelin_engine::apply::{Fate, Outcome, Progress, apply};
use myelin_engine::object::ObjectKey;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

const IMAGE: &str = "busybox:1.36";

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("apps", "Deployment", NAMESPACE, name)
}

#[track_caller]
fn failed(outcome: &Outcome, name: &str) -> String {
    match outcome.objects.get(&key(name)) {
        Some(Fate::Failed(why)) => why.clone(),
        other => panic!("{name}: {other:?}\n{outcome:#?}"),
    }
}

#[track_caller]
fn ready(outcome: &Outcome, name: &str) {
    assert!(
        matches!(outcome.objects.get(&key(name)), Some(Fate::Ready | Fate::Unchanged)),
        "{name}: {outcome:#?}"
    );
}

fn one(name: &str) -> Value {
    json!({name: {"path": name}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_branch_stops_nobody_else_and_what_waits_for_it_says_so() {
    let stage = Stage::new().await;
    let components = json!({
        "bad": {"path": "bad"}, "good": {"path": "good"},
        "after-bad": {"path": "after-bad", "after": ["bad"]}, "after-good": {"path": "after-good", "after": ["good"]},
    });
    let files = [
        ("bad/d.yaml", deployment("bad", "busybox:missing", "", PROBED)),
        ("good/d.yaml", deployment("good", IMAGE, "", PROBED)),
        ("after-bad/d.yaml", deployment("after-bad", IMAGE, "", PROBED)),
        ("after-good/d.yaml", deployment("after-good", IMAGE, "", PROBED)),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(f, t)| (*f, t.as_str())).collect();
    let began = Instant::now();
    let outcome = stage.apply(&components, &files).await;
    assert!(began.elapsed() < Duration::from_secs(30), "not at the timeout");
    assert!(!outcome.ready);
    ready(&outcome, "good");
    ready(&outcome, "after-good");
    let why = failed(&outcome, "bad");
    assert!(
        why.contains("container c: ") && why.contains("busybox:missing"),
        "{why}"
    );
    assert!(
        matches!(outcome.objects.get(&key("after-bad")), Some(Fate::Skipped(why)) if why.contains("bad")),
        "{outcome:#?}"
    );
    assert_eq!(stage.get(DEPLOYMENT, "after-bad").await, None);
    // Each started when what it waits for was ready, and not before.
    let steps = stage.steps(|step| match step {
        Progress::Applied(k) => Some(format!("applied {}", k.name)),
        Progress::Ready(k) => Some(format!("ready {}", k.name)),
        _ => None,
    });
    let at = |step: &str| {
        steps
            .iter()
            .position(|s| s == step)
            .unwrap_or_else(|| panic!("{step}: {steps:?}"))
    };
    assert!(at("ready good") < at("applied after-good"), "{steps:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_secret_is_named_at_once_and_what_is_healthy_is_kept() {
    let stage = Stage::new().await;
    let components = json!({"api": {"path": "api"}, "web": {"path": "web"}});
    let secret = ", env: [{name: URL, valueFrom: {secretKeyRef: {name: creds, key: url}}}]";
    let files = [
        ("api/d.yaml", deployment("api", IMAGE, "", &format!("{PROBED}{secret}"))),
        ("web/d.yaml", deployment("web", IMAGE, "", PROBED)),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(f, t)| (*f, t.as_str())).collect();
    let outcome = stage.apply(&components, &files).await;
    let why = failed(&outcome, "api");
    assert!(
        why.starts_with("Deployment shop/api: pod api-")
            && why.contains("container c: CreateContainerConfigError: secret \"creds\" not found")
            && why.contains("(waits until somebody creates it; heals without another apply)"),
        "{why}"
    );
    ready(&outcome, "web");
    let before = (stage.uid(DEPLOYMENT, "api").await, stage.uid(DEPLOYMENT, "web").await);
    // Somebody creates the Secret while the next apply waits: it succeeds, on the same objects.
    let again = stage.apply(&components, &files);
    let create = async {
        let told =
            |s: &Progress| matches!(s, Progress::Waiting(k, why) if k.name == "api" && why.contains("not found"));
        let earlier = stage.progress.lock().unwrap().iter().filter(|s| told(s)).count();
        while stage.progress.lock().unwrap().iter().filter(|s| told(s)).count() == earlier {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stage
            .create(&json!({"apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": "creds", "namespace": NAMESPACE}, "stringData": {"url": "x"}}))
            .await;
    };
    let (outcome, ()) = tokio::join!(again, create);
    assert!(outcome.ready, "{outcome:#?}");
    let after = (stage.uid(DEPLOYMENT, "api").await, stage.uid(DEPLOYMENT, "web").await);
    assert_eq!(before, after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loop_never_opens_a_gate_and_its_last_words_are_told() {
    let stage = Stage::new().await;
    // No probe: each start counts as ready for a moment.
    let crash = "sandbox.myelin.dev/crash-after: 2s, sandbox.myelin.dev/exit-code: \"3\", sandbox.myelin.dev/log: \"fatal: no database\"";
    let web = deployment("web", IMAGE, crash, "");
    let later = deployment("later", IMAGE, "", PROBED);
    let components = json!({"web": {"path": "web"}, "later": {"path": "later", "after": ["web"]}});
    let outcome = stage
        .apply(&components, &[("web/d.yaml", &web), ("later/d.yaml", &later)])
        .await;
    let why = failed(&outcome, "web");
    assert!(
        why.contains("exit code 3") && why.contains("the last line of its log: fatal: no database"),
        "{why}"
    );
    assert_eq!(stage.get(DEPLOYMENT, "later").await, None);
    let opened = stage.steps(|s| matches!(s, Progress::Ready(k) if k.name == "web").then(|| "opened".to_owned()));
    assert!(opened.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_asks_nothing_it_is_told() {
    let stage = Stage::new().await;
    // Ready after two seconds of ours: any polling would show.
    let slow = deployment("web", IMAGE, "sandbox.myelin.dev/ready-after: 20s", PROBED);
    let outcome = stage.apply(&one("web"), &[("web/d.yaml", &slow)]).await;
    assert!(outcome.ready, "{outcome:#?}");
    let log = stage.sandbox.faults().log(0);
    let asked = |verb: &str, kind: &str| {
        let ours = log.iter().filter(|l| l.verb == verb && l.path.ends_with(kind));
        ours.filter(|l| l.user_agent.starts_with("myelin/")).count()
    };
    for kind in ["/pods", "/replicasets", "/events"] {
        assert_eq!((asked("list", kind), asked("watch", kind)), (1, 1), "{kind}: {log:#?}");
    }
    let polled = log
        .iter()
        .filter(|l| l.verb == "get" && l.path.contains("/deployments/"))
        .count();
    assert!(polled <= 1, "{log:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_goes_only_after_the_new_is_healthy() {
    let stage = Stage::new().await;
    let old = deployment("old", IMAGE, "", PROBED);
    assert!(stage.apply(&one("web"), &[("web/d.yaml", &old)]).await.ready);
    let uid = stage.uid(DEPLOYMENT, "old").await;
    // Renamed, and the new one is broken: the old one stays as it is.
    let broken = deployment("new", "busybox:missing", "", PROBED);
    let outcome = stage.apply(&one("web"), &[("web/d.yaml", &broken)]).await;
    failed(&outcome, "new");
    assert_eq!(stage.uid(DEPLOYMENT, "old").await, uid);
    // Mended: now it goes, after the new one is ready.
    stage.progress.lock().unwrap().clear();
    let new = deployment("new", IMAGE, "", PROBED);
    let outcome = stage.apply(&one("web"), &[("web/d.yaml", &new)]).await;
    assert!(outcome.ready, "{outcome:#?}");
    assert_eq!(stage.names(DEPLOYMENT).await, ["new"]);
    let steps = stage.steps(|s| match s {
        Progress::Ready(k) => Some(format!("ready {}", k.name)),
        Progress::Gone(k) => Some(format!("gone {}", k.name)),
        _ => None,
    });
    let at = |step: &str| {
        steps
            .iter()
            .position(|s| s == step)
            .unwrap_or_else(|| panic!("{step}: {steps:?}"))
    };
    assert!(at("ready new") < at("gone old"), "{steps:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_else_made_under_the_same_name_is_not_pruned() {
    let stage = Stage::new().await;
    let (web, extra) = (
        deployment("web", IMAGE, "", PROBED),
        deployment("extra", IMAGE, "", PROBED),
    );
    let both = [("web/d.yaml", web.as_str()), ("web/e.yaml", extra.as_str())];
    assert!(stage.apply(&one("web"), &both).await.ready);
    // Somebody deletes ours and creates another with the same name.
    let mut theirs = stage.get(DEPLOYMENT, "extra").await.unwrap();
    stage.delete(DEPLOYMENT, "extra").await;
    theirs["metadata"] = json!({"name": "extra", "namespace": NAMESPACE});
    theirs.as_object_mut().unwrap().remove("status");
    stage.create(&theirs).await;
    let uid = stage.uid(DEPLOYMENT, "extra").await;
    let outcome = stage.apply(&one("web"), &both[..1]).await;
    assert!(outcome.ready, "{outcome:#?}");
    assert_eq!(stage.uid(DEPLOYMENT, "extra").await, uid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_render_prunes_nothing_and_a_claim_is_kept() {
    let stage = Stage::new().await;
    let web = deployment("web", IMAGE, "", PROBED);
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec:\n  accessModes: [ReadWriteOnce]\n  \
                 resources: {requests: {storage: 1Gi}}\n";
    let outcome = stage
        .apply(&one("web"), &[("web/d.yaml", &web), ("web/c.yaml", claim)])
        .await;
    assert!(outcome.ready, "{outcome:#?}");
    let empty = stage.try_plan(&json!({}), &[("note.yaml", "# nothing\n")]).await;
    let refused = match &empty {
        Ok(plan) => plan.diagnostics.has_errors(),
        Err(problems) => problems.has_errors(),
    };
    assert!(refused, "{empty:?}");
    assert_eq!(stage.names(DEPLOYMENT).await, ["web"]);
    let outcome = stage.apply(&one("web"), &[("web/d.yaml", &web)]).await;
    assert!(outcome.ready, "{outcome:#?}");
    assert_eq!(stage.names(("v1", "PersistentVolumeClaim")).await, ["data"]);
    // Destroyed, the claim is still there, and the outcome says so.
    let outcome = stage.destroy().await;
    assert!(outcome.ready, "{outcome:#?}");
    assert!(stage.names(DEPLOYMENT).await.is_empty());
    assert_eq!(stage.names(("v1", "PersistentVolumeClaim")).await, ["data"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_another_makes_between_plan_and_apply_is_used_and_not_owned() {
    let stage = Stage::new().await;
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {a: b}\n";
    let plan = stage.plan(&one("web"), &[("web/m.yaml", map)]).await;
    let theirs = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": {"whose": "theirs"}}});
    stage.create(&theirs).await;
    let outcome = apply(Arc::clone(&stage.cluster), &plan, &stage.run).await;
    assert!(outcome.ready, "{outcome:#?}");
    let labels = stage.get(("v1", "Namespace"), NAMESPACE).await.unwrap()["metadata"]["labels"].clone();
    assert_eq!(labels["whose"], "theirs");
    assert!(labels.get("applyset.kubernetes.io/part-of").is_none(), "{labels}");
    let outcome = stage.destroy().await;
    assert!(outcome.ready, "{outcome:#?}");
    assert!(stage.get(("v1", "Namespace"), NAMESPACE).await.is_some());
}
