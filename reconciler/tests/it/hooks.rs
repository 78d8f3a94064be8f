//! Webhooks from forges, and notifications to forges, over real HTTP on loopback.

use crate::house::{House, map, stack};
use aws_lc_rs::hmac;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SECRET: &str = "s3cret-of-the-hook";

/// Where the reconciler listens.
async fn address(house: &House) -> String {
    house
        .eventually("listens", async || {
            let log = house.log();
            let line: Value = serde_json::from_str(log.lines().rfind(|line| line.contains("\"listening\""))?).ok()?;
            line["fields"]["address"].as_str().map(str::to_owned)
        })
        .await
}

async fn post(address: &str, path: &str, headers: &str, body: &[u8]) -> u16 {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses a body may hang up before all of it is there.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

fn signature(body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    hmac::sign(&key, body)
        .as_ref()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_only_a_hint_and_only_from_who_knows_the_secret() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let secret = house.file("secret", &format!("{SECRET}\n"));
    let path = house.repository().display().to_string();
    let config = house.file(
        "myelin.yaml",
        &format!(
            "sources:\n- {{name: git, url: '{path}', interval: 1h, webhook: {{kind: github, secretFile: '{secret}'}}}}\n\
             - {{name: lab, url: '{path}', path: nothing, interval: 1h, webhook: {{kind: gitlab, secretFile: '{secret}'}}}}\n\
             - {{name: mute, url: '{path}', path: nothing, interval: 1h}}\n"
        ),
    );
    let reconciler = house.reconciler_of(&["--config", &config]);
    let address = address(&house).await;
    house.reaches("ready", &first).await;
    let second = house.commit("second", &[("one/map.yaml", &map("paint", "blue"))]);

    // All of these are refused and do no harm: the body of a stranger is never parsed.
    let nested = "[".repeat(100_000);
    let odd: [&[u8]; 4] = [b"", b"{}", nested.as_bytes(), b"\xff\xfe{\"ref\": null}"];
    for body in odd {
        for headers in [
            String::new(),
            "X-Hub-Signature-256: sha256=\r\n".to_owned(),
            format!("X-Hub-Signature-256: sha256={}\r\n", signature(b"another body")),
            format!("X-Gitlab-Token: {SECRET}\r\n"),
        ] {
            assert_eq!(post(&address, "/hook/git", &headers, body).await, 401);
        }
        // Room for the next ones: so many are heard in a second.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let signed = |body: &[u8]| format!("X-Hub-Signature-256: sha256={}\r\n", signature(body));
    assert_eq!(post(&address, "/hook/mute", &signed(b"{}"), b"{}").await, 401);
    assert_eq!(post(&address, "/hook/nobody", &signed(b"{}"), b"{}").await, 401);
    let long = vec![b' '; (1 << 20) + 1];
    assert!(matches!(
        post(&address, "/hook/git", &signed(&long), &long).await,
        413 | 0
    ));
    assert_eq!(house.status().await["commit"], first.as_str());

    // Garbage that is signed is a hint as good as any.
    let body = b"\xff not JSON";
    let began = Instant::now();
    assert_eq!(post(&address, "/hook/git", &signed(body), body).await, 202);
    house.reaches("ready", &second).await;
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(
        post(&address, "/hook/lab", &format!("X-Gitlab-Token: {SECRET}\r\n"), b"{}").await,
        202
    );

    // A hint does not change users' requests: a suspended source stays suspended.
    house.says(0, &["suspend", "git"]);
    house
        .eventually("suspended", async || {
            (house.status().await["state"] == "suspended").then_some(())
        })
        .await;
    house.commit("third", &[("one/map.yaml", &map("paint", "green"))]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(post(&address, "/hook/git", &signed(body), body).await, 202);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(house.value("paint", "color").await.as_deref(), Some("blue"));

    // A flood is answered and not passed on.
    let mut crowded = 0;
    for _ in 0..40 {
        crowded += usize::from(post(&address, "/hook/git", "", b"{}").await == 429);
    }
    assert!(crowded > 0);
    drop(reconciler);
    assert!(!house.log().contains(SECRET));
}

/// What a forge was told: path, headers, body.
type Told = Arc<Mutex<Vec<(String, HeaderMap, Value)>>>;

#[tokio::test(flavor = "multi_thread")]
async fn github_and_a_webhook_are_told_what_became_of_each_commit() {
    let told: Told = Arc::default();
    let heard = Arc::clone(&told);
    // The first request fails, as a forge does at times.
    let forge = axum::Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: Bytes| {
        let heard = Arc::clone(&heard);
        async move {
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let mut heard = heard.lock().unwrap();
            heard.push((uri.to_string(), headers, body));
            if heard.len() == 1 {
                StatusCode::BAD_GATEWAY
            } else {
                StatusCode::CREATED
            }
        }
    });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, forge).await });

    let house = House::new().await;
    let good = house.commit(
        "good",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let token = house.file("token", "t0ken-of-the-forge\n");
    let config = house.file(
        "myelin.yaml",
        &format!(
            "sources:\n- name: git\n  url: '{}'\n  interval: 1s\n  report:\n    github: {{repository: org/shop, tokenFile: '{token}', api: 'http://127.0.0.1:{port}'}}\n    \
             webhook: {{url: 'http://127.0.0.1:{port}/in/pa7h-secret?x=1'}}\n",
            house.repository().display()
        ),
    );
    let _reconciler = house.reconciler_of(&["--config", &config]);
    house.reaches("ready", &good).await;
    let bad = house.commit("bad", &[("one/map.yaml", "kind: [")]);
    for (commit, state, word) in [(&good, "ready", "success"), (&bad, "rejected", "failure")] {
        house
            .eventually(&format!("{word} is told of {commit}"), async || {
                let told = told.lock().unwrap().clone();
                let github = told.iter().find(|(path, _, body)| {
                    *path == format!("/repos/org/shop/statuses/{commit}") && body["state"] == word
                })?;
                assert_eq!(github.1["authorization"], "Bearer t0ken-of-the-forge");
                assert_eq!(github.2["context"], "myelin/git");
                let hook = told.iter().find(|(path, _, body)| {
                    path == "/in/pa7h-secret?x=1" && body["commit"] == commit.as_str() && body["state"] == state
                })?;
                assert!(hook.1.get("authorization").is_none());
                Some(())
            })
            .await;
    }
    for secret in ["t0ken-of", "pa7h-secret"] {
        assert!(!house.log().contains(secret));
    }
}
