//! A model of the processes in containers: a small shell and the applets that manifests use, on virtual time.
//!
//! The kubelet holds a `Process`: it runs it, tells it what it can reach, and signals it. A process never touches the
//! real machine: files are in memory, and connections are lookups of the sandbox's own Services.

mod applets;
mod expand;
mod machine;
mod parse;
mod run;
mod syntax;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

pub(crate) use machine::{File, Files, KEPT, Log, Machine, Millis, lock, usage};

use machine::{Answer, Mailbox, Need, Shared};

/// SIGTERM.
pub(crate) const TERM: u8 = 15;

/// Whether a program is modelled.
pub(crate) fn knows(program: &str) -> bool {
    applets::known(program)
}

/// Who answers at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Somebody listens.
    Open,
    /// The connection is refused.
    Refused,
    /// The name is not known.
    Unknown,
    /// Nobody answers at all.
    Silent,
}

/// The state of a process after it has run as far as it could.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It waits until a time, or for a signal.
    Waits(Option<Millis>),
    /// It ended with a code.
    Ended(i32),
    /// It used more memory than it may.
    OutOfMemory,
}

struct Task {
    future: Pin<Box<dyn Future<Output = i32> + Send>>,
    shared: Shared,
    /// Until when a connection hangs.
    hangs: Option<Millis>,
    ended: Option<i32>,
}

/// A process in a container, with its background jobs.
pub(crate) struct Process {
    tasks: Vec<Task>,
    jobs: Arc<Mutex<Vec<run::Job>>>,
    /// What it wrote to either stream.
    pub(crate) log: Arc<Mutex<Log>>,
    /// Standard output alone, for exec.
    pub(crate) out: Arc<Mutex<Vec<u8>>>,
    /// Standard error alone, for exec.
    pub(crate) err: Arc<Mutex<Vec<u8>>>,
    /// When it goes on by itself.
    pub(crate) due: Option<Millis>,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process")
            .field("tasks", &self.tasks.len())
            .finish_non_exhaustive()
    }
}

impl Process {
    /// Start a command line in a container. `Err` is the runtime's reason that it cannot be started.
    pub(crate) fn start(machine: &Machine, argv: &[String], stdin: Vec<u8>, now: Millis) -> Result<Self, String> {
        let path = argv.first().map_or("", String::as_str);
        let program = path.rsplit('/').next().unwrap_or(path);
        if argv.is_empty() || (machine.closed && !applets::known(program)) {
            let reason = if path.starts_with('/') {
                format!("stat {path}: no such file or directory")
            } else {
                "executable file not found in $PATH".to_owned()
            };
            return Err(format!("exec: \"{path}\": {reason}"));
        }
        let shared: Shared = Arc::new(Mutex::new(Mailbox {
            now,
            ..Mailbox::default()
        }));
        let log = Arc::new(Mutex::new(Log::default()));
        let (out, err) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let jobs = Arc::new(Mutex::new(Vec::new()));
        let sinks = run::Sinks::new(log.clone(), out.clone(), err.clone());
        let future = Box::pin(run::main(
            machine.clone(),
            argv.to_vec(),
            stdin,
            shared.clone(),
            sinks,
            jobs.clone(),
        ));
        Ok(Self {
            tasks: vec![Task {
                future,
                shared,
                hangs: None,
                ended: None,
            }],
            jobs,
            log,
            out,
            err,
            due: None,
        })
    }

    /// Run all that can run at this time.
    pub(crate) fn run(&mut self, now: Millis, reach: &dyn Fn(&str, u16) -> Reach) -> Progress {
        let progress = self.advance(now, reach);
        self.due = if let Progress::Waits(due) = progress { due } else { None };
        progress
    }

    fn advance(&mut self, now: Millis, reach: &dyn Fn(&str, u16) -> Reach) -> Progress {
        // Jobs may make jobs: the bound is for a script that does nothing else.
        for _ in 0..1000 {
            let mut moved = false;
            for i in 0..self.tasks.len() {
                let alone = self.tasks[1..].iter().all(|task| task.ended.is_some());
                let jobs = self.jobs.clone();
                moved |= self.tasks[i].run(now, reach, &|| alone && lock(&jobs).is_empty());
            }
            for (future, shared) in lock(&self.jobs).drain(..) {
                self.tasks.push(Task {
                    future,
                    shared,
                    hangs: None,
                    ended: None,
                });
                moved = true;
            }
            if let Some(code) = self.tasks[0].ended {
                return if lock(&self.tasks[0].shared).oom {
                    Progress::OutOfMemory
                } else {
                    Progress::Ended(code)
                };
            }
            if !moved {
                break;
            }
        }
        self.tasks.retain(|task| task.ended.is_none());
        Progress::Waits(self.tasks.iter().filter_map(Task::due).min())
    }

