//! The whole chain with the real programs: a real AHA, its real tool behind the sandbox's exec, the URL minted by a
//! real `terraform apply`, and a real axon that registers with it.
//!
//! The `synapse` package is installed once, from the registry that pip is configured for, into a virtual environment
//! under `target/`. If it cannot be installed, the test fails; it does not skip.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use myelin_sandbox::kubernetes::kubelet::exec::Canned;
use myelin_sandbox::kubernetes::registry::{Actor, DeleteOptions};
use serde_json::json;

use crate::cluster::Cluster;
use crate::core::BINARY;
use crate::stand::Stand;
use crate::terraform::text;

const VERSION: &str = "2.256.0";
/// How long a service may take to start on a busy machine.
const START: Duration = Duration::from_secs(90);

/// Python with the package.
fn python() -> PathBuf {
    let target = Path::new(BINARY).parent().and_then(Path::parent).unwrap();
    let place = target.join(format!("synapse-{VERSION}"));
    let works = |place: &Path| {
        let script = format!("import synapse.lib.version as v; assert v.verstring == '{VERSION}'");
        let python = place.join("bin/python");
        let checked = Command::new(python)
            .args(["-c", &script])
            .stderr(Stdio::null())
            .status();
        checked.is_ok_and(|status| status.success())
    };
    if !works(&place) {
        // Made beside its place and then moved there, so that a killed test leaves nothing half-done behind.
        let made = target.join(format!("synapse-{VERSION}-{}", std::process::id()));
        let run = |command: &mut Command| {
            let output = command.output().expect("python3 with venv, which this test needs");
            assert!(output.status.success(), "{command:?} failed:\n{}", text(&output));
        };
        run(Command::new("python3").args(["-m", "venv"]).arg(&made));
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        run(Command::new(made.join("bin/python"))
            .args(pip)
            .arg(format!("synapse=={VERSION}")));
        let _ = std::fs::remove_dir_all(&place);
        std::fs::rename(&made, &place).unwrap();
        assert!(works(&place), "{} was installed and does not work", place.display());
    }
    place.join("bin/python")
}

/// A service that runs until it is dropped.
struct Service {
    child: Child,
    log: PathBuf,
}

