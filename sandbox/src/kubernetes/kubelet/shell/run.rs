//! Runs a parsed script.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use super::machine::{Answer, Log, Machine, Mailbox, Millis, Need, Shared, lock, wait};
use super::parse;
use super::syntax::{Node, Redirect, Target, Word};
use super::{TERM, applets, expand};

/// Where output goes.
#[derive(Clone)]
enum Sink {
    /// The container's stdout (1) or stderr (2).
    Stream(u8),
    File(String),
    Null,
    Capture(Arc<Mutex<Vec<u8>>>),
}

/// The container's own streams.
#[derive(Clone)]
pub(super) struct Sinks {
    log: Arc<Mutex<Log>>,
    streams: [Arc<Mutex<Vec<u8>>>; 2],
    out: Sink,
    err: Sink,
}

impl Sinks {
    pub(super) fn new(log: Arc<Mutex<Log>>, out: Arc<Mutex<Vec<u8>>>, err: Arc<Mutex<Vec<u8>>>) -> Self {
        Self {
            log,
            streams: [out, err],
            out: Sink::Stream(1),
            err: Sink::Stream(2),
        }
    }
}

/// What comes after a command.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Flow {
    Next(i32),
    Exit(i32),
    Return(i32),
    Break(u32),
    Continue(u32),
}

/// A job in the background with its mailbox.
pub(super) type Job = (Pin<Box<dyn Future<Output = i32> + Send>>, Shared);

/// A shell's state.
pub(crate) struct Shell {
    pub(super) machine: Machine,
    pub(super) shared: Shared,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) arguments: Vec<String>,
    pub(super) last: i32,
    functions: BTreeMap<String, Arc<Node>>,
    sinks: Sinks,
    stdin: Option<Vec<u8>>,
    exit_on_error: bool,
    depth: u32,
    pub(super) jobs: Arc<Mutex<Vec<Job>>>,
}

/// A process tree's first process.
pub(super) async fn main(
    machine: Machine,
    argv: Vec<String>,
    stdin: Vec<u8>,
    shared: Shared,
    sinks: Sinks,
    jobs: Arc<Mutex<Vec<Job>>>,
) -> i32 {
    let variables = machine.environment.as_ref().clone();
    let mut shell = Shell {
        machine,
        shared,
        variables,
        arguments: Vec::new(),
        last: 0,
        functions: BTreeMap::new(),
        sinks,
        stdin: Some(stdin),
        exit_on_error: false,
        depth: 0,
        jobs,
    };
    match shell.execute(&argv).await {
        Flow::Next(code) | Flow::Exit(code) | Flow::Return(code) => code,
        Flow::Break(_) | Flow::Continue(_) => 0,
    }
}

const STEPS: u32 = 20_000;
const DEEPEST: u32 = 100;

