//! Safe messages about credentials that cannot be used. The library's own messages quote what it read: lines of the
//! kubeconfig, the output of a credential plugin, and the variables that the plugin was given. Here only the kind of
//! the problem and its place are reported, and for a plugin its exit status and standard error.

use std::error::Error;

use super::plugin::{PLUGIN, PluginError};
use kube::client::AuthError;
use kube::config::KubeconfigError;

/// How much of a plugin's standard error is shown, in characters.
const LONGEST: usize = 500;

/// A kubeconfig that cannot be read or used.
pub(super) fn of_kubeconfig(error: &KubeconfigError) -> String {
    match error {
        // The parser's message may contain the value that it failed on.
        KubeconfigError::Parse(parser) => match parser.location() {
            Some(place) => format!(
                "it is not the YAML of a kubeconfig from line {}, column {} on",
                place.line(),
                place.column()
            ),
            None => "it is not the YAML of a kubeconfig".to_owned(),
        },
        other => other.to_string(),
    }
}

/// The cause in an error that concerns the credentials, if there is one.
pub(super) fn in_causes(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(plugin) = cause.downcast_ref::<PluginError>() {
            return Some(plugin.to_string());
        }
        if let Some(auth) = cause.downcast_ref::<AuthError>() {
            return Some(of_provider(auth));
        }
        if let Some(kubeconfig) = cause.downcast_ref::<KubeconfigError>() {
            return Some(of_kubeconfig(kubeconfig));
        }
        next = cause.source();
    }
    None
}

/// What a program wrote for people, a part of it, to be put behind something.
pub(super) fn said_by(stderr: &[u8]) -> String {
    let said = String::from_utf8_lossy(stderr);
    let said: String = said.trim().chars().take(LONGEST).collect();
    let gap = if said.is_empty() { "" } else { ": " };
    format!("{gap}{said}")
}

/// The library runs only what is named under `auth-provider`, which Kubernetes has given up since 1.26.
fn of_provider(error: &AuthError) -> String {
    match error {
        AuthError::AuthExecRun { out, .. } => format!("{PLUGIN} failed with {}{}", out.status, said_by(&out.stderr)),
        AuthError::ParseTokenKey(_) => format!("{PLUGIN} printed no token where its key says; run it by hand"),
        other => format!("the credentials cannot be used: {other}"),
    }
}

/// Whether an HTTP header can carry a token. The library assumes so and panics otherwise.
pub(super) fn fits_a_header(token: &str) -> Result<(), &'static str> {
    let bearable = |c: char| c.is_ascii_graphic() || c == ' ' || c == '\t';
    match token.chars().find(|c| !bearable(*c)) {
        None => Ok(()),
        Some('\n' | '\r') => {
            Err("the token holds a line break, as a file's last line has one: remove it (in Terraform with trimspace)")
        }
        Some(_) => Err("the token holds a character that an HTTP header cannot carry: is it the token, and as text?"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::connect::{Access, ExecPlugins, connect};
    use super::super::{Cluster as _, Selection, kinds};

    const SECRET: &str = "kept-to-itself";

    /// The message that a kubeconfig with this user produces.
    async fn told(user: &str) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let connected = connect(&access(user, &folder)).await;
        connected.err().map(|e| e.to_string()).unwrap_or_default()
    }

    fn access(user: &str, folder: &tempfile::TempDir) -> Access {
        let path = folder.path().join("config");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n\
             clusters: [{{name: a, cluster: {{server: \"https://127.0.0.1:1\"}}}}]\nusers:\n- name: a\n  user:\n{user}\n"
        );
        std::fs::write(&path, text).expect("written");
        Access::Kubeconfig {
            path,
            context: None,
            exec: ExecPlugins::Run,
        }
    }

    fn plugin(script: &str) -> String {
        format!(
            "    exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: sh, env: [{{name: A, value: {SECRET}}}], args: [-c, {script:?}]}}"
        )
    }

    #[tokio::test]
    async fn credentials_that_cannot_be_used_are_named_and_never_shown() {
        let credential = "kind: ExecCredential, apiVersion: client.authentication.k8s.io/v1";
        for (user, why) in [
            (
                format!("    token: {SECRET}\n   bad: indent"),
                "from line 10, column 4 on",
            ),
            (format!("    token: [{SECRET}]"), "from line 9, column 12 on"),
            (format!("    token: {{{SECRET}: {SECRET}"), "from line"),
            (format!("    token: \"{SECRET}\\n\""), "line break"),
            (format!("    token: \"{SECRET}\\u00e9\""), "cannot carry"),
            (
                format!("    client-certificate-data: \"{SECRET}!!\"\n    client-key-data: \"{SECRET}!!\""),
                "client certificate",
            ),
            (
                plugin(&format!("echo {SECRET}; echo not logged in >&2; exit 3")),
                "exit status: 3: not logged in",
            ),
            (
                plugin(&format!("echo '{{status: {{token: {SECRET}, x: [}}}}'")),
                "something else than an ExecCredential",
            ),
            (
                plugin(&format!(
                    "echo '{{{credential}, status: {{token: \"{SECRET}\\u0001\"}}}}'"
                )),
                "HTTP",
            ),
            (plugin("exec /none"), "exit status: 127"),
        ] {
            let told = told(&user).await;
            assert!(told.contains(why), "{user}\n{told}");
            assert!(!told.contains(SECRET), "{user}\n{told}");
        }
    }

    #[tokio::test]
    async fn a_plugin_that_fails_in_a_request_is_named_by_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let once = folder.path().join("once");
        let gives = "{status: {token: a, expirationTimestamp: \"2020-01-01T00:00:00Z\"}}";
        let user = plugin(&format!(
            "if test -e {once}; then echo {SECRET}; echo log in again >&2; exit 3; fi; touch {once}; echo '{gives}'",
            once = once.display()
        ));
        let cluster = connect(&access(&user, &folder)).await.expect("it is not run again yet");
        let resource = kinds::known("v1", "Pod");
        let told = cluster.list(&resource, &Selection::default()).await;
        let told = told.expect_err("no token").to_string();
        assert!(told.contains("failed with exit status: 3: log in again"), "{told}");
        assert!(!told.contains(SECRET), "{told}");
    }
}
