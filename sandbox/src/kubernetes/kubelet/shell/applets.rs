//! The programs of a small image, as far as start commands and probes use them.

use super::machine::{Answer, Need, lock};
use super::run::Shell;

const KNOWN: &[&str] = &[
    "[", "ash", "basename", "bash", "cat", "command", "cut", "dash", "date", "dd", "dirname", "echo", "env", "expr",
    "false", "grep", "head", "hostname", "id", "kill", "ls", "mkdir", "nc", "netcat", "nslookup", "printf", "ps",
    "pwd", "rm", "sed", "seq", "sh", "sleep", "sync", "tail", "tee", "test", "timeout", "touch", "tr", "true", "uname",
    "wc", "wget", "whoami", "chmod", "chown", "cp", "mv", "ln", "ping",
];

/// Whether there is a model of a program.
pub(super) fn known(program: &str) -> bool {
    KNOWN.contains(&program)
}

/// Run one. Options that do not change what a script sees are ignored.
pub(super) async fn run(shell: &mut Shell, program: &str, argv: &[String]) -> i32 {
    let arguments = &argv[1..];
    let plain: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|a| !a.starts_with('-') || *a == "-")
        .collect();
    match program {
        "true" | "sync" | "chmod" | "chown" | "ln" | "mkdir" => {
            if program == "mkdir" {
                for folder in plain {
                    // A folder exists if it contains something; this keeps an empty one.
                    let _ = shell
                        .machine
                        .write(&format!("{}/.", folder.trim_end_matches('/')), b"", false, None);
                }
            }
            0
        }
        "false" => 1,
        "echo" => echo(shell, arguments),
        "printf" => printf(shell, arguments),
        "sleep" => sleep(shell, &plain).await,
        "test" => i32::from(!test(shell, arguments)),
        "[" => match arguments.split_last() {
            Some((last, rest)) if last == "]" => i32::from(!test(shell, rest)),
            _ => {
                shell.complain("sh: missing ]\n");
                2
            }
        },
        "cat" => cat(shell, &plain),
        "touch" => {
            for path in plain {
                let _ = shell.machine.write(path, b"", true, None);
            }
            0
        }
        "rm" => {
            let force = arguments.iter().any(|a| a.starts_with('-') && a.contains('f'));
            let mut code = 0;
            for path in plain {
                if !shell.machine.remove(path) && !force {
                    shell.complain(&format!("rm: can't remove '{path}': No such file or directory\n"));
                    code = 1;
                }
            }
            code
        }
        "cp" | "mv" => copy(shell, program, &plain),
        "ls" => {
            let path = plain.first().copied().unwrap_or("/");
            if shell.machine.exists(path).is_none() {
                shell.complain(&format!("ls: {path}: No such file or directory\n"));
                return 1;
            }
            let names = shell.machine.names(path);
            shell.print(
                names
                    .iter()
                    .filter(|n| *n != ".")
                    .map(|n| format!("{n}\n"))
                    .collect::<String>()
                    .as_bytes(),
            );
            0
        }
        "dd" => dd(shell, arguments),
        "nc" | "netcat" => nc(shell, arguments).await,
        "wget" | "ping" | "nslookup" => reach(shell, program, arguments).await,
        "hostname" | "uname" => {
            let name = shell.machine.hostname.to_string();
            shell.print(format!("{}\n", if program == "hostname" { &name } else { "Linux" }).as_bytes());
            0
        }
        "whoami" => {
            shell.print(b"root\n");
            0
        }
        "id" => {
            shell.print(if arguments.iter().any(|a| a == "-u") {
                b"0\n"
            } else {
                b"uid=0(root) gid=0(root)\n"
            });
            0
        }
        "pwd" => {
            shell.print(b"/\n");
            0
        }
        "ps" | "kill" => 0,
        "env" => {
            let text: String = shell
                .variables
                .iter()
                .map(|(name, value)| format!("{name}={value}\n"))
                .collect();
            shell.print(text.as_bytes());
            0
        }
        "date" => date(shell, &plain),
        "seq" => {
            let numbers: Vec<i64> = plain.iter().filter_map(|n| n.parse().ok()).collect();
            let (from, to) = match numbers.as_slice() {
                [to] => (1, *to),
                [from, to] => (*from, *to),
                _ => return 1,
            };
            shell.print(
                (from..=to)
                    .take(100_000)
                    .map(|n| format!("{n}\n"))
                    .collect::<String>()
                    .as_bytes(),
            );
            0
        }
        "expr" => expr(shell, arguments),
        "basename" | "dirname" => {
            let path = plain.first().copied().unwrap_or("").trim_end_matches('/');
            let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
            shell.print(format!("{}\n", if program == "basename" { name } else { folder }).as_bytes());
            0
        }
        "timeout" => timeout(shell, arguments).await,
        "tail" if plain.contains(&"/dev/zero") => {
            if shell.machine.memory.is_some() {
                lock(&shell.shared).oom = true;
                return 137;
            }
            shell.wait(Need::Forever).await;
            143
        }
        "tail" if arguments.iter().any(|a| a.starts_with('-') && a.contains(['f', 'F'])) => {
            cat(shell, &plain);
            shell.wait(Need::Forever).await;
            143
        }
        _ => filter(shell, program, arguments),
    }
}

