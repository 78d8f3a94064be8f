//! The life of the process: who may start it and connect, and how it ends.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use myelin_proto::health::HealthCheckRequest;
use myelin_proto::plugin::Empty;
use myelin_proto::tfplugin6 as tf;
use tonic::Code;

use crate::core::{BINARY, COOKIE, Debugged, Identity, Plugin, plain};

#[test]
fn a_person_who_starts_it_is_told_what_it_is() {
    let output = Command::new(BINARY).env_clear().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("This binary is a plugin."));
}

#[tokio::test]
async fn the_core_that_started_it_may_connect_and_nobody_else() {
    let (core, stranger) = (Identity::new(), Identity::new());
    let plugin = Plugin::start(Some(&core), &[]);
    assert!(
        plugin.line.certificate.len() > 50,
        "hosts take a shorter field for none"
    );
    let mut connected = plugin.connect(Some(&core)).await.expect("the pinned certificate");
    connected
        .provider
        .get_metadata(tf::get_metadata::Request {})
        .await
        .expect("an answer");

    for (who, identity) in [("another certificate", Some(&stranger)), ("no certificate", None)] {
        // TLS 1.3 reports the refusal to the client after its own side is done, so it may appear only at the first
        // call.
        let refused = match plugin.connect(identity).await {
            Err(_) => true,
            Ok(mut intruder) => intruder
                .provider
                .get_metadata(tf::get_metadata::Request {})
                .await
                .is_err(),
        };
        assert!(refused, "{who} was let in");
    }
    connected
        .provider
        .get_metadata(tf::get_metadata::Request {})
        .await
        .expect("the intruders disturbed nothing");
}

#[tokio::test]
async fn without_a_client_certificate_it_serves_in_plain() {
    let plugin = Plugin::start(None, &[]);
    assert!(plugin.line.certificate.is_empty());
    let mut core = plugin.connect(None).await.expect("a plain connection");
    core.provider
        .get_metadata(tf::get_metadata::Request {})
        .await
        .expect("an answer");
}

#[test]
fn a_certificate_that_is_none_is_refused_before_anything_is_served() {
    let mut command = Command::new(BINARY);
    let output = command
        .env_clear()
        .env(COOKIE.0, COOKIE.1)
        .env("PLUGIN_CLIENT_CERT", "garbage")
        .output()
        .unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("PLUGIN_CLIENT_CERT holds no PEM certificate"));
}

#[tokio::test]
async fn the_socket_is_private_and_gone_afterwards() {
    let mut plugin = Plugin::start(None, &[]);
    let socket = plugin.socket();
    let folder = socket.parent().unwrap().to_owned();
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let mut core = plugin.connect(None).await.unwrap();
    core.controller
        .shutdown(Empty {})
        .await
        .expect("an answer before the end");
    let (status, _, _) = plugin.ended_within(Duration::from_secs(2));
    assert!(status.success());
    assert!(!folder.exists());
}

#[test]
fn a_long_temporary_folder_does_not_make_too_long_a_socket_path() {
    let long = tempfile::Builder::new().prefix(&"x".repeat(120)).tempdir().unwrap();
    let plugin = Plugin::start(None, &[("PLUGIN_UNIX_SOCKET_DIR", long.path().to_str().unwrap())]);
    assert!(plugin.socket().exists() && plugin.line.address.len() < 104);
}

#[test]
fn where_there_can_be_no_unix_socket_it_listens_on_loopback() {
    let environment = [
        ("PLUGIN_UNIX_SOCKET_DIR", "/nowhere/at/all"),
        ("PLUGIN_MIN_PORT", "10000"),
        ("PLUGIN_MAX_PORT", "25000"),
    ];
    let plugin = Plugin::start(None, &environment);
    assert_eq!(plugin.line.network, "tcp");
    let address: std::net::SocketAddr = plugin.line.address.parse().unwrap();
    assert!(address.ip().is_loopback() && (10000..=25000).contains(&address.port()));
    std::net::TcpStream::connect(address).expect("it listens before it says so");
}

#[tokio::test]
async fn it_ends_well_within_two_seconds_with_every_stream_open() {
    let identity = Identity::new();
    let mut plugin = Plugin::start(Some(&identity), &[]);
    let mut core = plugin.connect(Some(&identity)).await.unwrap();
    let mut stdio = core.stdio.stream_stdio(()).await.unwrap().into_inner();
    let mut broker = core
        .broker
        .start_stream(tokio_stream::pending())
        .await
        .unwrap()
        .into_inner();
    let silence = Duration::from_millis(200);
    assert!(
        tokio::time::timeout(silence, stdio.message()).await.is_err(),
        "stdio is open and silent"
    );
    assert!(
        tokio::time::timeout(silence, broker.message()).await.is_err(),
        "broker is open and silent"
    );

    let before = Instant::now();
    core.controller
        .shutdown(Empty {})
        .await
        .expect("an answer before the end");
    let (status, out, err) = plugin.ended_within(Duration::from_secs(2));
    assert!(
        status.success() && before.elapsed() < Duration::from_secs(1),
        "{status} {:?}",
        before.elapsed()
    );
    assert_eq!(
        (out.as_str(), err.as_str()),
        ("", ""),
        "nothing after the line, and no log that nobody asked for"
    );
}

