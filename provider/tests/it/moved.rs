//! Objects of another provider: a `moved` block takes them into a stack, with the real `terraform`.

use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::{Value as Json, json};

use crate::core::BINARY;
use crate::stand::Stand;
use crate::terraform::text;

const MOVED: &str = r#"
moved {
  from = FROM.web
  to   = myelin_stack.shop
}
resource "myelin_stack" "shop" {
  name      = "shop"
  namespace = "shop"
  timeout   = "40s"
  source    = "${path.module}/k8s"
  adopt     = "ifUnowned"
}
"#;

const MANIFESTS: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {greeting: new}\n---\n\
                         apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\ndata: {a: b}\n";

/// A state as that provider leaves it behind.
fn state(provider: &str, type_name: &str, version: u64, attributes: &Json) -> String {
    json!({"version": 4, "terraform_version": "1.11.0", "serial": 7, "lineage": "6a7e1b52-0000-4000-8000-000000000000",
        "outputs": {}, "check_results": null,
        "resources": [{"mode": "managed", "type": type_name, "name": "web",
            "provider": format!("provider[\"registry.terraform.io/{provider}\"]"),
            "instances": [{"schema_version": version, "attributes": attributes, "sensitive_attributes": [], "private": "bnVsbA=="}]}]})
    .to_string()
}

fn kubectl(stand: &Stand, arguments: &[&str]) {
    let output = Command::new("kubectl")
        .args(arguments)
        .env("KUBECONFIG", stand.cluster.kubeconfig())
        .current_dir(stand.path(""))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_moved_object_is_taken_over_as_it_is_and_no_other_provider_is_asked() {
    let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "namespace": "shop"},
        "data": {"greeting": "old", "dropped": "x"}});
    let shape = json!(["object", {"apiVersion": "string", "kind": "string", "metadata": ["object", {"name": "string",
        "namespace": "string"}], "data": ["object", {"greeting": "string", "dropped": "string"}]}]);
    let typed = json!({"value": manifest, "type": shape});
    let hashicorp = json!({"manifest": typed, "object": typed, "computed_fields": null, "field_manager": [],
        "timeouts": [], "wait": [], "wait_for": null});
    let by_kubectl = json!({"api_version": "v1", "kind": "ConfigMap", "name": "web", "namespace": "shop",
        "uid": "u", "live_uid": "u", "id": "/api/v1/namespaces/shop/configmaps/web", "yaml_body": manifest.to_string()});
    for (provider, type_name, version, manager, attributes) in [
        (
            "hashicorp/kubernetes",
            "kubernetes_manifest",
            1,
            "Terraform",
            &hashicorp,
        ),
        ("gavinbunney/kubectl", "kubectl_manifest", 1, "kubectl", &by_kubectl),
        ("alekc/kubectl", "kubectl_manifest", 1, "kubectl", &by_kubectl),
    ] {
        let stand = Stand::new(&MOVED.replace("FROM", type_name));
        stand.file("k8s/all.yaml", MANIFESTS);
        stand.file("terraform.tfstate", &state(provider, type_name, version, attributes));
        // Terraform wants every provider of the state to be installed. This one would fail at any call about that type.
        let local = provider.rsplit('/').next().unwrap();
        std::fs::create_dir_all(stand.path("old")).unwrap();
        symlink(BINARY, stand.path(&format!("old/terraform-provider-{local}"))).unwrap();
        stand.workspace.override_also(provider, &stand.path("old"));
        stand.file("manifest.json", &manifest.to_string());
        kubectl(&stand, &["create", "namespace", "shop"]);
        let field_manager = format!("--field-manager={manager}");
        kubectl(
            &stand,
            &["apply", "--server-side", &field_manager, "-f", "manifest.json"],
        );
        let uid = || stand.cluster.object("configmaps", "shop", "web").unwrap()["metadata"]["uid"].clone();
        let before = uid();

        let (code, shown) = stand.plan();
        assert_eq!(code, Some(2), "{provider}: {shown}");
        assert!(shown.contains(&format!("moved from {type_name}.web")), "{shown}");
        assert!(shown.contains("0 to add, 1 to change, 0 to destroy"), "{shown}");
        stand.apply();
        assert_eq!(uid(), before, "{provider}");
        let web = stand.cluster.object("configmaps", "shop", "web").unwrap();
        assert_eq!(
            web["data"],
            json!({"greeting": "new"}),
            "what only the old manifest said goes"
        );
        assert!(stand.cluster.object("configmaps", "shop", "other").is_some());
        assert_eq!(stand.state()["attributes"]["id"], "shop/shop");
        stand.destroy();
        assert!(stand.cluster.object("configmaps", "shop", "web").is_none());
    }
}

#[test]
fn what_cannot_be_moved_is_refused_with_the_way_that_is_left() {
    let stand = Stand::new(&MOVED.replace("FROM", "helm_release"));
    stand.file("k8s/all.yaml", MANIFESTS);
    stand.file(
        "terraform.tfstate",
        &state("hashicorp/helm", "helm_release", 1, &json!({"id": "web"})),
    );
    std::fs::create_dir_all(stand.path("old")).unwrap();
    symlink(BINARY, stand.path("old/terraform-provider-helm")).unwrap();
    stand.workspace.override_also("hashicorp/helm", &stand.path("old"));
    let output = stand.run(&["plan", "-input=false", "-no-color"]);
    let told = text(&output);
    assert!(!output.status.success());
    assert!(told.contains("helm_release") && told.contains("removed"), "{told}");
}
