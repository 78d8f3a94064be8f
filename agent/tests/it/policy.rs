//! The worker policy of `infra/`, checked against every request that an agent sends in its life. The requests are
//! recorded on their way to the sandbox; the policy is evaluated here, by the part of IAM's rules that it uses. It was
//! not tried on IAM itself.

use crate::harness::{World, end, until};
use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use myelin_agent::wire::{self, Url};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One request as IAM sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ask {
    pub(crate) action: String,
    resource: String,
    keys: Vec<String>,
    /// What a list is restricted to.
    pub(crate) filters: BTreeMap<String, Vec<String>>,
}

/// The requests, and the session token of each.
pub(crate) type Asked = Arc<Mutex<Vec<(Ask, Option<String>)>>>;

const INSTANCE: &str = "arn:aws:ec2:us-east-1:123456789012:instance/";

fn decoded(text: &str) -> String {
    let (mut out, mut bytes) = (Vec::new(), text.bytes());
    while let Some(b) = bytes.next() {
        match b {
            b'%' => {
                let pair = [bytes.next(), bytes.next()].map(|b| char::from(b.expect("two digits follow")));
                out.push(u8::from_str_radix(&String::from_iter(pair), 16).expect("hexadecimal"));
            }
            b => out.push(b),
        }
    }
    String::from_utf8(out).expect("text")
}

fn ask(target: Option<&str>, body: &str) -> Ask {
    if let Some(target) = target {
        let read: Value = serde_json::from_str(body).expect("JSON");
        let name = read["Name"].as_str().expect("a name");
        return Ask {
            action: target.replace("AmazonSSM.", "ssm:"),
            resource: format!("arn:aws:ssm:us-east-1:123456789012:parameter{name}"),
            keys: Vec::new(),
            filters: BTreeMap::new(),
        };
    }
    let form: BTreeMap<String, String> = body
        .split('&')
        .filter_map(|p| p.split_once('='))
        .map(|(k, v)| (decoded(k), decoded(v)))
        .collect();
    let keys = form
        .iter()
        .filter(|(k, _)| k.starts_with("Tag.") && k.ends_with(".Key"))
        .map(|(_, v)| v.clone());
    Ask {
        action: format!("ec2:{}", form["Action"]),
        resource: form
            .get("ResourceId.1")
            .map_or("*".into(), |id| format!("{INSTANCE}{id}")),
        keys: keys.collect(),
        filters: (1..)
            .map_while(|n| {
                let name = form.get(&format!("Filter.{n}.Name"))?.clone();
                let values = (1..).map_while(|v| form.get(&format!("Filter.{n}.Value.{v}")).cloned());
                Some((name, values.collect()))
            })
            .collect(),
    }
}

/// The policy with its places filled.
pub(crate) fn policy() -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/iam/worker.json.tftpl");
    let mut text = std::fs::read_to_string(file).expect("the policy is there");
    for (name, value) in [
        ("partition", "aws"),
        ("region", "us-east-1"),
        ("account_id", "123456789012"),
        ("project", "prod"),
        ("models_bucket", "prod-models"),
        ("checkpoints_bucket", "prod-checkpoints"),
    ] {
        text = text.replace(&format!("${{{name}}}"), value);
    }
    serde_json::from_str(&text.replace("$${", "${")).expect("JSON")
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(one) => vec![one],
        other => other
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect(),
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => pattern == text,
    }
}

/// Whether the conditions of a statement hold; one that is unknown here fails the test.
fn holds(conditions: &Value, ask: &Ask, own: &str) -> bool {
    let conditions = conditions.as_object().into_iter().flatten();
    conditions
        .flat_map(|(operator, keys)| {
            keys.as_object()
                .into_iter()
                .flatten()
                .map(move |(k, v)| (operator, k, v))
        })
        .all(|(operator, key, expected)| {
            let expected: Vec<String> = texts(expected)
                .iter()
                .map(|e| e.replace("${ec2:SourceInstanceARN}", own))
                .collect();
            let held = |value: &String| expected.contains(value);
            match (operator.as_str(), key.as_str()) {
                // In this test the region is right, and the caller is the instance `own`: IAM compares the caller's ARN
                // with it, which restricts a request only together with its resource.
                ("StringEquals", "aws:RequestedRegion") => expected == ["us-east-1"],
                ("StringEquals", "aws:ARN") => expected == [own] && ask.resource == own,
                ("ForAllValues:StringEquals", "aws:TagKeys") => ask.keys.iter().all(held),
                ("ForAnyValue:StringNotEquals", "aws:TagKeys") => ask.keys.iter().any(|k| !held(k)),
                ("Null", "aws:TagKeys") => (expected == ["true"]) == ask.keys.is_empty(),
                other => panic!("this test does not know the condition {other:?}"),
            }
        })
}

fn allowed(policy: &Value, ask: &Ask, own: &str) -> bool {
    let statements = policy["Statement"].as_array().expect("statements");
    let speaks = |s: &&Value| {
        texts(&s["Action"]).iter().any(|a| matches(a, &ask.action))
            && texts(&s["Resource"]).iter().any(|r| matches(r, &ask.resource))
            && holds(&s["Condition"], ask, own)
    };
    let effects: Vec<&str> = statements
        .iter()
        .filter(speaks)
        .filter_map(|s| s["Effect"].as_str())
        .collect();
    effects.contains(&"Allow") && !effects.contains(&"Deny")
}

