//! Who the agent thinks it is, and how it asks.

use crate::harness::{World, until};
use myelin_agent::config;
use myelin_agent::identity::{self, IdentityError};
use myelin_agent::metadata::{Metadata, MetadataError};

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

#[tokio::test]
async fn without_a_session_nothing_is_asked_by_version_1() {
    // A service that gives no session, but would answer any question of version 1.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = std::sync::Arc::clone(&seen);
            let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let line = format!("{} {}", request.method(), request.uri().path());
                seen.lock().expect("not poisoned").push(line);
                let status = if request.method() == http::Method::PUT {
                    403
                } else {
                    200
                };
                let mut response = http::Response::new(http_body_util::Full::new(bytes::Bytes::from("i-forged")));
                *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
                async move { Ok::<_, std::convert::Infallible>(response) }
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(io, service)
                .await;
        }
    });
    let metadata = Metadata::new(Some(&format!("http://{address}"))).expect("an address");
    assert_eq!(
        metadata.get("meta-data/instance-id").await,
        Err(MetadataError::NoSession(403))
    );
    assert_eq!(*asked.lock().expect("not poisoned"), ["PUT /latest/api/token"]);
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
