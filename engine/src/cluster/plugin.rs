//! A credential plugin, the program that a kubeconfig names under `exec`
//! (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>). Its
//! credentials are kept until they expire, and then it runs again. Each run has a time limit, and runs never overlap.
//!
//! A certificate is obtained once, when the client is created; only a token is renewed.

use super::credentials::{fits_a_header, said_by};
use crate::yaml::{FileId, Limits, Profile, parse_one, to_json};
use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use kube::config::{AuthInfo, ExecConfig, ExecInteractiveMode};
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// Time limit of the first run: some plugins open a browser and wait for the user.
pub(super) const FIRST: Duration = Duration::from_secs(120);
/// Time limit of later runs: a request waits for it, whose own limit is a little longer.
const AGAIN: Duration = Duration::from_secs(30);
/// A token that expires within this time is no longer used.
const SHORTLY: SignedDuration = SignedDuration::from_secs(60);
/// How long the error of a failed run is returned to other requests before the plugin runs again, so that requests that
/// wait at the same moment do not each wait for a run of their own.
const REMEMBERED: Duration = Duration::from_secs(5);

/// What errors call it.
pub(super) const PLUGIN: &str = "the credential plugin that the kubeconfig names";

/// The error for a run that exceeds its limit.
pub(super) fn late(limit: Duration) -> String {
    format!("{PLUGIN} did not end within {} s; run it by hand", limit.as_secs())
}

/// A plugin and its credentials.
pub(super) struct Plugin {
    exec: ExecConfig,
    auth: AuthInfo,
    again: Duration,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    token: Zeroizing<String>,
    expires: Option<Timestamp>,
    /// The last run, if it failed.
    failed: Option<(Instant, String)>,
}

/// The result of a plugin's first run.
pub(super) enum Given {
    /// A token, which is stored.
    Token,
    /// A certificate with its key: the credentials that contain them.
    Certificate(Box<AuthInfo>),
}

/// Why a request got no token. Contains nothing of the plugin's standard output.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct PluginError(pub(super) String);

struct Credential {
    token: Option<Zeroizing<String>>,
    expires: Option<Timestamp>,
    certificate: Option<(String, Zeroizing<String>)>,
}

impl Plugin {
    /// Takes the plugin out of these credentials; None if other credentials take precedence.
    pub(super) fn of(auth: &mut AuthInfo) -> Option<Self> {
        let basic = auth.username.is_some() && auth.password.is_some();
        if basic || auth.token.is_some() || auth.token_file.is_some() || auth.auth_provider.is_some() {
            return None;
        }
        let exec = auth.exec.take()?;
        Some(Self {
            exec,
            auth: auth.clone(),
            again: AGAIN,
            held: Mutex::default(),
        })
    }

    /// Runs it for the first time.
    ///
    /// # Errors
    /// When it cannot be started, fails, does not end, or gives nothing that can be used.
    pub(super) async fn first(&mut self) -> Result<Given, String> {
        let given = run(&self.exec, FIRST).await?;
        if let Some((certificate, key)) = given.certificate {
            return self.with(&certificate, &key).map(Given::Certificate);
        }
        let token = given.token.ok_or_else(gave_nothing)?;
        *self.held.get_mut() = Held {
            token,
            expires: given.expires,
            failed: None,
        };
        Ok(Given::Token)
    }

    /// The credentials with a certificate.
    fn with(&self, certificate: &str, key: &str) -> Result<Box<AuthInfo>, String> {
        use base64::Engine as _;
        let encode = |pem: &str| Value::from(base64::engine::general_purpose::STANDARD.encode(pem));
        let unusable = |_| format!("{PLUGIN} gave a certificate that cannot be used");
        let mut auth = serde_json::to_value(&self.auth).map_err(unusable)?;
        auth["client-certificate-data"] = encode(certificate);
        auth["client-key-data"] = encode(key);
        serde_json::from_value(auth).map(Box::new).map_err(unusable)
    }

