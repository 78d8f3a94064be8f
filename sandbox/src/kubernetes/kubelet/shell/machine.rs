//! What a modelled process sees of its container: files, output, time, the network and signals.
//!
//! A process is a future that is polled by the kubelet alone. When it must wait it leaves a `Need`, and the kubelet, which owns
//! the virtual clock and knows which Services have ready endpoints, answers it. There is no real I/O here.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

/// Milliseconds since the epoch, on the sandbox's clock.
pub(crate) type Millis = i64;

/// What a process waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    /// A time.
    Until(Millis),
    /// A TCP connection, refused or accepted at once; an address without an answer takes until the timeout.
    Connect { host: String, port: u16, timeout: Millis },
    /// The end of all background jobs.
    Children,
    /// Nothing that will ever come.
    Forever,
}

/// The answer to a need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Go on.
    Done,
    /// The connection failed.
    Refused,
    /// There is no such host.
    Unknown,
    /// A signal came instead.
    Interrupted,
}

/// A file of a container. Only the first bytes are kept; the size is true.
#[derive(Debug, Clone, Default)]
pub(crate) struct File {
    pub(crate) data: Vec<u8>,
    pub(crate) size: u64,
}

/// Files of a container or of a volume that several share.
pub(crate) type Files = Arc<Mutex<BTreeMap<String, File>>>;

/// How much of a file or of a log is kept.
pub(crate) const KEPT: usize = 256 * 1024;
const MOST_FILES: usize = 10_000;

/// A line of output with its time, for `kubectl logs --timestamps`.
#[derive(Debug, Clone)]
pub(crate) struct LogLine {
    pub(crate) at: Millis,
    pub(crate) text: Vec<u8>,
}

/// What a container wrote, oldest first; bounded.
#[derive(Debug)]
pub(crate) struct Log {
    lines: VecDeque<LogLine>,
    bytes: usize,
    open: bool,
    /// How many lines were dropped from the front.
    dropped: usize,
    closed: bool,
    pulse: tokio::sync::watch::Sender<()>,
}

impl Default for Log {
    fn default() -> Self {
        let pulse = tokio::sync::watch::Sender::new(());
        Self {
            lines: VecDeque::new(),
            bytes: 0,
            open: false,
            dropped: 0,
            closed: false,
            pulse,
        }
    }
}

impl Log {
    pub(crate) fn write(&mut self, at: Millis, text: &[u8]) {
        for piece in text.split_inclusive(|b| *b == b'\n') {
            if self.open
                && let Some(last) = self.lines.back_mut()
            {
                last.text.extend_from_slice(piece);
            } else {
                self.lines.push_back(LogLine {
                    at,
                    text: piece.to_vec(),
                });
            }
            self.open = !piece.ends_with(b"\n");
            self.bytes += piece.len();
        }
        while self.bytes > KEPT {
            match self.lines.pop_front() {
                Some(line) => {
                    self.bytes -= line.text.len();
                    self.dropped += 1;
                }
                None => break,
            }
        }
        self.pulse.send_modify(|()| {});
    }

    /// Nothing more will come.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.pulse.send_modify(|()| {});
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Tells when something was written.
    pub(crate) fn changes(&self) -> tokio::sync::watch::Receiver<()> {
        self.pulse.subscribe()
    }

    /// The lines after the first `skip` ever written.
    pub(crate) fn after(&self, skip: usize) -> impl Iterator<Item = &LogLine> {
        self.lines.iter().skip(skip.saturating_sub(self.dropped))
    }

    /// How many lines were ever written.
    pub(crate) fn count(&self) -> usize {
        self.dropped + self.lines.len()
    }

    pub(crate) fn text(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|line| line.text.iter().copied()).collect()
    }
}

/// A container as its processes see it; cloning gives another hand on the same one.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// The container's own files.
    pub(crate) root: Files,
    /// Mount path and the volume's files, longest path first.
    pub(crate) mounts: Arc<Vec<(String, Files)>>,
    /// The environment at start.
    pub(crate) environment: Arc<BTreeMap<String, String>>,
    /// The host name.
    pub(crate) hostname: Arc<str>,
    /// Whether the image is a known set of applets, in which an unknown command is an error and not a server.
    pub(crate) closed: bool,
    /// The memory limit in bytes, if there is one.
    pub(crate) memory: Option<u64>,
}

impl Machine {
    pub(crate) fn new(
        hostname: &str,
        environment: BTreeMap<String, String>,
        mounts: Vec<(String, Files)>,
        closed: bool,
    ) -> Self {
        let mut mounts = mounts;
        mounts.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        let root = Files::default();
        for device in ["/dev/null", "/dev/zero", "/dev/termination-log", "/etc/hostname"] {
            lock(&root).insert(device.to_owned(), File::default());
        }
        Self {
            root,
            mounts: Arc::new(mounts),
            environment: Arc::new(environment),
            hostname: Arc::from(hostname),
            closed,
            memory: None,
        }
    }

