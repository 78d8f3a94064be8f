//! A real local process behind a pod, if a test configured one in `Config::commands`.

use std::process::Stdio;

use axum::extract::ws::WebSocket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::channel::{self, Channel, Received};

/// Run a program with its streams on a socket; it is killed when the client disconnects.
pub(crate) async fn run(mut socket: WebSocket, program: &[String], stdin: bool) {
    let Some((path, arguments)) = program.split_first() else {
        return;
    };
    let input = if stdin { Stdio::piped() } else { Stdio::null() };
    let child = Command::new(path)
        .args(arguments)
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            let why = format!("cannot start the local process {path}: {error}");
            return channel::finish(&mut socket, &channel::failure_status(&why)).await;
        }
    };
    let (mut out, mut err, mut input) = (child.stdout.take(), child.stderr.take(), child.stdin.take());
    let (mut out_buffer, mut err_buffer) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    while out.is_some() || err.is_some() {
        tokio::select! {
            read = read(&mut out, &mut out_buffer) => match read {
                0 => out = None,
                n => if channel::send(&mut socket, Channel::Stdout, &out_buffer[..n]).await.is_err() { return },
            },
            read = read(&mut err, &mut err_buffer) => match read {
                0 => err = None,
                n => if channel::send(&mut socket, Channel::Stderr, &err_buffer[..n]).await.is_err() { return },
            },
            message = socket.recv() => match message.map(|message| message.map(channel::read)) {
                Some(Ok(Received::Input(bytes))) => if let Some(pipe) = &mut input {
                    // A program that has closed its input does not want it.
                    if pipe.write_all(&bytes).await.is_err() { input = None }
                },
                Some(Ok(Received::InputEnds)) => input = None,
                Some(Ok(Received::Other)) => {}
                Some(Ok(Received::Gone) | Err(_)) | None => return,
            },
        }
    }
    let status = match child.wait().await {
        Ok(status) => channel::exit_status(status.code().unwrap_or(137)),
        Err(error) => channel::failure_status(&error.to_string()),
    };
    channel::finish(&mut socket, &status).await;
}

/// Bytes from a pipe; 0 at its end. Pends forever once it is gone.
async fn read<R: AsyncReadExt + Unpin>(pipe: &mut Option<R>, buffer: &mut [u8]) -> usize {
    match pipe {
        Some(pipe) => pipe.read(buffer).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}
