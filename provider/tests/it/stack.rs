//! `myelin_stack` against the sandbox with the real `terraform`: the life of a stack, and manual changes to it.

use std::time::Duration;

use myelin_sandbox::faults::{Effect, Rule};
use serde_json::json;

use crate::stand::Stand;
use crate::terraform::text;

/// A stack of what needs no controllers.
pub(crate) const CONFIG: &str = r#"
variable "greeting" { default = "hello" }
variable "token" {
  type      = string
  ephemeral = true
  default   = null
}
resource "myelin_stack" "shop" {
  name          = "shop"
  namespace     = "shop"
  timeout       = "40s"
  source        = "${path.module}/k8s"
  substitute    = { GREETING = var.greeting }
  substitute_wo = { TOKEN = var.token }
  components = {
    base = { path = "base" }
    web  = { path = "web", after = ["base"] }
  }
}
"#;

const BASE: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: base}\ndata: {a: b}\n";

const WEB: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {greeting: '${GREETING}'}\n---\n\
                   apiVersion: v1\nkind: Secret\nmetadata: {name: web}\nstringData: {password: correct-horse-battery}\n";

const TOKEN: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: token}\nstringData: {token: '${TOKEN}'}\n";

pub(crate) fn stand() -> Stand {
    let mut stand = Stand::new(CONFIG);
    stand.file("k8s/base/base.yaml", BASE);
    stand.file("k8s/web/web.yaml", WEB);
    stand.file("k8s/web/token.yaml", TOKEN);
    stand.secret("correct-horse-battery");
    stand.secret("token-of-the-day");
    stand.variable("token", "token-of-the-day");
    stand
}

pub(crate) const RESOURCES: [&str; 2] = ["configmaps", "secrets"];

#[test]
fn a_plan_asks_a_busy_server_again() {
    let stand = stand();
    let fault = stand.cluster.fault(Rule {
        times: 3,
        effect: Effect::Status {
            code: 429,
            retry_after: Some(1),
            message: String::new(),
        },
        ..Rule::default()
    });
    let (code, shown) = stand.plan();
    assert_eq!(code, Some(2), "{shown}");
    assert!(!shown.contains("Planned without the cluster"), "{shown}");
    assert!(
        stand.cluster.wait_for(&fault, Duration::from_secs(60)),
        "nothing was refused"
    );
}

#[test]
fn a_stack_lives_from_create_to_destroy_and_every_plan_between_is_empty() {
    let stand = stand();
    let (code, shown) = stand.plan();
    assert_eq!(code, Some(2), "{shown}");
    stand.apply();
    let web = stand
        .cluster
        .object("configmaps", "shop", "web")
        .expect("the ConfigMap");
    assert_eq!(web["data"]["greeting"], "hello");
    let token = stand.cluster.object("secrets", "shop", "token").expect("the Secret");
    assert_eq!(
        token["data"]["token"],
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, "token-of-the-day")
    );
    let attributes = &stand.state()["attributes"];
    assert_eq!(
        (&attributes["id"], &attributes["ready"]),
        (&json!("shop/shop"), &json!(true))
    );
    let uids = stand.cluster.uids(&RESOURCES, "shop");

    // An update: the diff shows one field, and the write-only value is still there although its version did not change.
    stand.variable("greeting", "good morning");
    let (code, shown) = stand.plan();
    assert_eq!(code, Some(2), "{shown}");
    assert!(
        shown.contains("\"hello\" -> \"good morning\"") && !shown.contains("core/ConfigMap/shop/base"),
        "{shown}"
    );
    stand.apply();
    assert_eq!(
        stand.cluster.object("configmaps", "shop", "web").unwrap()["data"]["greeting"],
        "good morning"
    );
    assert_eq!(
        stand.cluster.object("secrets", "shop", "token").unwrap()["data"],
        token["data"]
    );
    assert_eq!(stand.cluster.uids(&RESOURCES, "shop"), uids, "nothing was made again");

    // A removed file: its object is pruned.
    std::fs::remove_file(stand.path("k8s/base/base.yaml")).unwrap();
    stand.file("k8s/base/other.yaml", &BASE.replace("base", "other"));
    stand.apply();
    assert!(stand.cluster.object("configmaps", "shop", "base").is_none());

    stand.destroy();
    assert_eq!(stand.cluster.uids(&RESOURCES, "shop"), []);
    assert!(stand.state().is_null());
}