impl Service {
    fn start(python: &Path, module: &str, folder: &Path, environment: &[(&str, String)]) -> Service {
        std::fs::create_dir_all(folder).unwrap();
        let log = folder.with_extension("log");
        let out = File::create(&log).unwrap();
        let child = Command::new(python)
            .args(["-m", module, "--https", "0"])
            .arg(folder)
            .envs(environment.iter().map(|(name, value)| (*name, value.as_str())))
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .process_group(0)
            .spawn()
            .unwrap();
        Service { child, log }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it serves. `Err`: it ended instead, with this output.
    fn serving(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START;
        loop {
            let ended = self.child.try_wait().unwrap().is_some();
            let said = self.said();
            if said.contains("API (https)") && !ended {
                return Ok(());
            }
            if ended {
                return Err(said);
            }
            assert!(Instant::now() < deadline, "it neither serves nor ends: {said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Its workers are in its group.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A running AHA on loopback.
fn aha(python: &Path, folder: &Path) -> Service {
    for _ in 0..5 {
        let environment = [
            ("SYN_AHA_AHA_NETWORK", "synapse".to_owned()),
            ("SYN_AHA_DNS_NAME", "localhost".to_owned()),
            // A machine that builds may be nearly full; what is tested needs no space.
            ("SYN_AHA_LIMIT_DISK_FREE", "0".to_owned()),
            (
                "SYN_AHA_DMON_LISTEN",
                "ssl://127.0.0.1:0?hostname=localhost&ca=synapse".to_owned(),
            ),
            ("SYN_AHA_PROVISION_LISTEN", format!("ssl://localhost:{}", free_port())),
        ];
        let _ = std::fs::remove_dir_all(folder);
        let mut aha = Service::start(python, "synapse.servers.aha", folder, &environment);
        match aha.serving() {
            Ok(()) => return aha,
            // Somebody took the port between the question and the use.
            Err(said) if said.contains("Address already in use") || said.contains("address already in use") => {}
            Err(said) => panic!("AHA does not start: {said}"),
        }
    }
    panic!("no port was free five times in a row");
}

/// An axon on a fresh volume.
fn axon(python: &Path, folder: &Path, url: &str) -> Service {
    let environment = [
        ("SYN_AXON_AHA_PROVISION", url.to_owned()),
        ("SYN_AXON_LIMIT_DISK_FREE", "0".to_owned()),
    ];
    Service::start(python, "synapse.servers.axon", folder, &environment)
}

/// Whether AHA says that the axon is online.
fn registered(python: &Path, aha: &Path) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let list = Command::new(python)
            .args(["-m", "synapse.tools.aha.list", &format!("cell://{}", aha.display())])
            .output()
            .unwrap();
        let online = |line: &str| {
            let mut words = line.split_whitespace();
            words.next() == Some("00.axon") && words.nth(2) == Some("True")
        };
        if text(&list).lines().any(online) {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
    }
}

const MODULE: &str = r#"
resource "myelin_stack" "aha" {
  name      = "aha"
  namespace = "synapse"
  source    = "${path.module}/k8s"
}
resource "myelin_provisioning_token" "axon" {
  depends_on = [myelin_stack.aha]
  namespace  = "synapse"
  name       = "axon"
  issuer = {
    exec = {
      pod     = "aha-0"
      command = ["python", "-m", "synapse.tools.aha.provision.service", "00.axon"]
    }
  }
  extract     = "url"
  secret      = { name = "axon-provision", key = "SYN_AXON_AHA_PROVISION" }
  rotate_with = ["PersistentVolumeClaim/data-axon-0"]
}
"#;

const AHA: &str = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: aha}\nspec:\n  serviceName: aha\n  \
                   selector: {matchLabels: {app: aha}}\n  template:\n    metadata: {labels: {app: aha}}\n    \
                   spec: {containers: [{name: aha, image: 'vertexproject/synapse-aha:v2.256.0'}]}\n";

fn url(cluster: &Cluster) -> String {
    let secret = cluster
        .object("secrets", "synapse", "axon-provision")
        .expect("the Secret");
    let data = secret["data"]["SYN_AXON_AHA_PROVISION"].as_str().expect("the key");
    String::from_utf8(BASE64.decode(data).unwrap()).unwrap()
}

/// A fresh volume for the axon, in the cluster's eyes.
fn claim(cluster: &Cluster) {
    let (registry, somebody) = (cluster.registry(), Actor::admin("kubectl"));
    let find = || registry.find("persistentvolumeclaims", "synapse", "data-axon-0");
    if find().is_some() {
        let options = DeleteOptions::default();
        registry
            .delete(&somebody, "persistentvolumeclaims", "synapse", "data-axon-0", &options)
            .unwrap();
        let deadline = Instant::now() + START;
        while find().is_some() {
            assert!(Instant::now() < deadline, "the claim does not go");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let claim = json!({"metadata": {"name": "data-axon-0"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    registry
        .create(&somebody, "persistentvolumeclaims", "synapse", claim)
        .unwrap();
}

#[test]
fn a_real_axon_registers_with_a_minted_url_and_a_fresh_volume_gets_a_fresh_one() {
    let python = python();
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("aha");
    let _aha = aha(&python, &home);
    // What the provisioned service listens on: loopback alone.
    let cell = folder.path().join("cell.yaml");
    std::fs::write(
        &cell,
        "dmon:listen: \"ssl://127.0.0.1:0?hostname=00.axon.synapse&ca=synapse\"\n",
    )
    .unwrap();
    let tool = ["python", "-m", "synapse.tools.aha.provision.service", "00.axon"].map(str::to_owned);
    let real = [
        &python.display().to_string(),
        "-m",
        "synapse.tools.aha.provision.service",
        "--url",
        &format!("cell://{}", home.display()),
        "--cellyaml",
        &cell.display().to_string(),
        "00.axon",
    ];
    let command = Canned {
        command: tool.to_vec(),
        image: "synapse-aha".to_owned(),
        stdout: String::new(),
        stderr: String::new(),
        exit_code: 0,
        process: real.map(str::to_owned).to_vec(),
    };
    let mut stand = Stand::on(Cluster::with_commands(vec![command]), MODULE);
    stand.file("k8s/aha.yaml", AHA);

    stand.apply();
    let first = url(&stand.cluster);
    assert!(
        first.starts_with("ssl://localhost:") && first.contains("?certhash="),
        "the URL and nothing else"
    );
    stand.secret(&first);
    stand.search_again();
    claim(&stand.cluster);
    // The volume came after the token, as it does: the token is tied to it from now on, and nothing is minted.
    let (code, shown) = stand.plan();
    assert!(
        code == Some(2) && shown.contains("it is tied to PersistentVolumeClaim/data-axon-0"),
        "{shown}"
    );
    stand.apply();
    assert_eq!(url(&stand.cluster), first);

    let mut one = axon(&python, &folder.path().join("axon-1"), &first);
    one.serving().expect("the axon starts with the stored value");
    assert!(registered(&python, &home), "it is online in AHA: {}", one.said());

    // The same value on a fresh volume: refused.
    let mut two = axon(&python, &folder.path().join("axon-2"), &first);
    let said = two.serving().expect_err("a used URL is refused on a fresh volume");
    assert!(said.contains("NoSuchName") && said.contains("re-use"), "{said}");
    drop((one, two));

    // A fresh claim says so to the plan, and the apply mends it.
    claim(&stand.cluster);
    let (code, shown) = stand.plan();
    assert!(
        code == Some(2) && shown.contains("PersistentVolumeClaim/data-axon-0 is a new object"),
        "{shown}"
    );
    assert_eq!(url(&stand.cluster), first, "a plan mints nothing");
    stand.apply();
    let second = url(&stand.cluster);
    stand.secret(&second);
    stand.search_again();
    assert_ne!(first, second);
    let mut three = axon(&python, &folder.path().join("axon-3"), &second);
    three
        .serving()
        .expect("the axon starts on the fresh volume with the fresh value");
    assert!(registered(&python, &home), "it is online in AHA: {}", three.said());
}
