//! A repository behind https and a password, on loopback: the real `git http-backend` behind rustls.

use crate::house::{House, map, stack};
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsAcceptor;

const PASSWORD: &str = "x-access-token:s3cr3t-t0k3n";

/// Serves everything under a folder with a password; returns the port and the PEM of the authority.
async fn serve(root: PathBuf) -> (u16, String) {
    over_tls(
        axum::Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let root = root.clone();
            async move {
                use base64::Engine as _;
                let expected = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(PASSWORD));
                if headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()) != Some(&expected) {
                    return StatusCode::UNAUTHORIZED.into_response();
                }
                backend(root, method, uri, headers, body).await
            }
        }),
    )
    .await
}

/// Serves everything under a folder to everybody; answers also the credentials that it was shown all the same.
async fn serve_openly(root: PathBuf) -> (u16, String, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let (port, authority) = over_tls(axum::Router::new().fallback(
        move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let root = root.clone();
            if let Some(shown) = headers.get(header::AUTHORIZATION) {
                told.lock()
                    .unwrap()
                    .push(format!("{method} {uri} {}", shown.to_str().unwrap()));
            }
            async move { backend(root, method, uri, headers, body).await }
        },
    ))
    .await;
    (port, authority, seen)
}

/// Serves over TLS on loopback, as `localhost` and as 127.0.0.1; answers the port and the PEM of the authority.
async fn over_tls(router: axum::Router) -> (u16, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])
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

