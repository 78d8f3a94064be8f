//! Calls that Terraform 1.11 does not make, or makes in one way only.

use std::collections::BTreeMap;

use myelin_proto::tfplugin6 as tf;
use rmpv::Value as Msgpack;

use crate::core::{Core, Identity, Plugin};

/// A provider, and a core connected to it.
pub(crate) struct Session {
    _plugin: Plugin,
    pub(crate) core: Core,
}

impl Session {
    pub(crate) async fn start() -> Session {
        let identity = Identity::new();
        let plugin = Plugin::start(Some(&identity), &[]);
        let core = plugin.connect(Some(&identity)).await.unwrap();
        Session { _plugin: plugin, core }
    }
}

/// Writes a value with a msgpack library that the provider does not use.
pub(crate) fn dynamic(value: &Msgpack) -> Option<tf::DynamicValue> {
    let mut msgpack = Vec::new();
    rmpv::encode::write_value(&mut msgpack, value).unwrap();
    Some(tf::DynamicValue {
        msgpack,
        json: Vec::new(),
    })
}

pub(crate) fn read(value: Option<tf::DynamicValue>) -> Msgpack {
    rmpv::decode::read_value(&mut value.unwrap().msgpack.as_slice()).unwrap()
}

pub(crate) fn unknown() -> Msgpack {
    Msgpack::Ext(0, vec![0])
}

pub(crate) fn get<'a>(value: &'a Msgpack, name: &str) -> &'a Msgpack {
    let entries = value.as_map().unwrap();
    &entries
        .iter()
        .find(|(key, _)| key.as_str() == Some(name))
        .unwrap_or_else(|| panic!("no {name}"))
        .1
}