/// Passes requests on to the sandbox and keeps what they ask.
pub(crate) async fn recorder(to: String) -> (String, Asked) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let asked: Asked = Arc::default();
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (kept, to) = (Arc::clone(&kept), to.clone());
            let service = service_fn(move |request: http::Request<Incoming>| {
                let (kept, to) = (Arc::clone(&kept), to.clone());
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.expect("a body").to_bytes();
                    let header = |name: &str| head.headers.get(name).map(|t| t.to_str().expect("text"));
                    let one = ask(header("x-amz-target"), std::str::from_utf8(&body).expect("text"));
                    let session = header("x-amz-security-token").map(str::to_owned);
                    kept.lock().expect("not poisoned").push((one, session));
                    let headers: Vec<(&str, &str)> = ["x-amz-target", "authorization", "x-amz-security-token"]
                        .into_iter()
                        .filter_map(|name| Some((name, header(name)?)))
                        .collect();
                    let url = Url::parse(&to).expect("an address");
                    let answer = wire::send(&url, Method::POST, &headers, body, 1 << 20, Duration::from_secs(20)).await;
                    let answer = answer.expect("the sandbox answers");
                    let mut response = http::Response::new(Full::<Bytes>::new(answer.body));
                    *response.status_mut() = http::StatusCode::from_u16(answer.status).expect("a status");
                    Ok::<_, Infallible>(response)
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (format!("http://{address}"), asked)
}

#[tokio::test]
async fn the_worker_policy_allows_all_that_an_agent_asks_in_its_life_and_nothing_beside() {
    let world = World::new().await;
    let (endpoint, asked) = recorder(world.endpoint.url()).await;
    world
        .cloud
        .world()
        .parameters
        .insert("/prod/agent-key".into(), "0123456789abcdef0123456789abcdef".into());
    let node = world.launch("prod").await;
    let more = "peers: {key: {parameter: /prod/agent-key}, port: 17946, interval: 1s}\n";
    let mut agent = node.agent_at(&endpoint, &node.configuration(more), &crate::workload::command());
    until("the tag says ready", &agent, async || {
        node.state().as_deref() == Some("ready")
    })
    .await;
    until("peers were asked for", &agent, async || {
        asked
            .lock()
            .expect("not poisoned")
            .iter()
            .any(|(a, _)| a.action == "ec2:DescribeInstances")
    })
    .await;
    agent.signal(Signal::TERM);
    assert!(end(&mut agent).await.success(), "{}", agent.log());
    assert_eq!(node.state(), None);

    let (policy, own) = (policy(), format!("{INSTANCE}{}", node.id));
    let mut all: Vec<Ask> = asked
        .lock()
        .expect("not poisoned")
        .iter()
        .map(|(a, _)| a.clone())
        .collect();
    all.sort();
    all.dedup();
    let actions: Vec<&str> = all.iter().map(|a| a.action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "ec2:CreateTags",
            "ec2:DeleteTags",
            "ec2:DescribeInstances",
            "ssm:GetParameter"
        ]
    );
    for one in &all {
        assert!(allowed(&policy, one, &own), "{one:?} is refused");
    }
    // One tag alone would let pools mix: cluster and role, and only nodes that run and say that they can be counted on.
    let describe = all
        .iter()
        .find(|a| a.action == "ec2:DescribeInstances")
        .expect("seen above");
    let filters: Vec<String> = describe
        .filters
        .iter()
        .map(|(k, v)| format!("{k}={}", v.join(",")))
        .collect();
    assert_eq!(
        filters,
        [
            "instance-state-name=running",
            "tag:myelin.dev:cluster=prod",
            "tag:myelin.dev:pool=worker",
            "tag:myelin.dev:state=ready,draining"
        ]
    );
    // What its workload and its hook may do: read the models, read and write the checkpoints.
    for (action, bucket, may) in [
        ("s3:GetObject", "prod-models/qwen", true),
        ("s3:PutObject", "prod-models/qwen", false),
        ("s3:GetObject", "prod-checkpoints/1", true),
        ("s3:PutObject", "prod-checkpoints/1", true),
        ("s3:DeleteObject", "prod-checkpoints/1", false),
        ("s3:PutObject", "prod-state/terraform.tfstate", false),
        ("s3:GetObject", "prod-state/terraform.tfstate", false),
    ] {
        let one = Ask {
            action: action.into(),
            resource: format!("arn:aws:s3:::{bucket}"),
            keys: Vec::new(),
            filters: BTreeMap::new(),
        };
        assert_eq!(allowed(&policy, &one, &own), may, "{one:?}");
    }
    // What would change its identity, or touch another instance.
    for action in ["ec2:CreateTags", "ec2:DeleteTags"] {
        for (resource, keys) in [
            (own.clone(), &["myelin.dev:cluster"][..]),
            (own.clone(), &["myelin.dev:state", "myelin.dev:pool"]),
            (own.clone(), &[]),
            (format!("{INSTANCE}i-another"), &["myelin.dev:state"]),
        ] {
            let keys = keys.iter().map(|k| (*k).to_owned()).collect();
            let one = Ask {
                action: action.into(),
                resource,
                keys,
                filters: BTreeMap::new(),
            };
            assert!(!allowed(&policy, &one, &own), "{one:?} is allowed");
        }
    }
    for (action, resource) in [
        ("ec2:TerminateInstances", own.as_str()),
        ("ec2:RunInstances", "*"),
        (
            "ssm:GetParameter",
            "arn:aws:ssm:us-east-1:123456789012:parameter/other/agent-key",
        ),
        ("iam:PassRole", "*"),
    ] {
        let one = Ask {
            action: action.into(),
            resource: resource.into(),
            keys: Vec::new(),
            filters: BTreeMap::new(),
        };
        assert!(!allowed(&policy, &one, &own), "{one:?} is allowed");
    }
}
