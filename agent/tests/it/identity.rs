//! The agent's identity, and how it obtains it.

use crate::harness::{World, until};
use myelin_agent::config;
use myelin_agent::drain::notices::{Notices, look};
use myelin_agent::identity::{self, IdentityError};
use myelin_agent::metadata::{Metadata, MetadataError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[tokio::test]
async fn a_session_that_is_refused_is_renewed_once() {
    let world = World::new().await;
    let node = world.launch("prod").await;
    let metadata = Metadata::new(Some(&world.endpoint.metadata_url(&node.id))).expect("an address");
    assert_eq!(metadata.get("meta-data/instance-id").await, Ok(Some(node.id.clone())));
    node.metadata("expire").await;
    assert_eq!(metadata.get("meta-data/instance-id").await, Ok(Some(node.id.clone())));
    assert_eq!(
        metadata.get("meta-data/spot/instance-action").await,
        Ok(None),
        "404 is no error"
    );
}

/// A service with these answers to the request for a session and to all others; records the requests.
async fn service(session: (u16, &'static str), other: (u16, &'static str)) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let line = format!("{} {}", request.method(), request.uri().path());
                seen.lock().expect("not poisoned").push(line);
                let is_session = request.method() == http::Method::PUT;
                let (status, body) = if is_session { session } else { other };
                let mut response = http::Response::new(http_body_util::Full::new(bytes::Bytes::from(body)));
                *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
                async move { Ok::<_, std::convert::Infallible>(response) }
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(io, service)
                .await;
        }
    });
    (format!("http://{address}"), asked)
}

#[tokio::test]
async fn without_a_session_nothing_is_asked_by_version_1() {
    // It would answer any question of version 1.
    let (address, asked) = service((403, ""), (200, "i-forged")).await;
    let metadata = Metadata::new(Some(&address)).expect("an address");
    assert_eq!(
        metadata.get("meta-data/instance-id").await,
        Err(MetadataError::NoSession(403))
    );
    assert_eq!(*asked.lock().expect("not poisoned"), ["PUT /latest/api/token"]);
}

#[tokio::test]
async fn what_is_no_metadata_service_changes_nothing_and_makes_nobody_somebody() {
    for (status, body, why) in [
        (200, "<html>please log in</html>", "something that EC2 never says"),
        (200, "", "something that EC2 never says"),
        (401, "", "status 401"),
        (403, "", "status 403"),
        (500, "", "status 500"),
        (302, "", "status 302"),
    ] {
        let (address, _) = service((200, "a-session"), (status, body)).await;
        let metadata = Metadata::new(Some(&address)).expect("an address");
        for known in [
            Notices::default(),
            Notices {
                spot: Some(Duration::from_secs(100)),
                rebalance: true,
                drain_tag: true,
                ..Notices::default()
            },
        ] {
            let seen = look(&metadata, &known, Duration::from_secs(1)).await;
            let trouble = seen.trouble.clone().unwrap_or_default();
            assert!(trouble.contains(why), "{status} {body}: {trouble}");
            let same = Notices {
                trouble: known.trouble.clone(),
                ..seen
            };
            assert_eq!(same, known, "{status} {body}");
        }
        let read = identity::read(&metadata, &config::Identity::default()).await;
        assert!(read.is_err(), "{status} {body}: {read:?}");
    }
}

#[tokio::test]
async fn an_instance_without_its_identity_tags_is_told_which_is_absent() {
    let world = World::new().await;
    let node = world.launch("prod").await;
    let metadata = Metadata::new(Some(&world.endpoint.metadata_url(&node.id))).expect("an address");
    let read = identity::read(&metadata, &config::Identity::default())
        .await
        .expect("it has them");
    assert_eq!(
        (read.cluster.as_str(), read.role.as_str(), read.address.to_string()),
        ("prod", "worker", node.address.clone())
    );
    node.set_tag("myelin.dev:pool", None);
    let read = identity::read(&metadata, &config::Identity::default()).await;
    assert_eq!(read, Err(IdentityError::NoTag("myelin.dev:pool".into())));
}

#[tokio::test]
async fn an_agent_waits_for_a_metadata_service_that_is_down_and_for_tags_that_lag() {
    let world = World::new().await;
    let node = world.launch("prod").await;
    node.metadata("down").await;
    node.set_tag("myelin.dev:cluster", None);
    let agent = node.agent(&node.configuration(""));
    until("it says that it does not know", &agent, async || {
        agent.log().contains("gave no session (status 503)")
    })
    .await;
    node.metadata("up").await;
    until("it names the tag", &agent, async || {
        agent.log().contains("has no tag myelin.dev:cluster")
    })
    .await;
    assert_eq!(node.state(), None);
    node.set_tag("myelin.dev:cluster", Some("prod"));
    until("the tag says ready", &agent, async || {
        node.state().as_deref() == Some("ready")
    })
    .await;
}