#[test]
fn drift_in_a_field_of_ours_shows_as_one_change_and_is_put_back_and_other_fields_are_not_ours() {
    let stand = stand();
    stand.apply();
    stand.cluster.edit("configmaps", "shop", "web", |web| {
        web["metadata"]["labels"]["team"] = json!("blue");
        web["data"]["theirs"] = json!("x");
    });
    stand.assert_settled();

    stand
        .cluster
        .edit("configmaps", "shop", "web", |web| web["data"]["greeting"] = json!("hi"));
    let (code, shown) = stand.plan();
    assert_eq!(code, Some(2), "{shown}");
    assert!(
        shown.contains("\"hi\" -> \"hello\"") && !shown.contains("core/ConfigMap/shop/base"),
        "{shown}"
    );
    stand.apply();
    let web = stand.cluster.object("configmaps", "shop", "web").unwrap();
    assert_eq!(
        (&web["data"]["greeting"], &web["data"]["theirs"]),
        (&json!("hello"), &json!("x"))
    );

    stand
        .cluster
        .registry()
        .delete(
            &myelin_sandbox::kubernetes::registry::Actor::admin("kubectl"),
            "configmaps",
            "shop",
            "web",
            &myelin_sandbox::kubernetes::registry::DeleteOptions::default(),
        )
        .unwrap();
    assert_eq!(stand.plan().0, Some(2), "what is gone is made again");
    stand.apply();
    assert!(stand.cluster.object("configmaps", "shop", "web").is_some());
}

#[test]
fn a_second_plan_asks_once_per_kind() {
    let stand = stand();
    stand.apply();
    let before = stand.cluster.sequence();
    assert_eq!(stand.plan().0, Some(0));
    let requests = stand.cluster.requests(before);
    let lists = requests.iter().filter(|request| request.starts_with("list ")).count();
    assert!(
        requests
            .iter()
            .all(|request| request.starts_with("list ") || request.starts_with("get ")),
        "{requests:#?}"
    );
    // ConfigMaps, Secrets and the Namespace, and one read of the record.
    assert!(lists <= 3 && requests.len() <= 5, "{requests:#?}");
}

#[test]
fn a_lost_state_file_loses_nothing() {
    let stand = stand();
    stand.apply();
    let uids = stand.cluster.uids(&RESOURCES, "shop");
    std::fs::remove_file(stand.path("terraform.tfstate")).unwrap();
    let _ = std::fs::remove_file(stand.path("terraform.tfstate.backup"));
    stand.apply();
    assert_eq!(
        stand.cluster.uids(&RESOURCES, "shop"),
        uids,
        "the record says what is ours"
    );
    stand.destroy();
    assert_eq!(stand.cluster.uids(&RESOURCES, "shop"), []);
}

#[test]
fn an_import_by_id_takes_the_stack_as_it_is() {
    let stand = stand();
    stand.apply();
    let uids = stand.cluster.uids(&RESOURCES, "shop");
    std::fs::remove_file(stand.path("terraform.tfstate")).unwrap();
    let imported = stand.run(&["import", "-input=false", "-no-color", "myelin_stack.shop", "shop/shop"]);
    assert!(imported.status.success(), "{}", text(&imported));
    assert_eq!(stand.state()["attributes"]["id"], "shop/shop");
    stand.apply();
    assert_eq!(stand.cluster.uids(&RESOURCES, "shop"), uids);
    let missing = stand.run(&["import", "-input=false", "-no-color", "myelin_stack.shop", "shop/other"]);
    assert!(!missing.status.success());
}

#[test]
fn what_exists_and_is_nobodys_is_adopted_only_when_asked() {
    let stand = stand();
    let somebody = myelin_sandbox::kubernetes::registry::Actor::admin("kubectl");
    let registry = stand.cluster.registry();
    registry
        .create(&somebody, "namespaces", "", json!({"metadata": {"name": "shop"}}))
        .unwrap();
    let made = json!({"metadata": {"name": "web"}, "data": {"greeting": "hello"}});
    registry.create(&somebody, "configmaps", "shop", made).unwrap();
    let (code, shown) = stand.plan();
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("ConfigMap shop/web"), "{shown}");

    stand.module(&CONFIG.replace("components = {", "adopt = \"ifUnowned\"\n  components = {"));
    let uid = stand.cluster.object("configmaps", "shop", "web").unwrap()["metadata"]["uid"].clone();
    stand.apply();
    assert_eq!(
        stand.cluster.object("configmaps", "shop", "web").unwrap()["metadata"]["uid"],
        uid
    );
}