/// What a server does with a request for a path.
type Redirect = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A server that sends everybody elsewhere; answers its port, its authority and the credentials that it was shown.
async fn sends_elsewhere(to: Redirect) -> (u16, String, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let (port, authority) = over_tls(axum::Router::new().fallback(move |uri: Uri, headers: HeaderMap| {
        let (to, told) = (Arc::clone(&to), Arc::clone(&told));
        async move {
            if let Some(shown) = headers.get(header::AUTHORIZATION) {
                told.lock().unwrap().push(format!("{uri} {}", shown.to_str().unwrap()));
            }
            match to(&uri.to_string()) {
                Some(location) => (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, location)]).into_response(),
                None => StatusCode::UNAUTHORIZED.into_response(),
            }
        }
    }))
    .await;
    (port, authority, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_followed_over_https_and_takes_no_credentials_to_a_stranger() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let (home, home_authority) = serve(house.repository()).await;
    let (thief, thief_authority, stolen) = sends_elsewhere(Arc::new(|_| None)).await;
    // Also not to a stranger that accepts what it gets and asks for more in a second request.
    let (open, open_authority, shown) = serve_openly(house.repository()).await;
    let to = move |uri: &str| {
        let (way, rest) = uri.trim_start_matches('/').split_once("/.git").unwrap();
        let rest = format!("/.git{rest}");
        Some(match way {
            "moved" => format!("https://localhost:{home}{rest}"),
            "thief" => format!("https://127.0.0.1:{thief}{rest}"),
            "open" => format!("https://127.0.0.1:{open}{rest}"),
            "plain" => format!("http://localhost:{home}{rest}"),
            "file" => format!("file:///etc{rest}"),
            "metadata" => format!("https://169.254.169.254{rest}"),
            "mapped" => format!("https://[::ffff:169.254.169.254]{rest}"),
            "login" => format!("https://localhost:{home}/login"),
            "loop" => uri.to_owned(),
            _ => unreachable!("{uri}"),
        })
    };
    let (door, door_authority, _) = sends_elsewhere(Arc::new(to)).await;
    let all = [home_authority, thief_authority, open_authority, door_authority].concat();
    let (authorities, credentials) = (house.file("ca.pem", &all), house.file("password", PASSWORD));
    let run = |url: &str| {
        house.reconciler_of(&[
            "--url",
            url,
            "--authorities",
            &authorities,
            "--credentials",
            &credentials,
        ])
    };
    let refused = async |url: &str, why: &str| {
        let reconciler = run(url);
        house
            .eventually(&format!("{url}: {why}"), async || {
                let status = house.status().await;
                (status["state"] == "unreachable" && status["message"].as_str()?.contains(why)).then_some(())
            })
            .await;
        reconciler.kill();
        assert!(house.status().await["commit"].is_null(), "{url}");
    };
    for (way, why) in [
        ("plain", "not https"),
        ("file", "not https"),
        ("login", "no repository"),
        ("loop", "more than 3 times"),
        ("metadata", "169.254.169.254, an address that is never fetched from"),
        ("mapped", "an address that is never fetched from"),
        ("thief", "127.0.0.1"),
        // Another port is another server and may belong to anybody.
        ("moved", "401"),
    ] {
        refused(&format!("https://localhost:{door}/{way}/.git"), why).await;
    }
    assert_eq!(*stolen.lock().unwrap(), Vec::<String>::new());
    // A public repository that has moved is read, over all requests that this takes.
    let reconciler = run(&format!("https://localhost:{door}/open/.git"));
    house.reaches("ready", &first).await;
    reconciler.kill();
    assert_eq!(*shown.lock().unwrap(), Vec::<String>::new());
    let log = house.log();
    assert!(!log.contains("s3cr3t"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_at_an_address_of_a_link_or_of_metadata_is_never_asked_however_it_is_written() {
    let house = House::new().await;
    for url in [
        "https://169.254.169.254/latest/x.git",
        "https://2852039166/x.git",
        "https://0xa9fea9fe/x.git",
        "https://[::ffff:169.254.169.254]/x.git",
        "https://[64:ff9b::a9fe:a9fe]/x.git",
        "https://[fd00:ec2::254]/x.git",
        "https://[fe80::1]/x.git",
        "https://0.0.0.0/x.git",
    ] {
        let reconciler = house.reconciler_of(&["--url", url]);
        house
            .eventually(&format!("{url} is refused"), async || {
                let status = house.status().await;
                let message = status["message"].as_str()?.to_owned();
                let of_this = message.contains("never fetched from") && message.contains(url);
                (status["state"] == "unreachable" && of_this).then_some(())
            })
            .await;
        reconciler.kill();
        let maps: kube::Api<k8s_openapi::api::core::v1::ConfigMap> =
            kube::Api::namespaced(house.client.clone(), "myelin-system");
        maps.delete("myelin-source-git", &kube::api::DeleteParams::default())
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_that_says_nothing_delays_no_revert_and_no_word_of_a_person() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let root = house.repository();
    let (silent, silence) = tokio::sync::watch::channel(false);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let (port, authority) = over_tls(axum::Router::new().fallback(
        move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let (root, mut silence, count) = (root.clone(), silence.clone(), Arc::clone(&count));
            async move {
                if *silence.borrow() {
                    count.fetch_add(1, Ordering::SeqCst);
                    silence.wait_for(|silent| !silent).await.unwrap();
                }
                backend(root, method, uri, headers, body).await
            }
        },
    ))
    .await;
    let authorities = house.file("ca.pem", &authority);
    let url = format!("https://localhost:{port}/.git");
    let _reconciler = house.reconciler_of(&["--url", &url, "--authorities", &authorities]);
    house.reaches("ready", &first).await;

    silent.send_replace(true);
    house
        .eventually("the remote hangs", async || {
            (asked.load(Ordering::SeqCst) > 0).then_some(())
        })
        .await;
    for _ in 0..2 {
        house.meddle("paint", json!({"color": "green"})).await;
        let is_red = async || (house.value("paint", "color").await.as_deref() == Some("red")).then_some(());
        house.eventually("put back", is_red).await;
    }
    house.says(0, &["suspend", "--wait"]);
    let log = house.log();
    assert!(
        !log.contains("could not be asked"),
        "all this while one and the same request hung:\n{log}"
    );
    // What hung is forgotten: it is no reason to call the remote unreachable.
    silent.send_replace(false);
    house.says(0, &["resume", "--wait"]);
    let second = house.commit("blue", &[("one/map.yaml", &map("paint", "blue"))]);
    house.reaches("ready", &second).await;
    let log = house.log();
    assert!(!log.contains("could not be asked"), "{log}");
}