    fn place<'a>(&self, path: &'a str) -> (&Files, &'a str) {
        for (mount, files) in self.mounts.iter() {
            if let Some(rest) = path.strip_prefix(mount.trim_end_matches('/'))
                && (rest.is_empty() || rest.starts_with('/'))
            {
                return (files, rest.trim_start_matches('/'));
            }
        }
        (&self.root, path)
    }

    pub(crate) fn read(&self, path: &str) -> Option<File> {
        if path == "/etc/hostname" {
            let data = format!("{}\n", self.hostname).into_bytes();
            return Some(File {
                size: data.len() as u64,
                data,
            });
        }
        let (files, path) = self.place(path);
        lock(files).get(path).cloned()
    }

    /// Whether there is a file or a folder of that name, and whether it is a folder.
    pub(crate) fn exists(&self, path: &str) -> Option<bool> {
        if path == "/"
            || self
                .mounts
                .iter()
                .any(|(mount, _)| mount.trim_end_matches('/') == path.trim_end_matches('/'))
        {
            return Some(true);
        }
        let (files, path) = self.place(path.trim_end_matches('/'));
        let files = lock(files);
        if files.contains_key(path) {
            return Some(false);
        }
        let folder = format!("{path}/");
        let inside = files
            .range(folder.clone()..)
            .next()
            .is_some_and(|(name, _)| name.starts_with(&folder));
        (inside || matches!(path, "/tmp" | "/etc" | "/var" | "/bin" | "/usr" | "/root" | "/dev")).then_some(true)
    }

    pub(crate) fn write(&self, path: &str, data: &[u8], append: bool, size: Option<u64>) -> Result<(), &'static str> {
        if path == "/dev/null" || path == "/dev/stdout" || path == "/dev/stderr" {
            return Ok(());
        }
        let (files, path) = self.place(path);
        let mut files = lock(files);
        if files.len() >= MOST_FILES && !files.contains_key(path) {
            return Err("No space left on device");
        }
        let file = files.entry(path.to_owned()).or_default();
        if !append {
            *file = File::default();
        }
        let room = KEPT.saturating_sub(file.data.len());
        file.data.extend_from_slice(&data[..data.len().min(room)]);
        file.size += size.unwrap_or(data.len() as u64);
        Ok(())
    }

    pub(crate) fn remove(&self, path: &str) -> bool {
        let (files, path) = self.place(path.trim_end_matches('/'));
        let mut files = lock(files);
        let before = files.len();
        let folder = format!("{path}/");
        files.retain(|name, _| name != path && !name.starts_with(&folder));
        files.len() < before
    }

    /// Names directly inside a folder.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let (files, path) = self.place(path.trim_end_matches('/'));
        let folder = if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        };
        let files = lock(files);
        let inside = files.keys().filter_map(|name| name.strip_prefix(&folder));
        let mut names: Vec<String> = inside
            .filter_map(|rest| rest.split('/').next())
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        names.dedup();
        names.retain(|name| !name.is_empty());
        names
    }
}

/// Bytes in the files of a volume.
pub(crate) fn usage(files: &Files) -> u64 {
    lock(files).values().map(|file| file.size).sum()
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a process and the kubelet pass to each other.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    pub(crate) now: Millis,
    pub(crate) need: Option<Need>,
    pub(crate) answer: Option<Answer>,
    pub(crate) signal: Option<u8>,
    /// Signals that the process handles; the others are ignored, as the first process of a container ignores them.
    pub(crate) traps: BTreeMap<u8, String>,
    /// A server that ends when it is told to.
    pub(crate) obedient: bool,
    pub(crate) oom: bool,
    /// When `timeout` ends what it started, and the alarm that rang.
    pub(crate) alarms: Vec<Millis>,
    pub(crate) rang: Option<Millis>,
    pub(crate) steps: u32,
}

/// A process' end of the mailbox.
pub(crate) type Shared = Arc<Mutex<Mailbox>>;

/// Wait for something. Only the kubelet ends the wait.
pub(crate) async fn wait(shared: &Shared, need: Need) -> Answer {
    let mut asked = false;
    poll_fn(|_| {
        let mut mailbox = lock(shared);
        if let (true, Some(answer)) = (asked, mailbox.answer.take()) {
            mailbox.need = None;
            return Poll::Ready(answer);
        }
        if !asked {
            asked = true;
            mailbox.answer = None;
            mailbox.need = Some(need.clone());
        }
        Poll::Pending
    })
    .await
}