/// A whole object of a schema: what is not set is null, as Terraform sends it.
pub(crate) async fn object(core: &mut Core, type_name: Option<&str>, set: &[(&str, Msgpack)]) -> Msgpack {
    let schema = core
        .provider
        .get_provider_schema(tf::get_provider_schema::Request {})
        .await
        .unwrap()
        .into_inner();
    let schema = match type_name {
        Some(name) => schema.resource_schemas[name].clone(),
        None => schema.provider.unwrap(),
    };
    let mut all: BTreeMap<String, Msgpack> = schema
        .block
        .unwrap()
        .attributes
        .into_iter()
        .map(|attribute| (attribute.name, Msgpack::Nil))
        .collect();
    all.extend(set.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    Msgpack::Map(
        all.into_iter()
            .map(|(name, value)| (Msgpack::from(name), value))
            .collect(),
    )
}

pub(crate) fn map(entries: &[(&str, Msgpack)]) -> Msgpack {
    Msgpack::Map(
        entries
            .iter()
            .map(|(name, value)| (Msgpack::from(*name), value.clone()))
            .collect(),
    )
}

pub(crate) fn named(name: &str) -> [(&str, Msgpack); 3] {
    [
        ("name", name.into()),
        ("namespace", "ns".into()),
        ("source", "./nowhere".into()),
    ]
}

const STACK: &str = "myelin_stack";

#[tokio::test]
async fn calls_of_newer_cores_are_answered_and_never_with_an_error() {
    let mut session = Session::start().await;
    let core = &mut session.core;
    let provider = &mut core.provider;
    let identities = provider
        .get_resource_identity_schemas(tf::get_resource_identity_schemas::Request {})
        .await;
    let identities = identities.unwrap().into_inner();
    assert!(identities.diagnostics.is_empty());
    let parts: Vec<String> = identities.identity_schemas[STACK]
        .identity_attributes
        .iter()
        .map(|part| part.name.clone())
        .collect();
    assert_eq!(parts, ["namespace", "name"]);
    assert!(
        provider
            .get_functions(tf::get_functions::Request {})
            .await
            .unwrap()
            .into_inner()
            .diagnostics
            .is_empty()
    );
    let metadata = provider
        .get_metadata(tf::get_metadata::Request {})
        .await
        .unwrap()
        .into_inner();
    assert!(metadata.diagnostics.is_empty() && metadata.resources.iter().any(|resource| resource.type_name == STACK));

    let ephemeral = provider
        .open_ephemeral_resource(tf::open_ephemeral_resource::Request::default())
        .await
        .unwrap()
        .into_inner();
    let told = &ephemeral.diagnostics[0];
    assert!(told.detail.contains("myelin_secret"), "{told:?}");
}

#[tokio::test]
async fn a_stack_has_its_identity_in_the_plan_as_soon_as_it_is_known() {
    let mut session = Session::start().await;
    let core = &mut session.core;
    for (name, known) in [(Msgpack::from("s"), true), (unknown(), false)] {
        let config = object(
            core,
            Some(STACK),
            &[("name", name), ("namespace", "ns".into()), ("source", unknown())],
        )
        .await;
        let request = tf::plan_resource_change::Request {
            type_name: STACK.to_owned(),
            prior_state: dynamic(&Msgpack::Nil),
            proposed_new_state: dynamic(&config),
            config: dynamic(&config),
            ..Default::default()
        };
        let planned = core.provider.plan_resource_change(request).await.unwrap().into_inner();
        assert!(planned.diagnostics.is_empty(), "{:?}", planned.diagnostics);
        let state = read(planned.planned_state);
        assert_eq!(get(&state, "objects"), &unknown());
        let identity = planned.planned_identity.map(|identity| read(identity.identity_data));
        let expected = known.then(|| map(&[("name", "s".into()), ("namespace", "ns".into())]));
        assert_eq!(identity, expected);
    }
}

#[tokio::test]
async fn a_failed_create_answers_with_its_identity_and_its_private_data() {
    let mut session = Session::start().await;
    let core = &mut session.core;
    let config = object(core, Some(STACK), &named("s")).await;
    let request = tf::apply_resource_change::Request {
        type_name: STACK.to_owned(),
        prior_state: dynamic(&Msgpack::Nil),
        planned_state: dynamic(&config),
        config: dynamic(&config),
        planned_private: b"{\"intent\":\"deploy\",\"stack\":\"ns/s\"}".to_vec(),
        ..Default::default()
    };
    let applied = core
        .provider
        .apply_resource_change(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(
        applied.diagnostics.iter().any(|problem| problem.severity == 1),
        "there is no such folder"
    );
    assert_eq!(applied.private, request.planned_private);
    let identity = read(applied.new_identity.expect("an identity").identity_data);
    assert_eq!(identity, map(&[("name", "s".into()), ("namespace", "ns".into())]));
}

#[tokio::test]
async fn the_destroy_half_of_replacing_a_failed_first_apply_deletes_nothing() {
    let mut session = Session::start().await;
    let core = &mut session.core;
    let mut failed = named("s").to_vec();
    failed.push(("ready", false.into()));
    let prior = object(core, Some(STACK), &failed).await;
    let mut request = tf::apply_resource_change::Request {
        type_name: STACK.to_owned(),
        prior_state: dynamic(&prior),
        planned_state: dynamic(&Msgpack::Nil),
        config: dynamic(&Msgpack::Nil),
        planned_private: b"{\"intent\":\"deploy\",\"stack\":\"ns/s\"}".to_vec(),
        ..Default::default()
    };
    // No cluster is named: had it tried to delete anything, it would have failed.
    let replaced = core
        .provider
        .apply_resource_change(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(replaced.diagnostics.is_empty(), "{:?}", replaced.diagnostics);
    assert_eq!(read(replaced.new_state), Msgpack::Nil);

    request.planned_private = b"{\"intent\":\"destroy\"}".to_vec();
    let destroyed = core.provider.apply_resource_change(request).await.unwrap().into_inner();
    assert!(
        destroyed
            .diagnostics
            .iter()
            .any(|problem| problem.summary == "No cluster is named")
    );
    assert_eq!(
        read(destroyed.new_state),
        prior,
        "what was not destroyed stays in the state"
    );
}

#[tokio::test]
async fn an_old_core_may_not_set_what_it_would_store() {
    let mut session = Session::start().await;
    let core = &mut session.core;
    let mut set = named("s").to_vec();
    set.push(("substitute_wo", map(&[("TOKEN", "hunter2".into())])));
    let config = object(core, Some(STACK), &set).await;
    for (allowed, problems) in [(true, 0), (false, 1)] {
        let request = tf::validate_resource_config::Request {
            type_name: STACK.to_owned(),
            config: dynamic(&config),
            client_capabilities: Some(tf::ClientCapabilities {
                write_only_attributes_allowed: allowed,
                ..Default::default()
            }),
        };
        let told = core
            .provider
            .validate_resource_config(request)
            .await
            .unwrap()
            .into_inner()
            .diagnostics;
        assert_eq!(told.len(), problems, "{told:?}");
        assert!(!format!("{told:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn stored_state_is_completed_and_state_of_a_newer_provider_refused() {
    let mut session = Session::start().await;
    let core = &mut session.core;
    let json = br#"{"name":"s","namespace":"ns","source":"./k8s","long_gone":true,"objects":{"a":"b"}}"#;
    let request = |version| tf::upgrade_resource_state::Request {
        type_name: STACK.to_owned(),
        version,
        raw_state: Some(tf::RawState {
            json: json.to_vec(),
            flatmap: [].into(),
        }),
    };
    let upgraded = core
        .provider
        .upgrade_resource_state(request(0))
        .await
        .unwrap()
        .into_inner();
    assert!(upgraded.diagnostics.is_empty());
    let mut set = named("s").to_vec();
    set[2].1 = "./k8s".into();
    set.push(("objects", map(&[("a", "b".into())])));
    assert_eq!(read(upgraded.upgraded_state), object(core, Some(STACK), &set).await);
    let newer = core
        .provider
        .upgrade_resource_state(request(1))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        newer.diagnostics[0].summary,
        "The state was written by a newer version of the provider"
    );
}

#[tokio::test]
async fn a_generated_configuration_holds_what_a_person_could_have_written() {
    let mut session = Session::start().await;
    let core = &mut session.core;
    let mut set = named("s").to_vec();
    let written = object(core, Some(STACK), &set).await;
    set.extend([
        ("id", "ns/s".into()),
        ("ready", true.into()),
        ("objects", map(&[("a", "b".into())])),
    ]);
    let state = object(core, Some(STACK), &set).await;
    let request = tf::generate_resource_config::Request {
        type_name: STACK.to_owned(),
        state: dynamic(&state),
    };
    let generated = core
        .provider
        .generate_resource_config(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(read(generated.config), written);
}

#[tokio::test]
async fn a_message_far_beyond_the_usual_limit_is_taken() {
    let mut session = Session::start().await;
    let core = &mut session.core;
    let large = "x".repeat(24 << 20);
    let mut set = named("s").to_vec();
    set.push(("images", map(&[("a", large.into())])));
    let config = object(core, Some(STACK), &set).await;
    let request = tf::validate_resource_config::Request {
        type_name: STACK.to_owned(),
        config: dynamic(&config),
        client_capabilities: None,
    };
    core.provider.validate_resource_config(request).await.expect("24 MiB");
}

#[tokio::test]
async fn an_unknown_provider_configuration_is_no_error_and_hostile_bytes_are_one() {
    let mut session = Session::start().await;
    let core = &mut session.core;
    let config = object(core, None, &[("host", unknown()), ("token", unknown())]).await;
    let request = tf::configure_provider::Request {
        config: dynamic(&config),
        ..Default::default()
    };
    assert!(
        core.provider
            .configure_provider(request)
            .await
            .unwrap()
            .into_inner()
            .diagnostics
            .is_empty()
    );

    let hostile = Some(tf::DynamicValue {
        msgpack: vec![0xdf, 0xff, 0xff, 0xff, 0xff],
        json: Vec::new(),
    });
    let request = tf::configure_provider::Request {
        config: hostile,
        ..Default::default()
    };
    let told = core
        .provider
        .configure_provider(request)
        .await
        .unwrap()
        .into_inner()
        .diagnostics;
    assert_eq!(
        told[0].summary,
        "The provider configuration that Terraform sent cannot be read"
    );
}

/// The life of a stack as cores from 1.12 on see it: an identity in every answer, and an import by it.
#[test]
fn a_newer_core_gets_the_identity_in_every_answer_and_imports_by_it() {
    let cluster = crate::cluster::Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {a: b}\n";
    std::fs::write(folder.path().join("web.yaml"), manifest).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut session = Session::start().await;
        let core = &mut session.core;
        let kubeconfig = cluster.kubeconfig().to_str().unwrap().into();
        let config = dynamic(&object(core, None, &[("kubeconfig", kubeconfig)]).await);
        let request = tf::configure_provider::Request {
            config,
            ..Default::default()
        };
        assert!(
            core.provider
                .configure_provider(request)
                .await
                .unwrap()
                .into_inner()
                .diagnostics
                .is_empty()
        );

        let mut set = named("s");
        set[2].1 = folder.path().to_str().unwrap().into();
        let config = dynamic(&object(core, Some(STACK), &set).await);
        let expected = map(&[("name", "s".into()), ("namespace", "ns".into())]);
        let request = tf::plan_resource_change::Request {
            type_name: STACK.to_owned(),
            prior_state: dynamic(&Msgpack::Nil),
            proposed_new_state: config.clone(),
            config: config.clone(),
            ..Default::default()
        };
        let planned = core.provider.plan_resource_change(request).await.unwrap().into_inner();
        assert!(planned.diagnostics.is_empty(), "{:?}", planned.diagnostics);
        assert_eq!(read(planned.planned_identity.clone().unwrap().identity_data), expected);

        let request = tf::apply_resource_change::Request {
            type_name: STACK.to_owned(),
            prior_state: dynamic(&Msgpack::Nil),
            planned_state: planned.planned_state,
            config,
            planned_private: planned.planned_private,
            planned_identity: planned.planned_identity,
            ..Default::default()
        };
        let applied = core.provider.apply_resource_change(request).await.unwrap().into_inner();
        assert!(applied.diagnostics.is_empty(), "{:?}", applied.diagnostics);
        assert_eq!(read(applied.new_identity.clone().unwrap().identity_data), expected);

        let request = tf::read_resource::Request {
            type_name: STACK.to_owned(),
            current_state: applied.new_state.clone(),
            private: applied.private.clone(),
            ..Default::default()
        };
        let refreshed = core.provider.read_resource(request).await.unwrap().into_inner();
        assert!(refreshed.diagnostics.is_empty(), "{:?}", refreshed.diagnostics);
        assert_eq!(read(refreshed.new_state), read(applied.new_state), "nothing drifted");
        assert_eq!(refreshed.private, applied.private);
        assert_eq!(
            read(refreshed.new_identity.unwrap().identity_data),
            expected,
            "also if none was stored"
        );

        let request = tf::import_resource_state::Request {
            type_name: STACK.to_owned(),
            identity: Some(tf::ResourceIdentityData {
                identity_data: dynamic(&expected),
            }),
            ..Default::default()
        };
        let imported = core.provider.import_resource_state(request).await.unwrap().into_inner();
        assert!(imported.diagnostics.is_empty(), "{:?}", imported.diagnostics);
        let imported = imported.imported_resources.into_iter().next().unwrap();
        assert_eq!(read(imported.identity.unwrap().identity_data), expected);
        assert_eq!(get(&read(imported.state), "id").as_str(), Some("ns/s"));
    });
}

#[tokio::test]
async fn import_tells_what_is_wrong_with_an_id() {
    let mut session = Session::start().await;
    let core = &mut session.core;
    let request = tf::import_resource_state::Request {
        type_name: STACK.to_owned(),
        id: "s".to_owned(),
        ..Default::default()
    };
    let told = core
        .provider
        .import_resource_state(request)
        .await
        .unwrap()
        .into_inner()
        .diagnostics;
    assert!(told[0].detail.contains("write namespace/name"), "{told:?}");
}
