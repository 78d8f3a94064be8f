//! Faults on demand, as a client sees them.

use std::sync::Arc;
use std::time::Duration;

use myelin_sandbox::faults::{Effect, Rule};
use myelin_sandbox::{Options, Sandbox};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A client that trusts the sandbox and nothing else; one connection per request.
struct Client<'a> {
    sandbox: &'a Sandbox,
}

impl Client<'_> {
    async fn send(&self, method: &str, path: &str, body: Value) -> Result<(u16, Value), String> {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.sandbox.authority().as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let address = self.sandbox.url().trim_start_matches("https://").to_owned();
        let stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap();
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nUser-Agent: faults/1\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.sandbox.token(),
            body.len(),
        );
        stream
            .write_all(request.as_bytes())
            .await
            .map_err(|error| error.to_string())?;
        let mut answer = Vec::new();
        // A cut connection ends without TLS's farewell, which is an error of its own.
        let _ = stream.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").ok_or("no answer")?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or("no status")?;
        Ok((status, serde_json::from_str(body).unwrap_or_default()))
    }
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_before_the_effect_leaves_nothing_and_one_after_it_leaves_the_object() {
    let sandbox = Sandbox::start(Options {
        controllers: false,
        ..Options::default()
    })
    .await
    .unwrap();
    let client = Client { sandbox: &sandbox };
    for (name, effect, left) in [
        ("before", Effect::ResetBefore, false),
        ("after", Effect::ResetAfter, true),
    ] {
        let id = sandbox.faults().add(Rule {
            verbs: vec!["create".to_owned()],
            effect,
            ..Rule::default()
        });
        assert!(client.send("POST", MAPS, config_map(name)).await.is_err(), "{name}");
        sandbox.faults().remove(&id);
        assert_eq!(
            sandbox.registry().find("configmaps", "default", name).is_some(),
            left,
            "{name}"
        );
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_third_write_can_be_held_at_either_side_of_its_effect() {
    let sandbox = Sandbox::start(Options {
        controllers: false,
        ..Options::default()
    })
    .await
    .unwrap();
    let client = Client { sandbox: &sandbox };
    for (side, effect, there) in [("b", Effect::HangBefore, false), ("a", Effect::HangAfter, true)] {
        let rule = Rule {
            verbs: vec!["create".to_owned()],
            skip: 2,
            times: 1,
            effect,
            ..Rule::default()
        };
        let id = sandbox.faults().add(rule);
        for n in 0..2 {
            assert_eq!(
                client
                    .send("POST", MAPS, config_map(&format!("{side}{n}")))
                    .await
                    .unwrap()
                    .0,
                201
            );
        }
        let third = format!("{side}2");
        let held = client.send("POST", MAPS, config_map(&third));
        tokio::pin!(held);
        tokio::select! {
            _ = &mut held => panic!("the third create is held"),
            met = sandbox.faults().met(&id, 1) => assert!(met),
        }
        if there {
            // The effect comes right after the rule was met.
            let mut maps = sandbox.registry().watch_all("configmaps").unwrap();
            while maps.next().await.unwrap().object.name() != third {}
        }
        assert_eq!(
            sandbox.registry().find("configmaps", "default", &third).is_some(),
            there
        );
        sandbox.faults().remove(&id);
        let answer = tokio::time::timeout(Duration::from_secs(10), held)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(answer.0, 201);
    }
    let log = sandbox.faults().log(0);
    assert!(log.iter().all(|entry| entry.user_agent == "faults/1"));
    assert_eq!(
        log.iter()
            .filter(|entry| entry.verb == "create" && entry.status == 201)
            .count(),
        6
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_come_and_go_over_the_control_api() {
    let sandbox = Sandbox::start(Options {
        controllers: false,
        ..Options::default()
    })
    .await
    .unwrap();
    let client = Client { sandbox: &sandbox };
    let rule = json!({"id": "busy", "verbs": ["list"], "effect": {"type": "status", "code": 429, "retryAfter": 7}});
    assert_eq!(client.send("POST", "/sandbox/faults", rule).await.unwrap().0, 200);
    let (status, body) = client.send("GET", MAPS, Value::Null).await.unwrap();
    assert_eq!((status, &body["details"]["retryAfterSeconds"]), (429, &json!(7)));
    let (_, rules) = client.send("GET", "/sandbox/faults", Value::Null).await.unwrap();
    assert_eq!(rules["rules"][0]["met"], 1);
    assert_eq!(
        client
            .send("DELETE", "/sandbox/faults/busy", Value::Null)
            .await
            .unwrap()
            .0,
        200
    );
    assert_eq!(client.send("GET", MAPS, Value::Null).await.unwrap().0, 200);
    let rewrite = json!({"resource": "configmaps", "pointer": "/metadata/labels/injected", "value": "yes"});
    assert_eq!(client.send("POST", "/sandbox/rewrites", rewrite).await.unwrap().0, 200);
    let (_, made) = client.send("POST", MAPS, config_map("seen")).await.unwrap();
    assert_eq!(made["metadata"]["labels"]["injected"], "yes");
    sandbox.stop().await;
}
