//! The same requests against moto (<https://github.com/getmoto/moto>), an independent model of EC2: what we send is
//! understood by an implementation that does not know the sandbox. What moto gets wrong is listed here, and fails the
//! test when moto starts to get it right.

use crate::conversation::{Place, talk};
use crate::world::client;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_ec2::config::Credentials;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Steps of the conversation that moto 5.2.5 gets wrong, and how EC2 differs.
const WRONG: &[(&str, &str)] = &[
    (
        "templates by a tag with every odd character",
        "a backslash in a filter's value is no escape",
    ),
    ("CreateFleet by its token", "launches again"),
    (
        "CreateFleet with a used token",
        "launches, where EC2 says IdempotentParameterMismatch",
    ),
    ("RunInstances by its token", "launches again"),
    ("RunInstances still by its token", "launches again"),
    (
        "a token of ended instances",
        "launches, where EC2 says IdempotentInstanceTerminated",
    ),
    ("tags on an unknown instance", "answers that it did"),
    ("a reserved tag", "takes `aws:`"),
];

const PATIENCE: Duration = Duration::from_secs(60);

/// A server of moto, ended when it is dropped.
struct Moto {
    child: Child,
    url: String,
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The environment that holds moto, made once for each change of the requirements. Why there is none otherwise.
fn installed() -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let wanted = fs::read_to_string(root.join("tests/requirements.txt")).map_err(|e| e.to_string())?;
    let folder = root.join("../target/moto");
    let done = folder.join("installed");
    let server = folder.join("bin/moto_server");
    if fs::read_to_string(&done).is_ok_and(|d| d == wanted) {
        return Ok(server);
    }
    let run = |command: &mut Command| {
        let output = command.output().map_err(|e| e.to_string())?;
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    };
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    run(Command::new(folder.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(root.join("tests/requirements.txt")))?;
    fs::write(&done, wanted).map_err(|e| e.to_string())?;
    Ok(server)
}

async fn started(server: &Path) -> Moto {
    let port = TcpListener::bind(("127.0.0.1", 0))
        .and_then(|l| l.local_addr())
        .expect("a port")
        .port();
    let child = Command::new(server)
        .args(["-H", "127.0.0.1", "-p", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("moto starts");
    let moto = Moto {
        child,
        url: format!("http://127.0.0.1:{port}"),
    };
    let deadline = Instant::now() + PATIENCE;
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(Instant::now() < deadline, "moto does not listen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    moto
}

/// What moto's region has by default.
async fn place(url: &str) -> Place {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(url)
        .credentials_provider(Credentials::new("AKIATEST", "test", None, None, "test"))
        .load()
        .await;
    let ec2 = aws_sdk_ec2::Client::new(&config);
    let subnets = ec2.describe_subnets().send().await.expect("subnets");
    let mut subnets: Vec<(String, String)> = subnets
        .subnets()
        .iter()
        .filter_map(|s| Some((s.availability_zone()?.to_owned(), s.subnet_id()?.to_owned())))
        .collect();
    subnets.sort();
    let images = ec2.describe_images().owners("amazon").send().await.expect("images");
    let linux = images.images().iter().find(|i| {
        i.architecture().is_some_and(|a| a.as_str() == "x86_64") && i.name().is_some_and(|n| n.starts_with("amzn"))
    });
    Place {
        image: linux
            .and_then(|i| i.image_id())
            .expect("an Amazon Linux image")
            .to_owned(),
        parameter: "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64".to_owned(),
        subnets: [subnets[0].1.clone(), subnets[1].1.clone()],
    }
}

#[tokio::test]
async fn strangers_understand_what_we_send() {
    let server = match installed() {
        Ok(server) => server,
        Err(why) => {
            // Printed past the capture: a skipped check must not look like one that ran.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED the cross-check against moto: it cannot be installed: {why}"
            );
            return;
        }
    };
    let moto = started(&server).await;
    let place = place(&moto.url).await;
    let port = client(&moto.url, "AKIATEST").await;
    let report = talk(&*port, &place, || {}).await;
    let wrong: Vec<&str> = WRONG.iter().map(|(step, _)| *step).collect();
    let unexpected: Vec<_> = report.failed.iter().filter(|(step, _)| !wrong.contains(step)).collect();
    assert!(unexpected.is_empty(), "moto does not understand: {unexpected:#?}");
    for (step, how) in WRONG {
        assert!(report.checked.contains(step), "{step} is no step of the conversation");
        let still = report.failed.iter().any(|(failed, _)| failed == step);
        assert!(still, "moto does {step} right now ({how}): take it off the list");
    }
    println!(
        "{} of {} steps are right in moto",
        report.checked.len() - report.failed.len(),
        report.checked.len()
    );
}
