//! Questions to the agent of this machine, over its socket.
#![allow(clippy::print_stdout, reason = "what a command prints is its result")]

use crate::config::Admin;
use clap::Args;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// Largest answer: a thousand peers are about 150 kB.
const LIMIT: u64 = 8 << 20;

/// Which agent.
#[derive(Debug, Args)]
pub(super) struct Where {
    /// Its socket [default: /run/myelin-agent/agent.sock]
    #[arg(long)]
    socket: Option<PathBuf>,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

fn ask(place: &Where, method: &str, path: &str) -> Result<(u16, Value), String> {
    let socket = place.socket.clone().unwrap_or_else(|| Admin::default().socket);
    let at = socket.display();
    let fail = |e: std::io::Error| format!("ask the agent at {at}: {e}; does it run, and are you in its group?");
    let mut stream = UnixStream::connect(&socket).map_err(fail)?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(fail)?;
    stream.set_write_timeout(Some(Duration::from_secs(10))).map_err(fail)?;
    let request = format!("{method} {path} HTTP/1.1\r\nhost: agent\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(fail)?;
    let mut text = String::new();
    stream.take(LIMIT).read_to_string(&mut text).map_err(fail)?;
    let unreadable = || format!("the agent at {at} gave an answer that cannot be read");
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(unreadable)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .ok_or_else(unreadable)?;
    Ok((status, serde_json::from_str(body).map_err(|_| unreadable())?))
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or("-")
}

/// Prints the peers.
pub(super) fn peers(place: &Where) -> Result<(), String> {
    let (_, answer) = ask(place, "GET", "/peers")?;
    if place.json {
        println!("{answer:#}");
        return Ok(());
    }
    let peers = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    if peers.is_empty() {
        println!("no peers are known");
        let (_, status) = ask(place, "GET", "/status")?;
        if let Some(why) = status.get("peersTrouble").and_then(Value::as_str) {
            println!("{why}");
        }
        return Ok(());
    }
    println!("{:<21} {:<16} {:<6} STATE", "INSTANCE", "ADDRESS", "PORT");
    for peer in peers {
        let port = peer.get("port").and_then(Value::as_u64).unwrap_or(0);
        println!(
            "{:<21} {:<16} {:<6} {}",
            text(peer, "instance"),
            text(peer, "address"),
            port,
            text(peer, "presence")
        );
    }
    Ok(())
}

/// Prints the node.
pub(super) fn status(place: &Where) -> Result<(), String> {
    let (_, answer) = ask(place, "GET", "/status")?;
    if place.json {
        println!("{answer:#}");
        return Ok(());
    }
    for (name, field) in [
        ("instance", "instance"),
        ("cluster", "cluster"),
        ("role", "role"),
        ("zone", "zone"),
        ("address", "address"),
        ("state", "presence"),
        ("tag", "tag"),
        ("workload", "workload"),
    ] {
        println!("{name:<10} {}", text(&answer, field));
    }
    let number = |field: &str| answer.get(field).and_then(Value::as_u64).unwrap_or(0);
    println!("{:<10} {}", "restarts", number("restarts"));
    println!("{:<10} {}", "in flight", number("inFlight"));
    for (name, field) in [
        ("because", "why"),
        ("metadata", "metadataTrouble"),
        ("peers", "peersTrouble"),
    ] {
        if let Some(why) = answer.get(field).and_then(Value::as_str) {
            println!("{name:<10} {why}");
        }
    }
    if let Some(drain) = answer.get("drain") {
        let causes: Vec<&str> = drain["causes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let (step, causes) = (text(drain, "step"), causes.join(", "));
        match step {
            "drained" => println!("{:<10} {step} ({causes})", "drain"),
            _ => println!("{:<10} {step} ({causes}), {} s left", "drain", drain["secondsLeft"]),
        }
    }
    Ok(())
}

/// Changes something, and prints what was done.
pub(super) fn change(place: &Where, path: &str) -> Result<(), String> {
    let (status, answer) = ask(place, "POST", path)?;
    if status != 200 {
        return Err(text(&answer, "error").to_owned());
    }
    if place.json {
        println!("{answer:#}");
    } else {
        println!("{}", text(&answer, "done"));
    }
    Ok(())
}
