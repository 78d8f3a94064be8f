//! A command in a running pod, over the WebSocket exec protocol. Output is bounded, never logged, and wiped when dropped.

use super::ClusterError;
use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use zeroize::Zeroizing;

/// Bytes of each output stream that are read; more is an error.
const MAX_OUTPUT: usize = 1 << 20;

/// What to run, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodCommand {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Container; the pod's default when None.
    pub container: Option<String>,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Time limit of the wait.
    pub deadline: Duration,
}

/// What a command printed, and how it ended.
pub struct CommandOutput {
    /// Standard output.
    pub stdout: Zeroizing<Vec<u8>>,
    /// Standard error.
    pub stderr: Zeroizing<Vec<u8>>,
    /// Exit code; None when the server did not tell it.
    pub exit_code: Option<i32>,
    /// What the server said of an end that is no success.
    pub message: String,
}

impl std::fmt::Debug for CommandOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CommandOutput(exit code {:?})", self.exit_code)
    }
}

/// Runs a command, with a text on its standard input if there is one.
pub(super) async fn run(
    client: kube::Client,
    command: &PodCommand,
    stdin: Option<&[u8]>,
) -> Result<CommandOutput, ClusterError> {
    tokio::time::timeout(command.deadline, exchange(client, command, stdin))
        .await
        .unwrap_or(Err(ClusterError::TimedOut(command.deadline)))
}

async fn exchange(
    client: kube::Client,
    command: &PodCommand,
    stdin: Option<&[u8]>,
) -> Result<CommandOutput, ClusterError> {
    let pods: Api<Pod> = Api::namespaced(client, &command.namespace);
    let mut how = AttachParams::default()
        .stdin(stdin.is_some())
        .stdout(true)
        .stderr(true)
        .tty(false);
    how.container.clone_from(&command.container);
    let mut process = pods
        .exec(&command.pod, command.argv.clone(), &how)
        .await
        .map_err(refused)?;
    let status = process.take_status();
    if let (Some(mut pipe), Some(text)) = (process.stdin(), stdin) {
        // A program that does not read its input is not an error.
        let _ = pipe.write_all(text).await;
        let _ = pipe.shutdown().await;
    }
    let (out, err) = (process.stdout(), process.stderr());
    let (stdout, stderr) = futures::join!(read(out), read(err));
    let (stdout, stderr) = (stdout?, stderr?);
    let status = match status {
        Some(status) => status.boxed().await,
        None => None,
    };
    let (exit_code, message) = match status {
        Some(status) if status.status.as_deref() == Some("Success") => (Some(0), String::new()),
        Some(status) => {
            let causes = status.details.and_then(|d| d.causes).unwrap_or_default();
            let code = causes.iter().find(|c| c.reason.as_deref() == Some("ExitCode"));
            let code = code.and_then(|c| c.message.as_deref()?.parse().ok());
            (code, status.message.unwrap_or_default())
        }
        None => (None, "the connection ended before the command did".into()),
    };
    Ok(CommandOutput {
        stdout,
        stderr,
        exit_code,
        message,
    })
}

async fn read(pipe: Option<impl AsyncRead + Unpin>) -> Result<Zeroizing<Vec<u8>>, ClusterError> {
    // Allocated at once, because a growing buffer leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    if let Some(pipe) = pipe {
        let limit = u64::try_from(MAX_OUTPUT).unwrap_or(u64::MAX) + 1;
        let read = pipe.take(limit).read_to_end(&mut bytes).await;
        read.map_err(|e| ClusterError::Unreachable(format!("the output broke off: {e}")))?;
    }
    if bytes.len() > MAX_OUTPUT {
        return Err(ClusterError::Unreadable(format!(
            "the command printed more than {MAX_OUTPUT} bytes"
        )));
    }
    Ok(bytes)
}

/// The refusal of an upgrade carries only a status.
fn refused(error: kube::Error) -> ClusterError {
    use kube::client::UpgradeConnectionError::ProtocolSwitch;
    match error {
        kube::Error::UpgradeConnection(ProtocolSwitch(status)) => {
            let body = format!(
                "{{\"message\":\"the command was refused with HTTP status {}\"}}",
                status.as_u16()
            );
            ClusterError::from_status(status.as_u16(), body.as_bytes(), None)
        }
        kube::Error::Api(status) => {
            let body = serde_json::to_vec(&*status).unwrap_or_default();
            ClusterError::from_status(status.code, &body, None)
        }
        other => super::wire::unreachable(other),
    }
}
