//! `bench provider`: the fixed costs of the provider: cold start, memory, binary size.

use super::table::{Table, mebibytes, milliseconds};
use crate::built::Programs;
use crate::measure;
use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Starts that are timed; the first few warm the page cache and are not counted.
const STARTS: usize = 30;
const WARM: usize = 5;

/// A certificate of the shape that Terraform hands over (P-521, self-signed, CA:TRUE); its key was thrown away.
const CLIENT_CERTIFICATE: &str = include_str!("client.pem");

/// Prints the figures.
pub(crate) fn run(programs: &Programs) -> Result<()> {
    let provider = programs.path("terraform-provider-myelin")?;
    let size = std::fs::metadata(&provider)
        .context("look at the provider's binary")?
        .len();
    let mut times = Vec::new();
    let mut resident = Vec::new();
    for number in 0..WARM + STARTS {
        let (time, kib) = start(&provider)?;
        if number >= WARM {
            times.push(time);
            resident.extend(kib);
        }
    }
    times.sort_unstable();
    resident.sort_unstable();
    let ms = |index: usize| milliseconds(times[index].as_secs_f64() * 1000.0);
    let title = format!("provider: exec to handshake line with mutual TLS, {STARTS} starts (targets: 30 ms, 25 MiB)");
    let mut table = Table::new(title, &["median", "fastest", "slowest", "resident then", "binary"]);
    table.row(
        "terraform-provider-myelin",
        vec![
            ms(times.len() / 2),
            ms(0),
            ms(times.len() - 1),
            mebibytes(resident.get(resident.len() / 2).copied().map(measure::mib)),
            mebibytes(Some(measure::mib(size / 1024))),
        ],
    );
    table.print();
    Ok(())
}

/// One start: the time until the line, and the resident memory right after it.
fn start(provider: &std::path::Path) -> Result<(Duration, Option<u64>)> {
    let began = Instant::now();
    let mut child = Command::new(provider)
        .env(
            "TF_PLUGIN_MAGIC_COOKIE",
            "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2",
        )
        .env("PLUGIN_PROTOCOL_VERSIONS", "5,6")
        .env("PLUGIN_CLIENT_CERT", CLIENT_CERTIFICATE)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start the provider")?;
    let mut line = String::new();
    let stdout = child.stdout.take().context("stdout is a pipe")?;
    let read = BufReader::new(stdout).read_line(&mut line);
    let time = began.elapsed();
    let resident = measure::memory_kib(child.id(), "VmRSS");
    child.kill().context("end the provider")?;
    let output = child.wait_with_output().context("wait for the provider")?;
    read.context("read the handshake line")?;
    if line.is_empty() {
        bail!("the provider said nothing\n{}", String::from_utf8_lossy(&output.stderr));
    }
    ensure!(
        line.starts_with("1|6|") && line.split('|').count() == 6,
        "not a handshake line: {line}"
    );
    Ok((time, resident))
}
