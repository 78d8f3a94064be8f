//! Requests of cores newer than the installed one (1.12 to 1.16, OpenTofu 1.11 and 1.12), call by call.
//!
//! Every call of the service is made here: a call that we offer answers, and any other is `Unimplemented`, the only
//! refusal that a core tolerates.

use myelin_proto::tfplugin6 as tf;
use serde_json::{Value as Json, json};
use tonic::{Code, Status};

use crate::protocol::{Session, dynamic, get, map, named, object, read};

const STACK: &str = "myelin_stack";
const TOKEN: &str = "myelin_provisioning_token";

fn raw(json: &Json) -> Option<tf::RawState> {
    Some(tf::RawState {
        json: json.to_string().into_bytes(),
        flatmap: [].into(),
    })
}

fn unimplemented<T>(what: &str, answer: Result<T, Status>) {
    match answer {
        Ok(_) => panic!("{what} is answered"),
        Err(status) => assert_eq!(status.code(), Code::Unimplemented, "{what}: {status:?}"),
    }
}

#[tokio::test]
async fn lists_actions_state_stores_and_functions_are_not_offered_and_their_calls_are_unimplemented() {
    let mut session = Session::start().await;
    let provider = &mut session.core.provider;
    let schema = provider
        .get_provider_schema(tf::get_provider_schema::Request {})
        .await
        .unwrap()
        .into_inner();
    assert!(schema.diagnostics.is_empty());
    assert!(schema.functions.is_empty() && schema.list_resource_schemas.is_empty());
    assert!(schema.action_schemas.is_empty() && schema.state_store_schemas.is_empty());
    let capabilities = schema.server_capabilities.unwrap();
    assert!(capabilities.plan_destroy && capabilities.get_provider_schema_optional);
    assert!(capabilities.move_resource_state && capabilities.generate_resource_config);

    unimplemented(
        "CallFunction",
        provider.call_function(tf::call_function::Request::default()).await,
    );
    unimplemented(
        "ListResource",
        provider.list_resource(tf::list_resource::Request::default()).await,
    );
    let request = tf::validate_list_resource_config::Request::default();
    unimplemented(
        "ValidateListResourceConfig",
        provider.validate_list_resource_config(request).await,
    );
    unimplemented(
        "PlanAction",
        provider.plan_action(tf::plan_action::Request::default()).await,
    );
    unimplemented(
        "InvokeAction",
        provider.invoke_action(tf::invoke_action::Request::default()).await,
    );
    let request = tf::validate_action_config::Request::default();
    unimplemented("ValidateActionConfig", provider.validate_action_config(request).await);
    let request = tf::validate_state_store::Request::default();
    unimplemented(
        "ValidateStateStoreConfig",
        provider.validate_state_store_config(request).await,
    );
    let request = tf::configure_state_store::Request::default();
    unimplemented("ConfigureStateStore", provider.configure_state_store(request).await);
    unimplemented(
        "ReadStateBytes",
        provider
            .read_state_bytes(tf::read_state_bytes::Request::default())
            .await,
    );
    let chunks = tokio_stream::iter([tf::write_state_bytes::RequestChunk::default()]);
    unimplemented("WriteStateBytes", provider.write_state_bytes(chunks).await);
    unimplemented(
        "LockState",
        provider.lock_state(tf::lock_state::Request::default()).await,
    );
    unimplemented(
        "UnlockState",
        provider.unlock_state(tf::unlock_state::Request::default()).await,
    );
    unimplemented(
        "GetStates",
        provider.get_states(tf::get_states::Request::default()).await,
    );
    unimplemented(
        "DeleteState",
        provider.delete_state(tf::delete_state::Request::default()).await,
    );
}

