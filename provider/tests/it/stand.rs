//! A test bench: the sandbox, a module, and the real `terraform` between them.
//!
//! After every step, the second plan and a refresh-only plan must be empty, and state, plan and trace log are searched
//! for the secrets of the test. The bench does this automatically, so no test can forget it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::cluster::Cluster;
use crate::terraform::{Workspace, text};

/// A cluster and a module on it.
pub(crate) struct Stand {
    pub(crate) cluster: Cluster,
    pub(crate) workspace: Workspace,
    secrets: Vec<String>,
    variables: RefCell<BTreeMap<String, String>>,
}

impl Stand {
    /// A test bench for that module, after a provider block that names the sandbox.
    pub(crate) fn new(module: &str) -> Stand {
        Stand::on(Cluster::start(), module)
    }

    /// The same on a cluster of one's own.
    pub(crate) fn on(cluster: Cluster, module: &str) -> Stand {
        let workspace = Workspace::new("");
        let stand = Stand {
            cluster,
            workspace,
            secrets: Vec::new(),
            variables: RefCell::default(),
        };
        stand.module(module);
        stand
    }

    /// Another text for the module.
    pub(crate) fn module(&self, module: &str) {
        let block = format!(
            "provider \"myelin\" {{\n  kubeconfig = {:?}\n}}\n",
            self.cluster.kubeconfig()
        );
        self.workspace.write_module(&format!("{block}{module}"));
    }

    /// A file under the module's folder.
    pub(crate) fn file(&self, path: &str, text: &str) {
        self.workspace.file(path, text);
    }

    /// What must be found nowhere.
    pub(crate) fn secret(&mut self, secret: &str) {
        self.secrets.push(secret.to_owned());
    }

    /// A value of a variable, given by environment so that no file holds it.
    pub(crate) fn variable(&self, name: &str, value: &str) {
        self.variables
            .borrow_mut()
            .insert(format!("TF_VAR_{name}"), value.to_owned());
    }

    pub(crate) fn forget_variable(&self, name: &str) {
        self.variables.borrow_mut().remove(&format!("TF_VAR_{name}"));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.workspace.command(arguments);
        command
            .env("TF_LOG", "TRACE")
            .env("TF_LOG_PATH", self.log())
            .envs(self.cluster.aws_environment())
            .envs(&*self.variables.borrow());
        command
    }

    fn log(&self) -> PathBuf {
        self.workspace.path("trace.log")
    }

