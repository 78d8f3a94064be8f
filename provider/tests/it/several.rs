//! Several stacks in one configuration, and one that replaces another.

use serde_json::json;

use crate::stand::Stand;

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {greeting: hello}\n";

fn stack(label: &str, name: &str) -> String {
    format!(
        "resource \"myelin_stack\" \"{label}\" {{\n  name = \"{name}\"\n  namespace = \"shop\"\n  source = \"${{path.module}}/k8s\"\n  \
         timeout = \"40s\"\n}}\n"
    )
}

#[test]
fn an_object_that_two_stacks_want_is_an_error_at_plan_and_nothing_is_made() {
    let both = format!("{}{}", stack("one", "one"), stack("two", "two"));
    let stand = Stand::new(&both);
    stand.file("k8s/web.yaml", MAP);
    // Without a look at the plan as well: they would be made at the same time.
    let output = stand.run(&["apply", "-input=false", "-no-color", "-auto-approve"]);
    let said = crate::terraform::text(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("ConfigMap shop/web is in two stacks"), "{said}");
    assert!(said.contains("shop/one") && said.contains("shop/two"), "{said}");
    assert!(stand.cluster.object("configmaps", "shop", "web").is_none());
    assert!(stand.cluster.object("namespaces", "", "shop").is_none());

    // One after the other is no conflict: what one stack gave up another may have.
    stand.module(&stack("one", "one"));
    stand.apply();
    stand.destroy();
    stand.module(&stack("two", "two"));
    stand.apply();
}

#[test]
fn a_stack_of_another_name_takes_the_place_of_the_old_one() {
    let stand = Stand::new(&stack("one", "one"));
    stand.file("k8s/web.yaml", MAP);
    stand.apply();
    let set = || {
        let web = stand
            .cluster
            .object("configmaps", "shop", "web")
            .expect("the ConfigMap");
        web["metadata"]["labels"]["applyset.kubernetes.io/part-of"].clone()
    };
    let before = set();

    // Another name of the resource alone changes nothing.
    let moved = "moved {\n  from = myelin_stack.one\n  to = myelin_stack.two\n}\n";
    stand.module(&format!("{}{moved}", stack("two", "one")));
    stand.apply();
    assert_eq!(set(), before);

    // Another name of the stack makes another stack. Its objects are the old one's at plan, and gone when it is made.
    stand.module(&format!("{}{moved}", stack("two", "two")));
    let (code, shown) = stand.plan();
    assert_eq!(code, Some(2), "{shown}");
    assert!(shown.contains("1 to add, 0 to change, 1 to destroy"), "{shown}");
    assert!(
        shown.contains("shop/one is destroyed before this one is made"),
        "{shown}"
    );
    stand.apply();
    assert_ne!(set(), before);
    assert_eq!(stand.state()["attributes"]["id"], json!("shop/two"));
    assert!(stand.cluster.object("secrets", "shop", "myelin-stack-one").is_none());
    // And a plan after it looks at the cluster again.
    stand
        .cluster
        .edit("configmaps", "shop", "web", |web| web["data"]["greeting"] = json!("hi"));
    let (code, shown) = stand.plan();
    assert!(code == Some(2) && shown.contains("\"hi\" -> \"hello\""), "{shown}");
    stand.destroy();
}