#[tokio::test]
async fn every_resource_has_an_identity_and_a_stored_one_is_brought_up_to_date() {
    let mut session = Session::start().await;
    let provider = &mut session.core.provider;
    let schemas = provider
        .get_provider_schema(tf::get_provider_schema::Request {})
        .await
        .unwrap()
        .into_inner();
    let identities = provider
        .get_resource_identity_schemas(tf::get_resource_identity_schemas::Request {})
        .await
        .unwrap()
        .into_inner();
    for name in schemas.resource_schemas.keys() {
        let identity = &identities.identity_schemas[name];
        assert!(!identity.identity_attributes.is_empty(), "{name}");
        for part in &identity.identity_attributes {
            serde_json::from_slice::<Json>(&part.r#type).expect("a type");
            assert!(
                part.required_for_import != part.optional_for_import,
                "{name}.{}",
                part.name
            );
        }
    }
    let expected = map(&[("name", "s".into()), ("namespace", "ns".into())]);
    for (stored, upgraded) in [
        (raw(&json!({"name": "s", "namespace": "ns"})), Some(&expected)),
        (
            raw(&json!({"name": "s", "namespace": "ns", "long_gone": 1})),
            Some(&expected),
        ),
        // Of a state from before there were identities: the next read gives one.
        (raw(&Json::Null), None),
        (None, None),
    ] {
        let request = tf::upgrade_resource_identity::Request {
            type_name: STACK.to_owned(),
            version: 0,
            raw_identity: stored,
        };
        let answer = provider.upgrade_resource_identity(request).await.unwrap().into_inner();
        assert!(answer.diagnostics.is_empty(), "{:?}", answer.diagnostics);
        let identity = answer.upgraded_identity.map(|identity| read(identity.identity_data));
        assert_eq!(identity.as_ref(), upgraded);
    }
}

#[tokio::test]
async fn a_moved_resource_answers_with_its_state_and_the_identity_that_is_known() {
    let mut session = Session::start().await;
    let core = &mut session.core;
    let request = |provider: &str, from: &str, state: &Json, to: &str| tf::move_resource_state::Request {
        source_provider_address: provider.to_owned(),
        source_type_name: from.to_owned(),
        source_schema_version: 0,
        source_state: raw(state),
        target_type_name: to.to_owned(),
        source_private: b"{\"intent\":\"deploy\",\"stack\":\"ns/s\"}".to_vec(),
        // Newer cores send these too.
        source_identity: raw(&json!({"api_version": "v1", "kind": "ConfigMap", "name": "web", "namespace": "ns"})),
        source_identity_schema_version: 1,
    };

    // One object of another provider, whichever registry it came from.
    let manifest = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web", "namespace": "ns"},
        "data": {"password": "aHVudGVyMg=="}});
    let state = json!({"manifest": {"value": manifest, "type": ["object", {}]}, "object": null});
    for address in [
        "registry.terraform.io/hashicorp/kubernetes",
        "registry.opentofu.org/hashicorp/kubernetes",
    ] {
        let moved = core
            .provider
            .move_resource_state(request(address, "kubernetes_manifest", &state, STACK))
            .await
            .unwrap()
            .into_inner();
        assert!(moved.diagnostics.is_empty(), "{:?}", moved.diagnostics);
        let target = read(moved.target_state);
        assert_eq!(
            get(&target, "objects").as_map().unwrap()[0].0,
            "core/Secret/ns/web".into()
        );
        assert!(!target.to_string().contains("aHVudGVyMg"), "{target}");
        assert!(
            moved.target_private.is_empty(),
            "of another provider's private data nothing is kept"
        );
        assert!(
            moved.target_identity.is_none(),
            "which stack it goes to is not known yet"
        );
    }

    // Our own resource under another address of the provider.
    let state = json!({"id": "ns/s", "name": "s", "namespace": "ns", "source": "./nowhere", "ready": true});
    let request_own = request("example.com/myelin-dev/myelin", STACK, &state, STACK);
    let moved = core
        .provider
        .move_resource_state(request_own.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(moved.diagnostics.is_empty(), "{:?}", moved.diagnostics);
    assert_eq!(moved.target_private, request_own.source_private);
    assert_eq!(get(&read(moved.target_state), "id").as_str(), Some("ns/s"));
    let expected = map(&[("name", "s".into()), ("namespace", "ns".into())]);
    assert_eq!(read(moved.target_identity.unwrap().identity_data), expected);

    // Everything else is refused by a diagnostic, never by a status.
    for (address, from, state, to) in [
        (
            "registry.terraform.io/hashicorp/helm",
            "helm_release",
            json!({"id": "web"}),
            STACK,
        ),
        (
            "registry.terraform.io/hashicorp/kubernetes",
            "kubernetes_manifest",
            json!({}),
            STACK,
        ),
        (
            "registry.terraform.io/hashicorp/kubernetes",
            "kubernetes_manifest",
            json!("x"),
            STACK,
        ),
        (
            "registry.terraform.io/hashicorp/kubernetes",
            "kubernetes_secret",
            json!({}),
            TOKEN,
        ),
        (
            "registry.terraform.io/hashicorp/kubernetes",
            "kubernetes_manifest",
            json!({}),
            "myelin_nothing",
        ),
    ] {
        let moved = core
            .provider
            .move_resource_state(request(address, from, &state, to))
            .await
            .unwrap()
            .into_inner();
        assert!(
            moved.diagnostics.iter().any(|problem| problem.severity == 1),
            "{from} to {to}"
        );
        assert!(moved.target_state.is_none());
    }
}

#[tokio::test]
async fn what_a_newer_core_can_do_changes_no_answer() {
    let mut session = Session::start().await;
    let core = &mut session.core;
    let mut answers = Vec::new();
    for able in [false, true] {
        let capabilities = Some(tf::ClientCapabilities {
            deferral_allowed: able,
            write_only_attributes_allowed: true,
            store_planned_private: able,
            computed_blocks_allowed: able,
        });
        let config = object(core, None, &[("kubeconfig", crate::protocol::unknown())]).await;
        let request = tf::configure_provider::Request {
            terraform_version: if able { "1.16.0" } else { "1.11.4" }.to_owned(),
            config: dynamic(&config),
            client_capabilities: capabilities,
        };
        let configured = core.provider.configure_provider(request).await.unwrap().into_inner();
        assert!(configured.diagnostics.is_empty());
        let mut set = named("s").to_vec();
        set[2].1 = crate::protocol::unknown();
        let config = dynamic(&object(core, Some(STACK), &set).await);
        let mut request = tf::plan_resource_change::Request {
            type_name: STACK.to_owned(),
            prior_state: dynamic(&rmpv::Value::Nil),
            proposed_new_state: config.clone(),
            config,
            client_capabilities: capabilities,
            ..Default::default()
        };
        let first = core
            .provider
            .plan_resource_change(request.clone())
            .await
            .unwrap()
            .into_inner();
        assert!(first.diagnostics.is_empty(), "{:?}", first.diagnostics);
        assert!(
            first.deferred.is_none(),
            "an unknown provider configuration is no reason to wait"
        );
        // The plan before the apply: the newest cores hand back what the first one stored.
        if able {
            request.planned_private.clone_from(&first.planned_private);
        }
        let second = core.provider.plan_resource_change(request).await.unwrap().into_inner();
        assert_eq!(first, second, "the same plan twice");
        answers.push(first);
    }
    assert_eq!(answers[0], answers[1]);
}