    /// Runs a command and searches everything that it wrote.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let _ = std::fs::remove_file(self.log());
        let output = self.command(arguments).output().unwrap();
        self.search(&output);
        output
    }

    fn search(&self, output: &Output) {
        let mut places = vec![("output", text(output))];
        for file in [
            "terraform.tfstate",
            "terraform.tfstate.backup",
            "trace.log",
            "plan.json",
        ] {
            places.push((
                file,
                std::fs::read_to_string(self.workspace.path(file)).unwrap_or_default(),
            ));
        }
        places.push(("plan.bin", self.plan_file()));
        for (place, text) in places {
            for secret in &self.secrets {
                assert!(!text.contains(secret.as_str()), "a secret in {place}");
                let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, secret);
                assert!(!text.contains(&base64), "a secret in {place}, in base64");
                let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
                assert!(!text.contains(&hex), "a secret in {place}, in hex");
            }
        }
    }

    /// What is in the plan file, which is a compressed archive.
    fn plan_file(&self) -> String {
        if !self.path("plan.bin").exists() {
            return String::new();
        }
        let script = "import sys, zipfile\nz = zipfile.ZipFile('plan.bin')\n\
                      sys.stdout.buffer.write(b'\\n'.join(z.read(n) for n in z.namelist()))";
        let unpacked = Command::new("python3")
            .args(["-c", script])
            .current_dir(self.path(""))
            .output()
            .unwrap();
        assert!(
            unpacked.status.success() && !unpacked.stdout.is_empty(),
            "{}",
            text(&unpacked)
        );
        String::from_utf8_lossy(&unpacked.stdout).into_owned()
    }

    /// Searches once more everything that the last command wrote, for secrets that came to be known since.
    pub(crate) fn search_again(&self) {
        let shown = self.workspace.terraform(&["show", "-json"]);
        assert!(shown.status.success(), "{}", text(&shown));
        self.search(&shown);
    }

    /// Plans and applies; then nothing must be left to do.
    pub(crate) fn apply(&self) -> String {
        let output = self.try_apply();
        assert!(output.status.success(), "{}", text(&output));
        self.assert_settled();
        text(&output)
    }

    /// Plans and applies; it may fail.
    pub(crate) fn try_apply(&self) -> Output {
        let planned = self.run(&["plan", "-input=false", "-no-color", "-out=plan.bin"]);
        if !planned.status.success() {
            return planned;
        }
        let shown = self.run(&["show", "-json", "plan.bin"]);
        std::fs::write(self.workspace.path("plan.json"), &shown.stdout).unwrap();
        self.run(&["apply", "-input=false", "-no-color", "plan.bin"])
    }

    /// Applies without a look at the plan; then nothing must be left to do.
    pub(crate) fn apply_at_once(&self) {
        let output = self.run(&["apply", "-input=false", "-no-color", "-auto-approve"]);
        assert!(output.status.success(), "{}", text(&output));
        let (code, shown) = self.plan();
        assert_eq!(code, Some(0), "{shown}");
    }

    /// The second plan and a refresh-only plan are empty.
    pub(crate) fn assert_settled(&self) {
        for extra in [None, Some("-refresh-only")] {
            let mut arguments = vec!["plan", "-input=false", "-no-color", "-detailed-exitcode"];
            arguments.extend(extra);
            let output = self.run(&arguments);
            assert_eq!(
                output.status.code(),
                Some(0),
                "{extra:?} is not empty: {}",
                text(&output)
            );
        }
    }

    /// What a plan says. Exit code 0: nothing, 1: an error, 2: changes.
    pub(crate) fn plan(&self) -> (Option<i32>, String) {
        let output = self.run(&["plan", "-input=false", "-no-color", "-detailed-exitcode"]);
        (output.status.code(), text(&output))
    }

    /// Destroys everything.
    pub(crate) fn destroy(&self) -> String {
        let output = self.run(&["destroy", "-input=false", "-no-color", "-auto-approve"]);
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    }

    /// Starts a command and leaves it running.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        use std::os::unix::process::CommandExt as _;
        let _ = std::fs::remove_file(self.log());
        let mut command = self.command(arguments);
        // A process group of its own, as a shell would give it: an interrupt reaches the provider too.
        let child = command
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Running {
            group: child.id(),
            child: RefCell::new(child),
        }
    }

    /// The attributes of the only resource, from the state.
    pub(crate) fn state(&self) -> Json {
        let text = std::fs::read_to_string(self.workspace.path("terraform.tfstate")).unwrap_or_default();
        let state: Json = serde_json::from_str(&text).unwrap_or_default();
        state["resources"][0]["instances"][0].clone()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.workspace.path(path)
    }
}

/// A terraform that runs.
pub(crate) struct Running {
    child: RefCell<Child>,
    group: u32,
}

impl Running {
    fn signal(&self, signal: &str, target: &str) {
        let status = Command::new("kill").args([signal, "--", target]).status().unwrap();
        assert!(status.success());
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.child.borrow_mut().try_wait().unwrap().is_some()
    }

    /// Ctrl-C: the whole process group gets it.
    pub(crate) fn interrupt(&self) {
        self.signal("-INT", &format!("-{}", self.group));
    }

    /// Power off: Terraform and every provider die at once.
    pub(crate) fn kill_all(&self) {
        self.signal("-KILL", &format!("-{}", self.group));
    }

    /// Waits for its end.
    pub(crate) fn end(self, limit: Duration) -> Output {
        let deadline = Instant::now() + limit;
        let (group, child) = (self.group, self.child.into_inner());
        let (done, finished) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(child.wait_with_output().unwrap()));
        match finished.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(output) => output,
            Err(_) => {
                let _ = Command::new("kill")
                    .args(["-KILL", "--", &format!("-{group}")])
                    .status();
                panic!("terraform still ran after {limit:?}");
            }
        }
    }
}