impl Shell {
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        match name {
            "?" => Some(self.last.to_string()),
            "#" => Some(self.arguments.len().to_string()),
            "@" | "*" => Some(self.arguments.join(" ")),
            "$" => Some("1".to_owned()),
            "0" => Some("sh".to_owned()),
            "HOSTNAME" => Some(self.machine.hostname.to_string()),
            _ => match name.parse::<usize>() {
                Ok(n) => self.arguments.get(n.wrapping_sub(1)).cloned(),
                Err(_) => self.variables.get(name).cloned(),
            },
        }
    }

    pub(super) fn now(&self) -> Millis {
        lock(&self.shared).now
    }

    pub(super) async fn wait(&self, need: Need) -> Answer {
        wait(&self.shared, need).await
    }

    pub(super) fn print(&self, text: &[u8]) {
        self.write(&self.sinks.out, text);
    }

    pub(super) fn complain(&self, text: &str) {
        self.write(&self.sinks.err, text.as_bytes());
    }

    fn write(&self, sink: &Sink, text: &[u8]) {
        match sink {
            Sink::Null => {}
            Sink::File(path) => {
                // A full disk is the writer's problem, and no applet here looks at it.
                let _ = self.machine.write(path, text, true, None);
            }
            Sink::Capture(buffer) => keep(&mut lock(buffer), text),
            Sink::Stream(stream) => {
                lock(&self.sinks.log).write(self.now(), text);
                keep(&mut lock(&self.sinks.streams[usize::from(*stream) - 1]), text);
            }
        }
    }

    /// Standard input, once.
    pub(super) fn input(&mut self) -> Vec<u8> {
        self.stdin.take().unwrap_or_default()
    }

    /// The next line of standard input.
    pub(super) fn input_line(&mut self) -> Option<String> {
        let stdin = self.stdin.as_mut().filter(|stdin| !stdin.is_empty())?;
        let end = stdin.iter().position(|b| *b == b'\n').map_or(stdin.len(), |i| i + 1);
        let line: Vec<u8> = stdin.drain(..end).collect();
        Some(String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned())
    }

    fn fork(&self) -> Self {
        Self {
            machine: self.machine.clone(),
            shared: self.shared.clone(),
            variables: self.variables.clone(),
            arguments: self.arguments.clone(),
            last: self.last,
            functions: self.functions.clone(),
            sinks: self.sinks.clone(),
            stdin: None,
            exit_on_error: self.exit_on_error,
            depth: self.depth,
            jobs: self.jobs.clone(),
        }
    }

    /// Run in a subshell and keep what it prints.
    pub(super) async fn capture(&mut self, body: &Node) -> (i32, Vec<u8>) {
        let buffer = Arc::new(Mutex::new(Vec::new()));
        let mut inner = self.fork();
        inner.sinks.out = Sink::Capture(buffer.clone());
        let code = code_of(inner.run(body).await);
        let output = std::mem::take(&mut *lock(&buffer));
        (code, output)
    }

    /// Run a command; boxed because commands hold commands.
    pub(super) fn run<'a>(&'a mut self, node: &'a Node) -> Pin<Box<dyn Future<Output = Flow> + Send + 'a>> {
        Box::pin(self.run_unboxed(node))
    }

    async fn run_unboxed(&mut self, node: &Node) -> Flow {
        self.depth += 1;
        if self.depth > DEEPEST {
            self.complain("sh: nested too deeply\n");
            self.depth -= 1;
            return Flow::Exit(2);
        }
        let flow = self.step(node).await;
        self.depth -= 1;
        if let Flow::Next(code) = flow {
            self.last = code;
        }
        flow
    }

    async fn step(&mut self, node: &Node) -> Flow {
        match node {
            Node::Simple {
                assign,
                words,
                redirects,
            } => self.simple(assign, words, redirects).await,
            Node::List(commands) => {
                let mut flow = Flow::Next(0);
                for (command, background) in commands {
                    if *background {
                        self.spawn(command.clone());
                        flow = Flow::Next(0);
                        continue;
                    }
                    flow = self.run(command).await;
                    if let Some(exit) = self.signal().await {
                        return exit;
                    }
                    match flow {
                        Flow::Next(code)
                            if code != 0
                                && self.exit_on_error
                                && !matches!(command, Node::And(..) | Node::Or(..) | Node::Not(_)) =>
                        {
                            return Flow::Exit(code);
                        }
                        Flow::Next(_) => {}
                        other => return other,
                    }
                }
                flow
            }
            Node::And(left, right) => match self.tested(left).await {
                Flow::Next(0) => self.run(right).await,
                other => other,
            },
            Node::Or(left, right) => match self.tested(left).await {
                Flow::Next(code) if code != 0 => self.run(right).await,
                other => other,
            },
            Node::Not(inner) => match self.tested(inner).await {
                Flow::Next(code) => Flow::Next(i32::from(code == 0)),
                other => other,
            },
            Node::Pipe(parts) => self.pipe(parts).await,
            Node::Group {
                body,
                subshell,
                redirects,
            } => {
                let Ok(saved) = self.redirect(redirects).await else {
                    return Flow::Next(1);
                };
                let flow = if *subshell {
                    let mut inner = self.fork();
                    Flow::Next(code_of(inner.run(body).await))
                } else {
                    self.run(body).await
                };
                self.restore(saved);
                flow
            }
            Node::If {
                arms,
                otherwise,
                redirects,
            } => {
                let Ok(saved) = self.redirect(redirects).await else {
                    return Flow::Next(1);
                };
                let flow = self.conditional(arms, otherwise.as_deref()).await;
                self.restore(saved);
                flow
            }
            Node::While {
                condition,
                body,
                until,
                redirects,
            } => {
                let Ok(saved) = self.redirect(redirects).await else {
                    return Flow::Next(1);
                };
                let flow = self.while_loop(condition, body, *until).await;
                self.restore(saved);
                flow
            }
            Node::For {
                name,
                words,
                body,
                redirects,
            } => {
                let Ok(saved) = self.redirect(redirects).await else {
                    return Flow::Next(1);
                };
                let flow = self.for_loop(name, words.as_deref(), body).await;
                self.restore(saved);
                flow
            }
            Node::Case { word, arms } => self.case(word, arms).await,
            Node::Function { name, body } => {
                self.functions.insert(name.clone(), Arc::new(body.as_ref().clone()));
                Flow::Next(0)
            }
        }
    }

    /// A command whose failure is looked at, and so does not end a `set -e` shell.
    async fn tested(&mut self, node: &Node) -> Flow {
        let strict = std::mem::replace(&mut self.exit_on_error, false);
        let flow = self.run(node).await;
        self.exit_on_error = strict || self.exit_on_error;
        flow
    }

    async fn conditional(&mut self, arms: &[(Node, Node)], otherwise: Option<&Node>) -> Flow {
        for (condition, body) in arms {
            match self.tested(condition).await {
                Flow::Next(0) => return self.run(body).await,
                Flow::Next(_) => {}
                other => return other,
            }
        }
        match otherwise {
            Some(body) => self.run(body).await,
            None => Flow::Next(0),
        }
    }

    async fn while_loop(&mut self, condition: &Node, body: &Node, until: bool) -> Flow {
        let mut last = 0;
        loop {
            match self.tested(condition).await {
                Flow::Next(code) if (code == 0) != until => {}
                Flow::Next(_) => return Flow::Next(last),
                other => return other,
            }
            match ends_loop(self.run(body).await) {
                Ok(code) => last = code,
                Err(flow) => return flow,
            }
            if let Some(exit) = self.breathe().await {
                return exit;
            }
        }
    }

    async fn for_loop(&mut self, name: &str, words: Option<&[Word]>, body: &Node) -> Flow {
        let values = match words {
            None => self.arguments.clone(),
            Some(words) => match expand::fields(self, words).await {
                Ok(values) => values,
                Err(says) => return self.bad(&says),
            },
        };
        let mut last = 0;
        for value in values {
            self.variables.insert(name.to_owned(), value);
            match ends_loop(self.run(body).await) {
                Ok(code) => last = code,
                Err(flow) => return flow,
            }
            if let Some(exit) = self.breathe().await {
                return exit;
            }
        }
        Flow::Next(last)
    }

    async fn case(&mut self, word: &Word, arms: &[(Vec<Word>, Node)]) -> Flow {
        let value = match expand::text(self, word).await {
            Ok(value) => value,
            Err(says) => return self.bad(&says),
        };
        for (patterns, body) in arms {
            for pattern in patterns {
                match expand::pattern(self, pattern).await {
                    Ok(pattern) if expand::matches(&pattern, &value) => return self.run(body).await,
                    Ok(_) => {}
                    Err(says) => return self.bad(&says),
                }
            }
        }
        Flow::Next(0)
    }

    async fn pipe(&mut self, parts: &[Node]) -> Flow {
        let mut input = self.stdin.take();
        let mut code = 0;
        for (i, part) in parts.iter().enumerate() {
            let mut inner = self.fork();
            inner.stdin = input.take();
            if i + 1 == parts.len() {
                code = code_of(inner.run(part).await);
            } else {
                let buffer = Arc::new(Mutex::new(Vec::new()));
                inner.sinks.out = Sink::Capture(buffer.clone());
                inner.run(part).await;
                input = Some(std::mem::take(&mut *lock(&buffer)));
            }
        }
        Flow::Next(code)
    }

    fn spawn(&mut self, command: Node) {
        let shared: Shared = Arc::new(Mutex::new(Mailbox {
            now: self.now(),
            ..Mailbox::default()
        }));
        let mut inner = self.fork();
        inner.shared = shared.clone();
        inner.depth = 0;
        let future = Box::pin(async move { code_of(inner.run(&command).await) });
        lock(&self.jobs).push((future, shared));
    }

    fn bad(&mut self, says: &str) -> Flow {
        self.complain(&format!("sh: {says}\n"));
        Flow::Exit(2)
    }

    /// After each turn of a loop: run a trap, and let a loop that never waits cost time instead of hanging the sandbox.
    async fn breathe(&mut self) -> Option<Flow> {
        let tired = {
            let mut mailbox = lock(&self.shared);
            mailbox.steps += 1;
            mailbox.steps.is_multiple_of(STEPS)
        };
        if tired {
            let until = self.now() + 1000;
            self.wait(Need::Until(until)).await;
        }
        self.signal().await
    }

    async fn signal(&mut self) -> Option<Flow> {
        let action = {
            let mut mailbox = lock(&self.shared);
            let signal = mailbox.signal.take()?;
            mailbox.traps.get(&signal).cloned()?
        };
        let script = match parse::parse(&action) {
            Ok(script) => script,
            Err(says) => return Some(self.bad(&says)),
        };
        match self.run(&script).await {
            Flow::Next(_) => None,
            other => Some(other),
        }
    }

    async fn redirect(&mut self, redirects: &[Redirect]) -> Result<(Sinks, Option<Option<Vec<u8>>>), ()> {
        let saved = self.sinks.clone();
        let mut stdin = None;
        for redirect in redirects {
            let (word, append) = match &redirect.to {
                Target::Duplicate(fd) => {
                    let target = if *fd == 2 {
                        self.sinks.err.clone()
                    } else {
                        self.sinks.out.clone()
                    };
                    if redirect.fd == 2 {
                        self.sinks.err = target;
                    } else {
                        self.sinks.out = target;
                    }
                    continue;
                }
                Target::Read(word) => (word, None),
                Target::Write(word) => (word, Some(false)),
                Target::Append(word) => (word, Some(true)),
            };
            let path = match expand::text(self, word).await {
                Ok(path) => path,
                Err(says) => {
                    self.sinks = saved;
                    self.complain(&format!("sh: {says}\n"));
                    return Err(());
                }
            };
            let Some(append) = append else {
                match self.machine.read(&path) {
                    Some(file) => stdin = Some(self.stdin.replace(file.data)),
                    None => {
                        self.sinks = saved;
                        self.complain(&format!("sh: can't open {path}: no such file\n"));
                        return Err(());
                    }
                }
                continue;
            };
            let sink = match path.as_str() {
                "/dev/null" => Sink::Null,
                "/dev/stdout" | "/proc/1/fd/1" => Sink::Stream(1),
                "/dev/stderr" | "/proc/1/fd/2" => Sink::Stream(2),
                _ => {
                    if let Err(says) = self.machine.write(&path, b"", append, None) {
                        self.complain(&format!("sh: can't create {path}: {says}\n"));
                    }
                    Sink::File(path)
                }
            };
            if redirect.fd == 2 {
                self.sinks.err = sink;
            } else {
                self.sinks.out = sink;
            }
        }
        Ok((saved, stdin))
    }

    fn restore(&mut self, (sinks, stdin): (Sinks, Option<Option<Vec<u8>>>)) {
        self.sinks = sinks;
        if let Some(stdin) = stdin {
            self.stdin = stdin;
        }
    }

    async fn simple(&mut self, assign: &[(String, Word)], words: &[Word], redirects: &[Redirect]) -> Flow {
        let fields = match expand::fields(self, words).await {
            Ok(fields) => fields,
            Err(says) => return self.bad(&says),
        };
        let mut values = Vec::new();
        let mut substituted = 0;
        for (name, word) in assign {
            self.last = 0;
            match expand::text(self, word).await {
                Ok(value) => values.push((name.clone(), value)),
                Err(says) => return self.bad(&says),
            }
            substituted = self.last;
        }
        if fields.is_empty() {
            self.variables.extend(values);
            return match self.redirect(redirects).await {
                Ok(saved) => {
                    self.restore(saved);
                    Flow::Next(substituted)
                }
                Err(()) => Flow::Next(1),
            };
        }
        let Ok(saved) = self.redirect(redirects).await else {
            return Flow::Next(1);
        };
        let before: Vec<_> = values
            .iter()
            .map(|(name, _)| (name.clone(), self.variables.get(name).cloned()))
            .collect();
        self.variables.extend(values);
        let flow = if let Some(function) = self.functions.get(&fields[0]).cloned() {
            let arguments = std::mem::replace(&mut self.arguments, fields[1..].to_vec());
            let flow = self.run(&function).await;
            self.arguments = arguments;
            match flow {
                Flow::Return(code) => Flow::Next(code),
                other => other,
            }
        } else {
            self.builtin(&fields).await
        };
        for (name, value) in before {
            match value {
                Some(value) => self.variables.insert(name, value),
                None => self.variables.remove(&name),
            };
        }
        // `exec >file` keeps its redirections.
        if fields[0] != "exec" || fields.len() > 1 {
            self.restore(saved);
        }
        flow
    }

    /// What only the shell itself can do; the rest are applets.
    async fn builtin(&mut self, argv: &[String]) -> Flow {
        let number = |i: usize, or: i32| argv.get(i).and_then(|n| n.parse::<i32>().ok()).unwrap_or(or);
        match argv[0].as_str() {
            ":" | "true" => Flow::Next(0),
            "exit" => Flow::Exit(number(1, self.last) & 0xff),
            "return" => Flow::Return(number(1, self.last)),
            "break" => Flow::Break(number(1, 1).max(1).unsigned_abs()),
            "continue" => Flow::Continue(number(1, 1).max(1).unsigned_abs()),
            "set" => {
                for argument in &argv[1..] {
                    match argument.as_str() {
                        flags if flags.starts_with('-') && flags.len() > 1 && flags != "--" => {
                            self.exit_on_error |= flags.contains('e');
                        }
                        flags if flags.starts_with('+') => self.exit_on_error &= !flags.contains('e'),
                        _ => {}
                    }
                }
                if let Some(at) = argv.iter().position(|a| a == "--") {
                    self.arguments = argv[at + 1..].to_vec();
                }
                Flow::Next(0)
            }
            "shift" => {
                let n = usize::try_from(number(1, 1)).unwrap_or(0).min(self.arguments.len());
                self.arguments.drain(..n);
                Flow::Next(0)
            }
            "export" | "local" | "readonly" => {
                for pair in &argv[1..] {
                    if let Some((name, value)) = pair.split_once('=') {
                        self.variables.insert(name.to_owned(), value.to_owned());
                    }
                }
                Flow::Next(0)
            }
            "unset" => {
                for name in &argv[1..] {
                    self.variables.remove(name);
                }
                Flow::Next(0)
            }
            "read" => {
                let Some(line) = self.input_line() else {
                    return Flow::Next(1);
                };
                let names: Vec<&String> = argv[1..].iter().filter(|a| !a.starts_with('-')).collect();
                let mut rest = line.trim();
                for (i, name) in names.iter().enumerate() {
                    let (value, left) = if i + 1 < names.len() {
                        rest.split_once([' ', '\t']).unwrap_or((rest, ""))
                    } else {
                        (rest, "")
                    };
                    self.variables.insert((*name).clone(), value.to_owned());
                    rest = left.trim_start();
                }
                Flow::Next(0)
            }
            "trap" => {
                let action = argv.get(1).cloned().unwrap_or_default();
                for name in argv.get(2..).unwrap_or_default() {
                    if matches!(name.as_str(), "TERM" | "SIGTERM" | "15") {
                        let mut mailbox = lock(&self.shared);
                        if action == "-" {
                            mailbox.traps.remove(&TERM)
                        } else {
                            mailbox.traps.insert(TERM, action.clone())
                        };
                    }
                }
                Flow::Next(0)
            }
            "wait" => {
                self.wait(Need::Children).await;
                Flow::Next(0)
            }
            "eval" => match parse::parse(&argv[1..].join(" ")) {
                Ok(script) => self.run(&script).await,
                Err(says) => self.bad(&says),
            },
            "exec" if argv.len() == 1 => Flow::Next(0),
            "exec" => {
                lock(&self.shared).traps.clear();
                match Box::pin(self.execute(&argv[1..])).await {
                    Flow::Next(code) => Flow::Exit(code),
                    other => other,
                }
            }
            "command" | "env" | "nohup" | "tini" | "dumb-init" | "su-exec" if argv.len() > 1 => {
                let mut rest = &argv[1..];
                while let Some(first) = rest.first() {
                    if let Some((name, value)) = first.split_once('=') {
                        self.variables.insert(name.to_owned(), value.to_owned());
                    } else if !first.starts_with('-') {
                        break;
                    }
                    rest = &rest[1..];
                }
                if rest.is_empty() {
                    Flow::Next(0)
                } else {
                    Box::pin(self.execute(rest)).await
                }
            }
            _ => Box::pin(self.execute(argv)).await,
        }
    }

    /// Run a program: a shell, an applet, or a server that the sandbox does not know and that runs until it is told to stop.
    async fn execute(&mut self, argv: &[String]) -> Flow {
        let program = argv[0].rsplit('/').next().unwrap_or(&argv[0]).to_owned();
        if matches!(program.as_str(), "sh" | "ash" | "bash" | "dash") {
            return self.nested(argv).await;
        }
        if applets::known(&program) {
            return Flow::Next(applets::run(self, &program, argv).await);
        }
        if self.machine.closed {
            self.complain(&format!("sh: {}: not found\n", argv[0]));
            return Flow::Next(127);
        }
        lock(&self.shared).obedient = true;
        self.wait(Need::Forever).await;
        Flow::Exit(0)
    }

    async fn nested(&mut self, argv: &[String]) -> Flow {
        let mut rest = argv[1..].iter();
        let mut script = None;
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                flags if flags.starts_with('-') && flags.len() > 1 => {
                    self.exit_on_error |= flags.contains('e');
                    if flags.contains('c') {
                        script = rest.next().cloned();
                        break;
                    }
                    if flags == "-o" {
                        rest.next();
                    }
                }
                path => {
                    match self.machine.read(path) {
                        Some(file) => script = Some(String::from_utf8_lossy(&file.data).into_owned()),
                        None if self.machine.closed => {
                            self.complain(&format!("sh: can't open '{path}': No such file or directory\n"));
                            return Flow::Next(2);
                        }
                        // An entry point that is inside an image that we do not have.
                        None => {
                            lock(&self.shared).obedient = true;
                            self.wait(Need::Forever).await;
                            return Flow::Exit(0);
                        }
                    }
                    break;
                }
            }
        }
        let script = match script {
            Some(script) => script,
            None => String::from_utf8_lossy(&self.input()).into_owned(),
        };
        let mut arguments: Vec<String> = rest.cloned().collect();
        if !arguments.is_empty() && argv.iter().any(|a| a.starts_with('-') && a.contains('c')) {
            arguments.remove(0); // $0
        }
        self.arguments = arguments;
        match parse::parse(&script) {
            Ok(script) => Flow::Next(code_of(self.run(&script).await)),
            Err(says) => {
                self.complain(&format!("sh: {says}\n"));
                Flow::Next(2)
            }
        }
    }

    /// Run another command in this shell, for applets that start one.
    pub(super) async fn start(&mut self, argv: &[String]) -> i32 {
        code_of(Box::pin(self.execute(argv)).await)
    }
}

fn code_of(flow: Flow) -> i32 {
    match flow {
        Flow::Next(code) | Flow::Exit(code) | Flow::Return(code) => code,
        Flow::Break(_) | Flow::Continue(_) => 0,
    }
}

fn ends_loop(flow: Flow) -> Result<i32, Flow> {
    match flow {
        Flow::Next(code) => Ok(code),
        Flow::Break(1) => Err(Flow::Next(0)),
        Flow::Break(n) => Err(Flow::Break(n - 1)),
        Flow::Continue(1) => Ok(0),
        Flow::Continue(n) => Err(Flow::Continue(n - 1)),
        other => Err(other),
    }
}

fn keep(buffer: &mut Vec<u8>, text: &[u8]) {
    let room = (4 * super::KEPT).saturating_sub(buffer.len());
    buffer.extend_from_slice(&text[..text.len().min(room)]);
}