fn echo(shell: &mut Shell, arguments: &[String]) -> i32 {
    let (mut newline, mut escapes, mut rest) = (true, false, arguments);
    while let Some(flags) = rest
        .first()
        .filter(|a| a.len() > 1 && a.starts_with('-') && a[1..].chars().all(|c| "neE".contains(c)))
    {
        newline &= !flags.contains('n');
        escapes |= flags.contains('e');
        rest = &rest[1..];
    }
    let mut text = rest.join(" ");
    if escapes {
        text = unescape(&text);
    }
    if newline {
        text.push('\n');
    }
    shell.print(text.as_bytes());
    0
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('\\') => out.push('\\'),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

fn printf(shell: &mut Shell, arguments: &[String]) -> i32 {
    let Some((format, values)) = arguments.split_first() else {
        return 1;
    };
    let format = unescape(format);
    let mut values = values.iter();
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('%') => out.push('%'),
            Some('s' | 'd' | 'i' | 'u') => out.push_str(values.next().map_or("", String::as_str)),
            Some(other) => out.extend(['%', other]),
            None => out.push('%'),
        }
    }
    shell.print(out.as_bytes());
    0
}

/// `5`, `0.5`, `2m` in milliseconds.
fn span(text: &str) -> Option<i64> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(number) => (number, &text[number.len()..]),
        None => (text, "s"),
    };
    let scale = match unit {
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => 1.0,
    };
    let seconds: f64 = number.parse().ok()?;
    #[allow(clippy::cast_possible_truncation, reason = "clamped to a year")]
    (seconds.is_finite() && seconds >= 0.0)
        .then(|| (seconds * scale).min(31_536_000.0 * 10.0).mul_add(1000.0, 0.5) as i64)
}

async fn sleep(shell: &mut Shell, plain: &[&str]) -> i32 {
    if plain.first() == Some(&"infinity") {
        shell.wait(Need::Forever).await;
        return 0;
    }
    let mut total = 0;
    for part in plain {
        let Some(span) = span(part) else {
            shell.complain(&format!("sleep: invalid number '{part}'\n"));
            return 1;
        };
        total += span;
    }
    let until = shell.now() + total;
    match shell.wait(Need::Until(until)).await {
        Answer::Interrupted => 143,
        _ => 0,
    }
}

fn test(shell: &Shell, arguments: &[String]) -> bool {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let Some(at) = words.iter().position(|w| *w == "-o") {
        return test(shell, &arguments[..at]) || test(shell, &arguments[at + 1..]);
    }
    if let Some(at) = words.iter().position(|w| *w == "-a")
        && at > 0
    {
        return test(shell, &arguments[..at]) && test(shell, &arguments[at + 1..]);
    }
    let number = |text: &str| text.trim().parse::<i64>().unwrap_or(0);
    match words.as_slice() {
        [] => false,
        ["!", ..] => !test(shell, &arguments[1..]),
        [one] => !one.is_empty(),
        ["-z", text] => text.is_empty(),
        ["-n", text] => !text.is_empty(),
        ["-e", path] => shell.machine.exists(path).is_some(),
        ["-f" | "-r" | "-w" | "-x" | "-h" | "-L", path] => shell.machine.exists(path) == Some(false),
        ["-d", path] => shell.machine.exists(path) == Some(true),
        ["-s", path] => shell.machine.read(path).is_some_and(|file| file.size > 0),
        [left, "=" | "==", right] => left == right,
        [left, "!=", right] => left != right,
        [left, "-eq", right] => number(left) == number(right),
        [left, "-ne", right] => number(left) != number(right),
        [left, "-lt", right] => number(left) < number(right),
        [left, "-le", right] => number(left) <= number(right),
        [left, "-gt", right] => number(left) > number(right),
        [left, "-ge", right] => number(left) >= number(right),
        _ => false,
    }
}