    /// The authorization header of a request.
    ///
    /// # Errors
    /// When the token has expired and no new one arrives in time.
    pub(super) async fn header(&self) -> Result<HeaderValue, PluginError> {
        let mut held = self.held.lock().await;
        if held.expires.is_some_and(|at| Timestamp::now() + SHORTLY >= at) {
            if let Some((when, why)) = &held.failed
                && when.elapsed() < REMEMBERED
            {
                return Err(PluginError(why.clone()));
            }
            // A request that is dropped meanwhile ends the run; the next one starts another.
            let renewed = run(&self.exec, self.again).await;
            match renewed.and_then(|given| Ok((given.token.ok_or_else(gave_nothing)?, given.expires))) {
                Ok((token, expires)) => {
                    *held = Held {
                        token,
                        expires,
                        failed: None,
                    }
                }
                Err(why) => {
                    held.failed = Some((Instant::now(), why.clone()));
                    return Err(PluginError(why));
                }
            }
        }
        let text = Zeroizing::new(format!("Bearer {}", *held.token));
        let mut header = HeaderValue::from_str(&text).map_err(|_| PluginError(format!("{PLUGIN} gave no token")))?;
        header.set_sensitive(true);
        Ok(header)
    }
}

fn gave_nothing() -> String {
    format!("{PLUGIN} gave neither a token nor a certificate with its key; run it by hand")
}

/// Runs it once; at the deadline the program is killed.
async fn run(exec: &ExecConfig, deadline: Duration) -> Result<Credential, String> {
    let Some(program) = &exec.command else {
        return Err(format!("{PLUGIN} has no command"));
    };
    let interactive = exec.interactive_mode != Some(ExecInteractiveMode::Never);
    let mut spec = json!({"interactive": interactive});
    if exec.provide_cluster_info {
        let cluster = exec.cluster.as_ref();
        spec["cluster"] = cluster
            .and_then(|cluster| serde_json::to_value(cluster).ok())
            .ok_or_else(|| format!("{PLUGIN} wants to know the cluster, of which nothing is said"))?;
    }
    let told = json!({"kind": "ExecCredential", "apiVersion": exec.api_version, "spec": spec});
    let mut command = Command::new(program);
    command.args(exec.args.iter().flatten());
    for variable in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
            command.env(name, value);
        }
    }
    command.env("KUBERNETES_EXEC_INFO", told.to_string());
    for name in exec.drop_env.iter().flatten() {
        command.env_remove(name);
    }
    // A user who is prompted sees it and can answer.
    command.stdout(Stdio::piped()).kill_on_drop(true);
    if interactive {
        command.stdin(Stdio::inherit()).stderr(Stdio::inherit());
    } else {
        command.stdin(Stdio::null()).stderr(Stdio::piped());
    }
    let child = command.spawn().map_err(|error| {
        let hint = exec.install_hint.as_deref().unwrap_or_default().trim();
        let gap = if hint.is_empty() { "" } else { "; " };
        format!("{PLUGIN} cannot be started: {error}{gap}{hint}")
    })?;
    let ended = tokio::time::timeout(deadline, child.wait_with_output());
    let output = match ended.await {
        Err(_) => return Err(late(deadline)),
        Ok(Err(error)) => return Err(format!("{PLUGIN} broke off: {error}")),
        Ok(Ok(output)) => output,
    };
    let stdout = Zeroizing::new(output.stdout);
    if !output.status.success() {
        return Err(format!(
            "{PLUGIN} failed with {}{}",
            output.status,
            said_by(&output.stderr)
        ));
    }
    read(&stdout)
}