#[test]
fn a_field_of_another_manager_is_a_conflict_at_plan_with_manager_and_path() {
    let stand = stand();
    stand.apply();
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "namespace": "shop"},
                       "data": {"color": "theirs"}});
    let status = std::process::Command::new("kubectl")
        .args(["apply", "--server-side", "--field-manager=blue", "-f", "-"])
        .env("KUBECONFIG", stand.cluster.kubeconfig())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .and_then(|mut child| {
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), other.to_string().as_bytes())?;
            child.wait()
        })
        .unwrap();
    assert!(status.success());
    stand.assert_settled();
    stand.file("k8s/web/web.yaml", &WEB.replace("\ndata: {", "\ndata: {color: mine, "));
    let (code, shown) = stand.plan();
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("blue") && shown.contains("color"), "{shown}");

    stand.module(&CONFIG.replace("components = {", "conflicts = \"force\"\n  components = {"));
    stand.apply();
    assert_eq!(
        stand.cluster.object("configmaps", "shop", "web").unwrap()["data"]["color"],
        "mine"
    );
}

#[test]
fn a_kind_that_is_not_served_is_told_at_plan() {
    let stand = stand();
    stand.file(
        "k8s/web/widget.yaml",
        "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n",
    );
    let (code, shown) = stand.plan();
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("Widget") && shown.contains("example.com/v1"), "{shown}");
}

#[test]
fn a_write_only_value_that_is_missing_is_an_error_and_never_an_empty_secret() {
    let stand = stand();
    stand.apply();
    let before = stand.cluster.object("secrets", "shop", "token").unwrap();
    stand.variable("greeting", "another");
    stand.forget_variable("token");
    let output = stand.try_apply();
    assert!(!output.status.success());
    assert!(text(&output).contains("TOKEN"), "{}", text(&output));
    assert_eq!(stand.cluster.object("secrets", "shop", "token").unwrap(), before);
}

/// Prints a credential, and writes down which pipes it holds and which ones Terraform holds, its provider's parent.
const PROGRAM: &str = r#"#!/bin/sh
ls -l /proc/$$/fd > "$0.own"
ls -l /proc/$(cut -d' ' -f4 /proc/$PPID/stat)/fd > "$0.terraform"
echo "a program may say anything" >&2
echo '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "TOKEN"}}'
"#;

#[test]
fn a_credential_program_runs_where_the_kubeconfig_names_it_and_inherits_nothing_from_terraform() {
    use std::collections::BTreeSet;

    let pipes = |listing: &str| -> BTreeSet<String> {
        let places = listing.lines().filter_map(|line| line.rsplit(' ').next());
        places
            .filter(|place| place.starts_with("pipe:") || place.starts_with("socket:"))
            .map(str::to_owned)
            .collect()
    };
    // Descriptors that the test runner left open are inherited by all, and are not counted.
    let left_open = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
    let left_open: BTreeSet<String> = left_open.map(|place| place.display().to_string()).collect();
    let stand = stand();
    stand.cluster.kubeconfig_with_program(PROGRAM);
    stand.apply();
    let seen = |name: &str| {
        let path = stand.cluster.kubeconfig().with_file_name(format!("credentials.{name}"));
        pipes(&std::fs::read_to_string(path).expect("the program ran"))
    };
    let terraforms: BTreeSet<String> = seen("terraform").difference(&left_open).cloned().collect();
    assert!(
        terraforms.len() >= 2,
        "the provider's stdout and stderr at least: {terraforms:?}"
    );
    let shared: Vec<String> = seen("own").intersection(&terraforms).cloned().collect();
    assert_eq!(shared, [""; 0], "a program that outlives us would make Terraform hang");
}

pub(crate) const LIMIT: Duration = Duration::from_secs(60);