fn cat(shell: &mut Shell, plain: &[&str]) -> i32 {
    if plain.is_empty() {
        let input = shell.input();
        shell.print(&input);
        return 0;
    }
    let mut code = 0;
    for path in plain {
        match shell.machine.read(path) {
            Some(file) => shell.print(&file.data),
            None => {
                shell.complain(&format!("cat: can't open '{path}': No such file or directory\n"));
                code = 1;
            }
        }
    }
    code
}

fn copy(shell: &mut Shell, program: &str, plain: &[&str]) -> i32 {
    let [from, to] = plain else { return 1 };
    let Some(file) = shell.machine.read(from) else {
        shell.complain(&format!("{program}: can't stat '{from}': No such file or directory\n"));
        return 1;
    };
    let name = from.rsplit('/').next().unwrap_or(from);
    let to = if shell.machine.exists(to) == Some(true) {
        format!("{}/{name}", to.trim_end_matches('/'))
    } else {
        (*to).to_owned()
    };
    if shell.machine.write(&to, &file.data, false, Some(file.size)).is_err() {
        return 1;
    }
    if program == "mv" {
        shell.machine.remove(from);
    }
    0
}

fn dd(shell: &mut Shell, arguments: &[String]) -> i32 {
    let value = |name: &str| arguments.iter().find_map(|a| a.strip_prefix(name));
    let size = |text: &str| -> u64 {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "k" | "K" => 1 << 10,
            "M" | "m" => 1 << 20,
            "G" | "g" => 1 << 30,
            _ => 1,
        };
        digits.parse::<u64>().unwrap_or(0).saturating_mul(unit)
    };
    let bytes = size(value("bs=").unwrap_or("512")).saturating_mul(size(value("count=").unwrap_or("1")));
    if let Some(path) = value("of=")
        && let Err(says) = shell.machine.write(path, b"", false, Some(bytes))
    {
        shell.complain(&format!("dd: error writing '{path}': {says}\n"));
        return 1;
    }
    let count = value("count=").unwrap_or("1");
    shell.complain(&format!("{count}+0 records in\n{count}+0 records out\n"));
    0
}

async fn nc(shell: &mut Shell, arguments: &[String]) -> i32 {
    let mut plain = Vec::new();
    let mut limit = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "-w" {
            limit = rest.next().and_then(|s| span(s));
        } else if let Some(seconds) = argument.strip_prefix("-w") {
            limit = span(seconds);
        } else if !argument.starts_with('-') {
            plain.push(argument.clone());
        }
    }
    let [host, port, ..] = plain.as_slice() else {
        if arguments.iter().any(|a| a.contains('l')) {
            lock(&shell.shared).obedient = true;
            shell.wait(Need::Forever).await;
            return 0;
        }
        shell.complain("BusyBox nc: usage: nc [-z] [-w SEC] HOST PORT\n");
        return 1;
    };
    let Ok(port) = port.parse() else {
        shell.complain(&format!("nc: bad port '{port}'\n"));
        return 1;
    };
    connect(shell, "nc", host, port, limit.unwrap_or(127_000)).await
}

async fn connect(shell: &mut Shell, program: &str, host: &str, port: u16, timeout: i64) -> i32 {
    match shell
        .wait(Need::Connect {
            host: host.to_owned(),
            port,
            timeout,
        })
        .await
    {
        Answer::Done => 0,
        Answer::Unknown => {
            shell.complain(&format!("{program}: bad address '{host}'\n"));
            1
        }
        // `nc -z` says nothing when it is refused.
        Answer::Refused | Answer::Interrupted => 1,
    }
}