/// Parses its output: JSON, or YAML, which kubectl accepts too.
fn read(stdout: &[u8]) -> Result<Credential, String> {
    let other = || format!("{PLUGIN} printed something else than an ExecCredential; run it by hand");
    let text = std::str::from_utf8(stdout).map_err(|_| other())?;
    let limits = Limits {
        documents: 1,
        ..Limits::default()
    };
    let node = parse_one(text, FileId::default(), Profile::Manifest, limits).map_err(|_| other())?;
    let printed = to_json(&node).map_err(|_| other())?;
    let status = printed.get("status").filter(|status| status.is_object());
    let status = status.ok_or_else(other)?;
    let field = |name: &str| {
        let text = status.get(name).and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
    };
    let token = field("token").map(|token| Zeroizing::new(token.to_owned()));
    if let Some(token) = &token {
        fits_a_header(token).map_err(|why| format!("{PLUGIN}: {why}"))?;
    }
    let expires = match field("expirationTimestamp").map(str::parse) {
        None => None,
        Some(Ok(at)) => Some(at),
        Some(Err(_)) => {
            return Err(format!(
                "{PLUGIN} gave an expirationTimestamp that is no time (RFC 3339); run it by hand"
            ));
        }
    };
    let pair = field("clientCertificateData").zip(field("clientKeyData"));
    Ok(Credential {
        token,
        expires,
        certificate: pair.map(|(certificate, key)| (certificate.to_owned(), Zeroizing::new(key.to_owned()))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(script: &str) -> Plugin {
        let auth = json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
            "command": "sh", "args": ["-c", script],
        }});
        let mut auth: AuthInfo = serde_json::from_value(auth).unwrap();
        Plugin::of(&mut auth).unwrap()
    }

    const EXPIRED: &str = "2020-01-01T00:00:00Z";

    fn gives(token: &str, expires: &str) -> String {
        format!("echo '{{\"status\": {{\"token\": \"{token}\", \"expirationTimestamp\": \"{expires}\"}}}}'")
    }

    #[tokio::test]
    async fn a_token_is_renewed_when_it_expires_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let count = folder.path().join("count");
        let runs = || std::fs::read_to_string(&count).unwrap_or_default().len();
        for (expires, after) in [("2999-01-01T00:00:00Z", 1), (EXPIRED, 4)] {
            let _ = std::fs::remove_file(&count);
            let mut plugin = plugin(&format!("printf x >> {}; {}", count.display(), gives("t0", expires)));
            assert!(matches!(plugin.first().await, Ok(Given::Token)));
            for _ in 0..3 {
                assert_eq!(plugin.header().await.unwrap(), "Bearer t0");
            }
            assert_eq!(runs(), after, "{expires}");
        }
    }

    #[tokio::test]
    async fn a_plugin_that_hangs_when_it_is_run_again_is_killed_and_named_and_others_do_not_wait_for_runs_of_their_own()
    {
        let folder = tempfile::tempdir().unwrap();
        let (once, pids) = (folder.path().join("once"), folder.path().join("pids"));
        let mut plugin = plugin(&format!(
            "if test -e {once}; then echo $$ >> {pids}; exec sleep 600; fi; touch {once}; {gives}",
            once = once.display(),
            pids = pids.display(),
            gives = gives("t0", EXPIRED)
        ));
        plugin.again = Duration::from_secs(1);
        assert!(matches!(plugin.first().await, Ok(Given::Token)));
        let all = futures::future::join_all((0..8).map(|_| plugin.header())).await;
        for told in all {
            let told = told.unwrap_err().to_string();
            assert!(told.contains("did not end within 1 s"), "{told}");
        }
        let started = std::fs::read_to_string(&pids).unwrap();
        assert_eq!(started.lines().count(), 1, "one run for all of them");
        let pid = started.trim();
        let end = Instant::now() + Duration::from_secs(60);
        let is_alive = || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.contains("sleep") && !status.contains("State:\tZ")
        };
        while is_alive() {
            assert!(Instant::now() < end, "{pid} still runs");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn what_a_plugin_is_told_and_gives_is_as_kubectl_has_it() {
        let told = plugin("echo \"{status: {token: '$(printf %s \"$KUBERNETES_EXEC_INFO\" | tr -d '{}\":, ')'}}\"");
        let mut told = told;
        assert!(matches!(told.first().await, Ok(Given::Token)));
        let header = told.header().await.unwrap();
        let header = header.to_str().unwrap();
        assert!(
            header.contains("kindExecCredential") && header.contains("interactivefalse"),
            "{header}"
        );
        let mut pair = plugin("echo '{status: {clientCertificateData: c, clientKeyData: k}}'");
        let Ok(Given::Certificate(auth)) = pair.first().await else {
            panic!("a certificate");
        };
        assert_eq!(auth.client_certificate_data.as_deref(), Some("Yw=="));
        for (script, why) in [
            ("echo '{status: {}}'", "neither a token nor a certificate"),
            ("echo '{kind: ExecCredential}'", "something else"),
            ("echo '{status: {token: a, expirationTimestamp: soon}}'", "is no time"),
        ] {
            let why_not = plugin(script).first().await.err().unwrap_or_default();
            assert!(why_not.contains(why), "{script}: {why_not}");
        }
    }
}