    /// Deliver SIGTERM; `run` shows the effect. A process that does not handle it ignores it, as the first of a container does.
    pub(crate) fn terminate(&mut self) {
        let task = &mut self.tasks[0];
        let mut mailbox = lock(&task.shared);
        if mailbox.traps.contains_key(&TERM) {
            mailbox.signal = Some(TERM);
        }
        // A shell waits for the command in its foreground; a server or a bare `wait` is interrupted.
        if mailbox.obedient
            || (mailbox.signal.is_some() && matches!(mailbox.need, Some(Need::Forever | Need::Children)))
        {
            mailbox.answer = Some(Answer::Interrupted);
        }
    }
}

impl Task {
    /// When it can go on by itself.
    fn due(&self) -> Option<Millis> {
        let mailbox = lock(&self.shared);
        let need = match (&mailbox.need, self.hangs) {
            (_, Some(at)) => Some(at),
            (Some(Need::Until(at)), None) => Some(*at),
            _ => None,
        };
        need.into_iter().chain(mailbox.alarms.iter().copied()).min()
    }

    fn run(&mut self, now: Millis, reach: &dyn Fn(&str, u16) -> Reach, alone: &dyn Fn() -> bool) -> bool {
        if self.ended.is_some() {
            return false;
        }
        let mut moved = false;
        for _ in 0..100_000 {
            {
                let mut mailbox = lock(&self.shared);
                mailbox.now = now;
                if mailbox.answer.is_none() {
                    mailbox.answer = match mailbox.need.clone() {
                        None => None,
                        Some(_) if mailbox.alarms.iter().any(|alarm| *alarm <= now) => {
                            mailbox.rang = mailbox.alarms.iter().copied().find(|alarm| *alarm <= now);
                            Some(Answer::Interrupted)
                        }
                        Some(Need::Until(at)) if at <= now => Some(Answer::Done),
                        Some(Need::Children) if alone() => Some(Answer::Done),
                        Some(Need::Connect { host, port, timeout }) => match (self.hangs, reach(&host, port)) {
                            (Some(until), _) if until <= now => {
                                self.hangs = None;
                                Some(Answer::Refused)
                            }
                            (Some(_), _) => None,
                            (None, Reach::Open) => Some(Answer::Done),
                            (None, Reach::Refused) => Some(Answer::Refused),
                            (None, Reach::Unknown) => Some(Answer::Unknown),
                            (None, Reach::Silent) => {
                                self.hangs = Some(now + timeout.max(1));
                                None
                            }
                        },
                        Some(_) => None,
                    };
                }
                if mailbox.need.is_some() && mailbox.answer.is_none() {
                    return moved;
                }
            }
            moved = true;
            if let Poll::Ready(code) = self.future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                self.ended = Some(code);
                return true;
            }
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn machine() -> Machine {
        Machine::new(
            "pod-0",
            BTreeMap::from([("NAME".into(), "axon".into())]),
            vec![("/state".into(), Files::default())],
            true,
        )
    }

    fn start(machine: &Machine, argv: &[&str]) -> Process {
        let argv: Vec<String> = argv.iter().map(|s| (*s).to_owned()).collect();
        Process::start(machine, &argv, Vec::new(), 0).expect("starts")
    }

    /// Runs a script to its end on its own clock. Returns exit code, output and duration.
    fn run(script: &str, reach: &dyn Fn(&str, u16, Millis) -> Reach) -> (i32, String, Millis) {
        let mut process = start(&machine(), &["sh", "-c", script]);
        let mut now = 0;
        for _ in 0..1000 {
            let code = match process.run(now, &|host, port| reach(host, port, now)) {
                Progress::Waits(Some(at)) => {
                    now = at;
                    continue;
                }
                Progress::Waits(None) => -1,
                Progress::Ended(code) => code,
                Progress::OutOfMemory => 137,
            };
            return (
                code,
                String::from_utf8_lossy(&lock(&process.log).text()).into_owned(),
                now,
            );
        }
        panic!("never ends: {script}");
    }

    #[test]
    fn scripts_do_what_a_shell_does() {
        for (script, code, output, millis) in [
            (
                "echo 'fatal: no database url' >&2; exit 3",
                3,
                "fatal: no database url\n",
                0,
            ),
            ("sleep 1; echo done", 0, "done\n", 1000),
            ("true && echo a || echo b", 0, "a\n", 0),
            ("false && echo a || echo b", 0, "b\n", 0),
            ("! false", 0, "", 0),
            (
                "n=$(cat /state/n 2>/dev/null || echo 0); echo $((n+1)) > /state/n; cat /state/n",
                0,
                "1\n",
                0,
            ),
            ("[ -e /state/x ] || { touch /state/x; exit 1; }; exit 0", 1, "", 0),
            ("for i in a b 'c d'; do echo \"<$i>\"; done", 0, "<a>\n<b>\n<c d>\n", 0),
            (
                "i=0; while [ $i -lt 3 ]; do i=$((i+1)); sleep 0.5; done; echo $i",
                0,
                "3\n",
                1500,
            ),
            (
                "echo ${NAME} ${NONE:-none} ${#NAME} \"$NAME-$(echo x | tr x y)\"",
                0,
                "axon none 4 axon-y\n",
                0,
            ),
            ("case $NAME in a*) echo yes;; *) echo no;; esac", 0, "yes\n", 0),
            ("f() { echo \"$1/$2\"; return 4; }; f a b; echo $?", 0, "a/b\n4\n", 0),
            ("set -e; false; echo not", 1, "", 0),
            ("nope", 127, "sh: nope: not found\n", 0),
            ("(exit 3); echo $?; A=1; (A=2); echo $A", 0, "3\n1\n", 0),
            ("printf '%s-%d\\n' a 5; echo -n x; echo -e '\\ty'", 0, "a-5\nx\ty\n", 0),
            (
                "if test -f /etc/passwd -o -d /tmp; then echo d; fi; [ a = b ] || [ 3 -gt 2 ] && echo t",
                0,
                "d\nt\n",
                0,
            ),
            ("seq 1 3 | tail -n 1; hostname", 0, "3\npod-0\n", 0),
            ("exec sleep 2", 0, "", 2000),
            (
                "echo a > /tmp/f; echo b >> /tmp/f; grep -c . /tmp/f; wc -l < /tmp/f",
                0,
                "2\n2\n",
                0,
            ),
            ("timeout 2 sleep 10; echo $?", 0, "143\n", 2000),
            ("sleep 5 & wait; echo over", 0, "over\n", 5000),
            (
                "(sleep 2.5; touch /tmp/up) & until [ -e /tmp/up ]; do sleep 1; done; echo up",
                0,
                "up\n",
                3000,
            ),
            ("nc -z -w 1 192.0.2.99 80; echo $?", 0, "1\n", 1000),
            ("nc -z nowhere 80; echo $?", 0, "nc: bad address 'nowhere'\n1\n", 0),
        ] {
            let reach = |host: &str, _: u16, _: Millis| {
                if host == "nowhere" {
                    Reach::Unknown
                } else {
                    Reach::Silent
                }
            };
            let (got, text, took) = run(script, &reach);
            assert_eq!((got, text.as_str(), took), (code, output, millis), "{script}");
        }
    }

    #[test]
    fn a_loop_on_nc_ends_when_the_service_answers() {
        let script = "until nc -z aha 27492; do echo waiting; sleep 2; done; echo up";
        let up = |host: &str, port: u16, now: Millis| {
            if (host, port) == ("aha", 27492) && now >= 5000 {
                Reach::Open
            } else {
                Reach::Refused
            }
        };
        assert_eq!(
            run(script, &up),
            (0, "waiting\nwaiting\nwaiting\nup\n".to_owned(), 6000)
        );
    }

    #[test]
    fn a_trap_runs_when_the_foreground_command_ends_and_the_rest_ignores_the_signal() {
        let nobody: &dyn Fn(&str, u16) -> Reach = &|_, _| Reach::Unknown;
        let mut stubborn = start(&machine(), &["sleep", "3600"]);
        stubborn.run(0, nobody);
        stubborn.terminate();
        assert_eq!(stubborn.run(10, nobody), Progress::Waits(Some(3_600_000)));
        let mut polite = start(
            &machine(),
            &[
                "sh",
                "-c",
                "trap 'echo stopping; sleep 3; exit 0' TERM; while true; do sleep 0.2; done",
            ],
        );
        polite.run(0, nobody);
        polite.terminate();
        assert_eq!(polite.run(10, nobody), Progress::Waits(Some(200)));
        assert_eq!(polite.run(200, nobody), Progress::Waits(Some(3200)));
        assert_eq!(polite.run(3200, nobody), Progress::Ended(0));
        assert_eq!(lock(&polite.log).text(), b"stopping\n");
    }

    #[test]
    fn a_command_that_the_image_lacks_cannot_be_started_and_an_unknown_image_serves() {
        let error = Process::start(&machine(), &["/no/such".to_owned()], Vec::new(), 0).expect_err("refused");
        assert_eq!(error, "exec: \"/no/such\": stat /no/such: no such file or directory");
        let mut server = start(
            &Machine {
                closed: false,
                ..machine()
            },
            &["postgres"],
        );
        assert_eq!(server.run(0, &|_, _| Reach::Unknown), Progress::Waits(None));
        server.terminate();
        assert_eq!(server.run(5, &|_, _| Reach::Unknown), Progress::Ended(0));
    }

    #[test]
    fn an_endless_loop_without_a_wait_does_not_hang_the_sandbox() {
        let mut busy = start(&machine(), &["sh", "-c", "while :; do :; done"]);
        assert!(matches!(busy.run(0, &|_, _| Reach::Unknown), Progress::Waits(Some(_))));
    }
}