async fn reach(shell: &mut Shell, program: &str, arguments: &[String]) -> i32 {
    let Some(target) = arguments.iter().rev().find(|a| !a.starts_with('-')) else {
        return 1;
    };
    let (secure, rest) = match target.split_once("://") {
        Some((scheme, rest)) => (scheme == "https", rest),
        None => (false, target.as_str()),
    };
    let authority = rest.split('/').next().unwrap_or(rest);
    let (host, port) = authority
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse().ok()?)))
        .unwrap_or((authority, if secure { 443 } else { 80 }));
    if program != "wget" {
        // Only whether the name is known matters, and a name is known when its Service is.
        return connect(shell, program, host, 0, 1000).await;
    }
    let code = connect(shell, "wget", host, port, 10_000).await;
    if code != 0 {
        shell.complain(&format!(
            "wget: can't connect to remote host ({host}): Connection refused\n"
        ));
    }
    code
}

fn date(shell: &mut Shell, plain: &[&str]) -> i32 {
    let now = jiff::Timestamp::from_millisecond(shell.now()).unwrap_or_default();
    let text = match plain.first().and_then(|f| f.strip_prefix('+')) {
        Some("%s") => now.as_second().to_string(),
        _ => now.strftime("%a %b %e %H:%M:%S UTC %Y").to_string(),
    };
    shell.print(format!("{text}\n").as_bytes());
    0
}

fn expr(shell: &mut Shell, arguments: &[String]) -> i32 {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [left, operator, right] = words.as_slice() else {
        return 2;
    };
    let (a, b) = (left.parse::<i64>().unwrap_or(0), right.parse::<i64>().unwrap_or(0));
    let value = match *operator {
        "+" => a.wrapping_add(b),
        "-" => a.wrapping_sub(b),
        "*" => a.wrapping_mul(b),
        "/" if b != 0 => a.wrapping_div(b),
        "%" if b != 0 => a.wrapping_rem(b),
        "<" => i64::from(a < b),
        ">" => i64::from(a > b),
        "=" => i64::from(left == right),
        _ => return 2,
    };
    shell.print(format!("{value}\n").as_bytes());
    i32::from(value == 0)
}

async fn timeout(shell: &mut Shell, arguments: &[String]) -> i32 {
    let mut rest = arguments;
    while rest.first().is_some_and(|a| a.starts_with('-')) {
        rest = &rest[if matches!(rest[0].as_str(), "-s" | "-k" | "-t") {
            2.min(rest.len())
        } else {
            1
        }..];
    }
    let Some((limit, command)) = rest.split_first() else {
        return 1;
    };
    let (Some(limit), false) = (span(limit), command.is_empty()) else {
        return 1;
    };
    let until = shell.now() + limit;
    lock(&shell.shared).alarms.push(until);
    let code = Box::pin(shell.start(command)).await;
    let mut mailbox = lock(&shell.shared);
    mailbox.alarms.retain(|alarm| *alarm != until);
    // Time is up exactly when the alarm rang: the command was ended by it.
    if mailbox.rang.take() == Some(until) { 143 } else { code }
}

