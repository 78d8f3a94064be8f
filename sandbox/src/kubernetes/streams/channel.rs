//! The channel protocols of `kubectl exec`: one byte that says which stream, then bytes.
//!
//! `v4.channel.k8s.io` ends with a `Status` on the error channel; `v5.channel.k8s.io` can also close standard input, with a frame of 255
//! and the channel. The SPDY protocol of old clients is not spoken: they fall back from it, not to it.

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::Bytes;
use serde_json::{Value, json};

/// Which stream a frame to the client belongs to. From the client come 0, standard input, and 4, the size of its terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    Stdout = 1,
    Stderr = 2,
    Error = 3,
}

/// The protocols that are offered, best first.
pub(crate) const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// Bytes for standard input.
    Input(Bytes),
    /// No more of them will come.
    InputEnds,
    /// The client is gone.
    Gone,
    /// Nothing that matters here.
    Other,
}

/// Read what a message means.
pub(crate) fn read(message: Message) -> Received {
    match message {
        Message::Binary(bytes) => match bytes.split_first() {
            Some((0, rest)) => Received::Input(Bytes::copy_from_slice(rest)),
            Some((255, [0, ..])) => Received::InputEnds,
            _ => Received::Other,
        },
        Message::Close(_) => Received::Gone,
        _ => Received::Other,
    }
}

/// Send bytes on a channel. `Err` means that the client is gone.
pub(crate) async fn send(socket: &mut WebSocket, channel: Channel, bytes: &[u8]) -> Result<(), ()> {
    // No frame is larger than what clients read at once.
    for piece in bytes.chunks(32 * 1024) {
        let mut frame = Vec::with_capacity(piece.len() + 1);
        frame.push(channel as u8);
        frame.extend_from_slice(piece);
        socket.send(Message::Binary(frame.into())).await.map_err(|_| ())?;
    }
    Ok(())
}

/// An empty frame, by which a client knows that the streams are open.
pub(crate) async fn open(socket: &mut WebSocket, channel: Channel) -> Result<(), ()> {
    socket
        .send(Message::Binary(vec![channel as u8].into()))
        .await
        .map_err(|_| ())
}

/// How a command ended, as the error channel says it.
pub(crate) fn exit_status(code: i32) -> Value {
    if code == 0 {
        return json!({"metadata": {}, "status": "Success"});
    }
    json!({
        "metadata": {}, "status": "Failure", "message": format!("command terminated with non-zero exit code: exit status {code}"), "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
}

/// A command that could not be started.
pub(crate) fn failure_status(why: &str) -> Value {
    json!({
        "metadata": {}, "status": "Failure", "message": format!("Internal error occurred: {why}"), "reason": "InternalError",
        "details": {"causes": [{"message": why}]}, "code": 500,
    })
}

/// Say how it ended and close.
pub(crate) async fn finish(socket: &mut WebSocket, status: &Value) {
    if send(socket, Channel::Error, status.to_string().as_bytes())
        .await
        .is_ok()
    {
        // The client may have closed first.
        let normal = CloseFrame {
            code: close_code::NORMAL,
            reason: "".into(),
        };
        let _ = socket.send(Message::Close(Some(normal))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_by_their_first_byte() {
        for (bytes, means) in [
            (&[0_u8, b'a'][..], Received::Input(Bytes::from_static(b"a"))),
            (&[255, 0], Received::InputEnds),
            (&[255, 1], Received::Other),
            (&[4, b'{'], Received::Other),
            (&[], Received::Other),
        ] {
            assert_eq!(read(Message::Binary(Bytes::copy_from_slice(bytes))), means, "{bytes:?}");
        }
    }

    #[test]
    fn an_exit_code_is_a_cause_that_clients_read() {
        assert_eq!(exit_status(0)["status"], "Success");
        assert_eq!(
            exit_status(7)["details"]["causes"][0],
            json!({"reason": "ExitCode", "message": "7"})
        );
    }
}
