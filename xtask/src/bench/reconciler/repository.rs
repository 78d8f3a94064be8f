//! The bench's repository: stacks generated from their number alone, committed by the real git.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A repository whose branch is `main`.
pub(super) struct Repository(PathBuf);

impl Repository {
    pub(super) fn new(folder: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&folder).context("make the repository's folder")?;
        let this = Self(folder);
        this.git(&["init", "--quiet", "--initial-branch=main"])?;
        Ok(this)
    }

    pub(super) fn url(&self) -> String {
        format!("file://{}", self.0.display())
    }

    /// Adds stacks of four objects; answers the commit.
    pub(super) fn write_stacks(&self, count: usize, namespaces: usize) -> Result<String> {
        for number in 0..count {
            let name = format!("app-{number:04}");
            let namespace = format!("bench-{:02}", number % namespaces);
            self.write(
                &format!("{name}/stack.yaml"),
                &document(&name, &namespace, "  source: ./k8s\n"),
            )?;
            self.write(&format!("{name}/k8s/objects.yaml"), &OBJECTS.replace("NAME", &name))?;
        }
        self.commit(&format!("{count} stacks"))
    }

    /// Adds one stack of Deployments that wait for each other, each a component; answers the commit.
    pub(super) fn write_chain(&self, name: &str, links: usize) -> Result<String> {
        let mut spec = String::from("  source: ./k8s\n  components:\n");
        for number in 0..links {
            let link = format!("link-{number:02}");
            let after = match number {
                0 => String::new(),
                number => format!(", after: [link-{:02}]", number - 1),
            };
            spec.push_str(&format!("    {link}: {{path: {link}{after}}}\n"));
            self.write(
                &format!("{name}/k8s/{link}/deployment.yaml"),
                &LINK.replace("NAME", &link),
            )?;
        }
        self.write(&format!("{name}/stack.yaml"), &document(name, name, &spec))?;
        self.commit(&format!("A chain of {links}"))
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.0.join(file);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).context("make a folder")?;
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    fn commit(&self, message: &str) -> Result<String> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "-m", message])?;
        self.git(&["rev-parse", "HEAD"])
    }

    fn git(&self, arguments: &[&str]) -> Result<String> {
        let identity = [
            "-c",
            "user.name=Bench",
            "-c",
            "user.email=bench@example.com",
            "-c",
            "commit.gpgsign=false",
        ];
        let output = Command::new("git")
            .args(identity)
            .args(arguments)
            .current_dir(&self.0)
            .output()
            .context("run git")?;
        ensure!(
            output.status.success(),
            "git {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

fn document(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "apiVersion: myelin.dev/v1alpha1\nkind: Stack\nmetadata: {{name: {name}}}\nspec:\n  namespace: {namespace}\n{spec}"
    )
}

/// The objects of one application of fluxcd/flux-benchmark. The Service's selector is what the bench's
/// foreign changes change.
const OBJECTS: &str = "\
apiVersion: v1
kind: ServiceAccount
metadata: {name: NAME}
---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec:
  selector: {app: NAME}
  ports: [{name: http, port: 80, protocol: TCP, targetPort: 8080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  replicas: 0
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      serviceAccountName: NAME
      containers:
        - name: web
          image: nginx:1.27
          ports: [{name: http, containerPort: 8080, protocol: TCP}]
          resources: {requests: {cpu: 10m, memory: 16Mi}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: NAME}
spec:
  rules:
    - host: NAME.example.com
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: NAME, port: {name: http}}}}
";

/// One link of the chain: ready when its probe says so.
const LINK: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      containers:
        - name: web
          image: nginx:1.27
          ports: [{name: http, containerPort: 80}]
          readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_has_four_objects_and_the_selector_that_is_meddled_with() {
        assert_eq!(OBJECTS.matches("\nkind: ").count(), 4);
        assert!(OBJECTS.contains("selector: {app: NAME}\n"));
    }
}