/// Programs that read text and write text.
fn filter(shell: &mut Shell, program: &str, arguments: &[String]) -> i32 {
    let mut plain: Vec<&str> = Vec::new();
    let mut options: Vec<&str> = Vec::new();
    let mut count = None;
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        match argument {
            "-n" | "-c" | "-d" | "-f" if matches!(program, "head" | "tail" | "cut") => {
                options.push(argument);
                let value = rest.next().unwrap_or_default();
                options.push(value);
                count = value.parse::<usize>().ok().or(count);
            }
            flag if flag.starts_with('-') && flag.len() > 1 => {
                count = flag[1..].trim_start_matches('n').parse().ok().or(count);
                options.push(flag);
            }
            _ => plain.push(argument),
        }
    }
    let takes_pattern = matches!(program, "grep" | "sed" | "tr" | "tee");
    let files = if takes_pattern {
        plain.get(if program == "tr" { 2 } else { 1 }..).unwrap_or_default()
    } else {
        &plain[..]
    };
    let mut text = Vec::new();
    if files.is_empty() || program == "tee" {
        text = shell.input();
    } else {
        for path in files {
            match shell.machine.read(path) {
                Some(file) => text.extend_from_slice(&file.data),
                None => {
                    shell.complain(&format!("{program}: {path}: No such file or directory\n"));
                    return 1;
                }
            }
        }
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let has = |flag: char| options.iter().any(|o| o.starts_with('-') && o.contains(flag));
    let print = |shell: &Shell, lines: &[&str]| {
        shell.print(lines.iter().map(|l| format!("{l}\n")).collect::<String>().as_bytes());
    };
    match program {
        "head" => print(shell, &lines[..count.unwrap_or(10).min(lines.len())]),
        "tail" => print(shell, &lines[lines.len().saturating_sub(count.unwrap_or(10))..]),
        "wc" => {
            let number = if has('c') {
                text.len()
            } else if has('w') {
                text.split_whitespace().count()
            } else {
                lines.len()
            };
            shell.print(format!("{number}\n").as_bytes());
        }
        "grep" => {
            let pattern = plain.first().copied().unwrap_or_default();
            let Ok(regex) = regex::RegexBuilder::new(pattern)
                .case_insensitive(has('i'))
                .size_limit(1 << 20)
                .build()
            else {
                return 2;
            };
            let found: Vec<&str> = lines
                .into_iter()
                .filter(|line| regex.is_match(line) != has('v'))
                .collect();
            if has('c') {
                shell.print(format!("{}\n", found.len()).as_bytes());
            } else if !has('q') {
                print(shell, &found);
            }
            return i32::from(found.is_empty());
        }
        "sed" => {
            let parts: Vec<&str> = plain.first().copied().unwrap_or_default().split('/').collect();
            let [head @ "s", from, to, flags] = parts.as_slice() else {
                shell.complain("sed: only s/x/y/ is modelled by the sandbox\n");
                return 1;
            };
            let _ = head;
            let Ok(regex) = regex::RegexBuilder::new(from).size_limit(1 << 20).build() else {
                return 1;
            };
            let limit = usize::from(!flags.contains('g'));
            let out: Vec<String> = lines
                .iter()
                .map(|line| regex.replacen(line, limit, regex::NoExpand(to)).into_owned())
                .collect();
            print(shell, &out.iter().map(String::as_str).collect::<Vec<_>>());
        }
        "tr" => {
            let (from, to) = (
                set(plain.first().copied().unwrap_or("")),
                set(plain.get(1).copied().unwrap_or("")),
            );
            let out: String = text
                .chars()
                .filter_map(|c| match from.iter().position(|f| *f == c) {
                    Some(_) if has('d') => None,
                    Some(i) => to.get(i).or(to.last()).copied().or(Some(c)),
                    None => Some(c),
                })
                .collect();
            shell.print(out.as_bytes());
        }
        "tee" => {
            for path in plain {
                let _ = shell.machine.write(path, text.as_bytes(), has('a'), None);
            }
            shell.print(text.as_bytes());
        }
        "cut" => {
            let after = |flag: &str| {
                let at = options.iter().position(|o| o.starts_with(flag))?;
                if options[at].len() > 2 {
                    Some(&options[at][2..])
                } else {
                    options.get(at + 1).copied()
                }
            };
            let delimiter = after("-d").unwrap_or("\t");
            let field: usize = after("-f").and_then(|f| f.parse().ok()).unwrap_or(1);
            let out: Vec<&str> = lines
                .iter()
                .map(|line| line.split(delimiter).nth(field.saturating_sub(1)).unwrap_or(""))
                .collect();
            print(shell, &out);
        }
        _ => {}
    }
    0
}

/// `a-z` as its letters.
fn set(text: &str) -> Vec<char> {
    let chars: Vec<char> = text.replace("\\n", "\n").chars().collect();
    let mut all = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        if chars.get(at + 1) == Some(&'-') && at + 2 < chars.len() {
            all.extend(chars[at]..=chars[at + 2]);
            at += 3;
        } else {
            all.push(chars[at]);
            at += 1;
        }
    }
    all
}
