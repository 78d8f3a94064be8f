//! A repository behind https and a password, on loopback: the real `git http-backend` behind rustls.

use crate::house::{House, map, stack};
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use rustls::pki_types::PrivateKeyDer;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsAcceptor;

const PASSWORD: &str = "x-access-token:s3cr3t-t0k3n";

/// Serves everything under a folder; answers the port and the PEM of the authority.
async fn serve(root: PathBuf) -> (u16, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = axum::Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
        let root = root.clone();
        async move { backend(root, method, uri, headers, body).await }
    });
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, router) = (acceptor.clone(), router.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = hyper_util::service::TowerToHyperService::new(router);
                let _ = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new())
                    .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (port, certificate.pem())
}

/// One request through git's own CGI program.
async fn backend(root: PathBuf, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    use base64::Engine as _;
    let expected = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(PASSWORD));
    if headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()) != Some(&expected) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let mut child = tokio::process::Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", uri.path())
        .env("QUERY_STRING", uri.query().unwrap_or_default())
        .env("REQUEST_METHOD", method.as_str())
        .env("CONTENT_TYPE", text("content-type"))
        .env("HTTP_CONTENT_ENCODING", text("content-encoding"))
        .env("GIT_PROTOCOL", text("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feeding = tokio::spawn(async move {
        let _ = stdin.write_all(&body).await;
    });
    let output = child.wait_with_output().await.unwrap().stdout;
    feeding.await.unwrap();
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        response = if name == "Status" {
            response.status(value.split(' ').next().unwrap())
        } else {
            response.header(name, value)
        };
    }
    response.body(output[end + 4..].to_vec().into()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_https_repository_is_deployed_and_its_password_is_nowhere() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let (port, authority) = serve(house.repository()).await;
    let (authorities, credentials) = (house.file("ca.pem", &authority), house.file("password", PASSWORD));
    let url = format!("https://localhost:{port}/.git");

    let without = house.reconciler_of(&["--url", &url, "--authorities", &authorities]);
    house
        .eventually("told that credentials are missing", async || {
            let status = house.status().await;
            (status["state"] == "unreachable" && status["message"].as_str()?.contains("needs `credentials`"))
                .then_some(())
        })
        .await;
    without.kill();
    let stranger = house.reconciler_of(&["--url", &url, "--credentials", &credentials]);
    house
        .eventually("told that nobody vouches for the remote", async || {
            let status = house.status().await;
            status["message"]
                .as_str()?
                .contains("is not who it should be")
                .then_some(())
        })
        .await;
    stranger.kill();

    let _reconciler = house.reconciler_of(&[
        "--url",
        &url,
        "--authorities",
        &authorities,
        "--credentials",
        &credentials,
    ]);
    house.reaches("ready", &first).await;
    let second = house.commit("blue", &[("one/map.yaml", &map("paint", "blue"))]);
    let status = house.reaches("ready", &second).await;
    assert_eq!(house.value("paint", "color").await.as_deref(), Some("blue"));
    for place in [house.log(), status.to_string()] {
        assert!(!place.contains("s3cr3t"), "{place}");
    }
}
