//! The cost of a program: wall time, CPU time and peak memory, of it and of the processes it started.
//!
//! Memory is read from `/proc` while the program runs (`VmHWM`, the kernel's own high-water mark, so a late look misses
//! only what was added since the last one). CPU time is what the kernel adds to the parent when a child is waited for.
//! Without `/proc` both are absent rather than guessed.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Between two looks at a running program's memory.
const LOOK: Duration = Duration::from_millis(4);

/// `sysconf(_SC_CLK_TCK)`: Linux fixes it at 100 for every user-visible interface.
const TICKS_PER_SECOND: f64 = 100.0;

/// What one run cost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cost {
    /// From the start to the exit.
    pub(crate) wall: Duration,
    /// User and system time in seconds, of the program and of everything it waited for; 10 ms fine.
    pub(crate) cpu: Option<f64>,
    /// Highest resident memory in KiB, by program name: the sum over processes of that name.
    pub(crate) peak_kib: BTreeMap<String, u64>,
}

impl Cost {
    /// Peak memory of all processes of the run whose name starts so, in MiB.
    pub(crate) fn peak_mib(&self, name: &str) -> Option<f64> {
        let kib: u64 = self
            .peak_kib
            .iter()
            .filter(|(of, _)| of.starts_with(name))
            .map(|(_, kib)| kib)
            .sum();
        (kib > 0).then(|| mib(kib))
    }

    /// Peak memory of all processes of the run, in MiB.
    pub(crate) fn peak_all_mib(&self) -> Option<f64> {
        self.peak_mib("")
    }
}

/// KiB to MiB.
#[allow(clippy::cast_precision_loss, reason = "memory in KiB is far below 2^52")]
pub(crate) fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// What a run printed, and what it cost.
pub(crate) struct Run {
    /// Its stdout.
    pub(crate) stdout: String,
    /// Its stderr.
    pub(crate) stderr: String,
    /// Its cost.
    pub(crate) cost: Cost,
}

/// Runs a program to its end; it must succeed.
///
/// # Errors
/// When it cannot be started or fails; the error carries what it printed.
pub(crate) fn run(command: &mut Command) -> Result<Run> {
    let shown = format!("{command:?}");
    // Files rather than pipes, so that nothing has to be read while the program runs.
    let (mut stdout, mut stderr) = (scratch()?, scratch()?);
    let cpu_before = children_cpu_seconds();
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().context("share a scratch file")?)
        .stderr(stderr.try_clone().context("share a scratch file")?)
        .spawn()
        .with_context(|| format!("start {shown}"))?;
    let mut peaks: BTreeMap<u32, (String, u64)> = BTreeMap::new();
    let status = loop {
        look(child.id(), &mut peaks);
        if let Some(status) = child.try_wait().with_context(|| format!("wait for {shown}"))? {
            break status;
        }
        std::thread::sleep(LOOK);
    };
    let wall = start.elapsed();
    let cpu = cpu_before
        .zip(children_cpu_seconds())
        .map(|(before, after)| after - before);
    let mut peak_kib = BTreeMap::new();
    for (name, kib) in peaks.into_values() {
        *peak_kib.entry(name).or_insert(0) += kib;
    }
    let (stdout, stderr) = (read(&mut stdout)?, read(&mut stderr)?);
    ensure!(status.success(), "{shown} failed ({status})\n{stdout}{stderr}");
    Ok(Run {
        stdout,
        stderr,
        cost: Cost { wall, cpu, peak_kib },
    })
}

/// An unnamed file: it goes when it is closed, and so cannot be left behind.
fn scratch() -> Result<fs::File> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("myelin-xtask-{}-{number}", std::process::id()));
    let file = fs::File::options()
        .read(true)
        .append(true)
        .create_new(true)
        .open(&path)
        .with_context(|| format!("make {}", path.display()))?;
    fs::remove_file(&path).with_context(|| format!("unlink {}", path.display()))?;
    Ok(file)
}

fn read(file: &mut fs::File) -> Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).context("rewind a scratch file")?;
    file.read_to_end(&mut bytes).context("read a scratch file")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// CPU seconds of all children that this process has waited for.
fn children_cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name in parentheses and may hold spaces; counting starts after it, at field 3.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    // Fields 16 and 17 of proc(5): cutime and cstime.
    Some((ticks(13)? + ticks(14)?) / TICKS_PER_SECOND)
}

/// Notes the high-water mark of a process and of all below it.
fn look(pid: u32, peaks: &mut BTreeMap<u32, (String, u64)>) {
    if let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) {
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let peak = field("VmHWM:").and_then(|value| value.split_whitespace().next()?.parse().ok());
        if let (Some(name), Some(peak)) = (field("Name:"), peak) {
            let seen = peaks.entry(pid).or_insert_with(|| (name.to_owned(), 0));
            // A process is briefly a copy of its parent: what counts is the program it became.
            if seen.0 != name {
                *seen = (name.to_owned(), 0);
            }
            seen.1 = seen.1.max(peak);
        }
    }
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return;
    };
    for thread in threads.flatten() {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            look(child, peaks);
        }
    }
}

/// Resident memory of a running process in KiB: the field's value now (`VmRSS`) or at its highest (`VmHWM`).
pub(crate) fn memory_kib(pid: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_measured_with_the_processes_it_starts() {
        let run = run(Command::new("sh").args(["-c", "sleep 0.1; echo out; echo err >&2; sh -c 'sleep 0.1; :'"]))
            .expect("sh runs");
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("out\n", "err\n"));
        assert!(run.cost.wall >= Duration::from_millis(200));
        if cfg!(target_os = "linux") {
            assert!(run.cost.peak_mib("sh").is_some_and(|peak| peak > 0.1), "{:?}", run.cost);
            assert!(run.cost.peak_mib("sleep").is_some(), "{:?}", run.cost);
            assert!(run.cost.cpu.is_some());
        }
    }

    #[test]
    fn a_run_that_fails_tells_what_it_said() {
        let error = run(Command::new("sh").args(["-c", "echo because >&2; exit 3"]))
            .err()
            .expect("it fails");
        assert!(format!("{error:#}").contains("because"));
    }
}