#[tokio::test]
async fn an_interrupt_is_ignored_and_a_stop_is_answered_at_once() {
    let mut plugin = Plugin::start(None, &[]);
    let mut core = plugin.connect(None).await.unwrap();
    let killed = Command::new("kill")
        .args(["-INT", &plugin.pid().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let before = Instant::now();
    let stopped = core
        .provider
        .stop_provider(tf::stop_provider::Request {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(stopped.error, "");
    assert!(before.elapsed() < Duration::from_millis(500));
    core.provider
        .get_metadata(tf::get_metadata::Request {})
        .await
        .expect("new calls are taken after a stop");
    core.controller.shutdown(Empty {}).await.unwrap();
    plugin.ended_within(Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_outlive_a_core_that_was_killed() {
    let mut plugin = Plugin::start(None, &[]);
    let socket = plugin.socket();
    let mut core = plugin.connect(None).await.unwrap();
    core.provider.get_metadata(tf::get_metadata::Request {}).await.unwrap();
    // A killed core says nothing: its connection just ends.
    drop(core);
    plugin.ended_within(Duration::from_secs(5));
    assert!(!socket.exists());
}

#[tokio::test]
async fn health_is_serving_under_the_name_that_hosts_ask_for() {
    let plugin = Plugin::start(None, &[]);
    let mut core = plugin.connect(None).await.unwrap();
    for (service, expected) in [("plugin", Ok(1)), ("", Ok(1)), ("other", Err(Code::NotFound))] {
        let answer = core
            .health
            .check(HealthCheckRequest {
                service: service.to_owned(),
            })
            .await;
        assert_eq!(
            answer
                .map(|answer| answer.into_inner().status)
                .map_err(|status| status.code()),
            expected
        );
    }
}

#[tokio::test]
async fn debug_mode_prints_what_to_set_and_serves_many_commands() {
    let provider = Debugged::start();
    let json: serde_json::Value = serde_json::from_str(&provider.reattach).unwrap();
    let entry = &json["registry.terraform.io/myelin-dev/myelin"];
    assert_eq!(
        (entry["ProtocolVersion"].as_i64(), entry["Test"].as_bool()),
        (Some(6), Some(true))
    );
    let socket = entry["Addr"]["String"].as_str().unwrap();
    for _ in 0..2 {
        let mut core = crate::core::Core::new(plain(socket.into()).await.unwrap());
        core.provider.get_metadata(tf::get_metadata::Request {}).await.unwrap();
    }
}

#[tokio::test]
async fn the_log_is_hclog_and_only_when_asked_for() {
    let mut plugin = Plugin::start(Some(&Identity::new()), &[("TF_LOG", "TRACE")]);
    // A stranger makes it say something.
    assert!(match plugin.connect(Some(&Identity::new())).await {
        Err(_) => true,
        Ok(mut core) => core.provider.get_metadata(tf::get_metadata::Request {}).await.is_err(),
    });
    assert!(
        Command::new("kill")
            .args(["-TERM", &plugin.pid().to_string()])
            .status()
            .unwrap()
            .success()
    );
    let (status, _, log) = plugin.ended_within(Duration::from_secs(3));
    assert!(status.success());
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    assert!(lines.iter().any(|line| line["@level"] == "warn"), "{log}");
    for line in lines {
        assert!(
            line.as_object().unwrap().values().all(serde_json::Value::is_string),
            "{line}"
        );
        let stamp = line["@timestamp"].as_str().unwrap();
        assert!(
            stamp.len() == "2006-01-02T15:04:05.000000Z".len() && stamp.ends_with('Z'),
            "{stamp}"
        );
    }
}

#[test]
fn the_socket_folder_of_a_killed_provider_is_removed_by_a_later_one_and_that_of_a_living_one_is_not() {
    let temporary = tempfile::tempdir().unwrap();
    let parent = temporary.path().to_str().unwrap();
    let start = || Plugin::start(None, &[("TMPDIR", parent)]);
    let folder = |plugin: &Plugin| plugin.socket().parent().unwrap().to_owned();
    let (alive, killed) = (start(), start());
    let (alive_at, killed_at) = (folder(&alive), folder(&killed));
    drop(killed);
    for folder in [&alive_at, &killed_at] {
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(600);
        let times = std::fs::FileTimes::new().set_modified(long_ago);
        std::fs::File::open(folder).unwrap().set_times(times).unwrap();
    }
    let _later = start();
    let deadline = Instant::now() + Duration::from_secs(10);
    while killed_at.exists() {
        assert!(Instant::now() < deadline, "it is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(alive_at.join("socket").exists());
}
