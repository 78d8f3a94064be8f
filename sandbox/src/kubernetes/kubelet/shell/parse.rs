//! Reads the little shell that containers of manifests use: lists, pipes, loops, tests, here quoting and expansions.
//!
//! It knows the POSIX grammar as far as start commands need it. It does not know here-documents, job control or arrays:
//! a script with those is refused as a syntax error, as a shell would refuse what it cannot read.

use super::syntax::{Node, Part, Redirect, Target, Word};

/// Parses a complete script. The error is what the shell prints after `sh: `.
pub(crate) fn parse(script: &str) -> Result<Node, String> {
    let mut parser = Parser {
        text: script.chars().collect(),
        at: 0,
        depth: 0,
    };
    let list = parser.list(&[])?;
    parser.blank();
    if parser.at < parser.text.len() {
        return Err(format!("syntax error: unexpected \"{}\"", parser.text[parser.at]));
    }
    Ok(list)
}

const DEEPEST: usize = 60;
const RESERVED: &[&str] = &["then", "do", "done", "fi", "else", "elif", "esac", "}"];

struct Parser {
    text: Vec<char>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn looking_at(&self, wanted: &str) -> bool {
        wanted
            .chars()
            .enumerate()
            .all(|(i, c)| self.text.get(self.at + i) == Some(&c))
    }

    fn take(&mut self, wanted: &str) -> bool {
        let found = self.looking_at(wanted);
        if found {
            self.at += wanted.chars().count();
        }
        found
    }

    /// Skips spaces, line continuations and comments, but not line ends.
    fn space(&mut self) {
        loop {
            if self.take("\\\n") {
                continue;
            }
            match self.peek() {
                Some(' ' | '\t' | '\r') => self.at += 1,
                Some('#') => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    /// Skips everything that separates commands and holds none.
    fn blank(&mut self) {
        loop {
            self.space();
            if self.peek() == Some('\n') {
                self.at += 1;
            } else {
                return;
            }
        }
    }

    /// The next bare word if it is made of letters only, without taking it.
    fn keyword(&self) -> String {
        let rest = &self.text[self.at..];
        if matches!(rest.first(), Some('{' | '}' | '!')) {
            let alone = rest
                .get(1)
                .is_none_or(|c| c.is_whitespace() || matches!(c, ';' | '&' | '|' | ')'));
            return if alone { rest[0].to_string() } else { String::new() };
        }
        let word: String = rest.iter().take_while(|c| c.is_ascii_alphabetic()).collect();
        let ends = rest
            .get(word.len())
            .is_none_or(|c| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')' | '<' | '>'));
        if ends { word } else { String::new() }
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        self.blank();
        if self.keyword() == word {
            self.at += word.len();
            return Ok(());
        }
        Err(format!(
            "syntax error: unexpected {} (expecting \"{word}\")",
            self.found()
        ))
    }

    fn found(&self) -> String {
        match self.peek() {
            None => "end of file".to_owned(),
            Some('\n') => "newline".to_owned(),
            Some(c) => {
                let word = self.keyword();
                format!("\"{}\"", if word.is_empty() { c.to_string() } else { word })
            }
        }
    }

    fn list(&mut self, ends: &[&str]) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("syntax error: nested too deeply".to_owned());
        }
        let mut commands = Vec::new();
        loop {
            self.blank();
            let word = self.keyword();
            if self.peek().is_none()
                || self.peek() == Some(')')
                || self.looking_at(";;")
                || ends.contains(&word.as_str())
            {
                break;
            }
            if RESERVED.contains(&word.as_str()) {
                return Err(format!("syntax error: unexpected \"{word}\""));
            }
            let command = self.and_or()?;
            self.space();
            let background = !self.looking_at("&&") && self.take("&");
            if !background && !self.looking_at(";;") {
                self.take(";");
            }
            commands.push((command, background));
        }
        self.depth -= 1;
        Ok(Node::List(commands))
    }

    fn and_or(&mut self) -> Result<Node, String> {
        let mut left = self.pipe()?;
        loop {
            self.space();
            if self.take("&&") {
                self.blank();
                left = Node::And(Box::new(left), Box::new(self.pipe()?));
            } else if self.take("||") {
                self.blank();
                left = Node::Or(Box::new(left), Box::new(self.pipe()?));
            } else {
                return Ok(left);
            }
        }
    }

    fn pipe(&mut self) -> Result<Node, String> {
        self.space();
        if self.keyword() == "!" {
            self.at += 1;
            return Ok(Node::Not(Box::new(self.pipe()?)));
        }
        let mut parts = vec![self.command()?];
        loop {
            self.space();
            if self.looking_at("||") || !self.take("|") {
                break;
            }
            self.blank();
            parts.push(self.command()?);
        }
        Ok(if parts.len() == 1 {
            parts.swap_remove(0)
        } else {
            Node::Pipe(parts)
        })
    }

    fn command(&mut self) -> Result<Node, String> {
        self.space();
        match self.keyword().as_str() {
            "{" => {
                self.at += 1;
                let body = Box::new(self.list(&["}"])?);
                self.expect("}")?;
                return Ok(Node::Group {
                    body,
                    subshell: false,
                    redirects: self.redirects()?,
                });
            }
            "if" => return self.conditional(),
            word @ ("while" | "until") => {
                self.at += word.len();
                let condition = Box::new(self.list(&["do"])?);
                self.expect("do")?;
                let body = Box::new(self.list(&["done"])?);
                self.expect("done")?;
                return Ok(Node::While {
                    condition,
                    body,
                    until: word == "until",
                    redirects: self.redirects()?,
                });
            }
            "for" => return self.for_loop(),
            "case" => return self.case(),
            _ => {}
        }
        if self.take("(") {
            let body = Box::new(self.list(&[])?);
            self.blank();
            if !self.take(")") {
                return Err(format!("syntax error: unexpected {} (expecting \")\")", self.found()));
            }
            return Ok(Node::Group {
                body,
                subshell: true,
                redirects: self.redirects()?,
            });
        }
        self.simple()
    }

    fn conditional(&mut self) -> Result<Node, String> {
        self.at += "if".len();
        let mut arms = Vec::new();
        loop {
            let condition = self.list(&["then"])?;
            self.expect("then")?;
            arms.push((condition, self.list(&["elif", "else", "fi"])?));
            match self.keyword().as_str() {
                "elif" => self.at += "elif".len(),
                "else" => {
                    self.at += "else".len();
                    let otherwise = Some(Box::new(self.list(&["fi"])?));
                    self.expect("fi")?;
                    return Ok(Node::If {
                        arms,
                        otherwise,
                        redirects: self.redirects()?,
                    });
                }
                _ => {
                    self.expect("fi")?;
                    return Ok(Node::If {
                        arms,
                        otherwise: None,
                        redirects: self.redirects()?,
                    });
                }
            }
        }
    }

    fn for_loop(&mut self) -> Result<Node, String> {
        self.at += "for".len();
        self.space();
        let name = self.name();
        self.blank();
        let mut words = None;
        if self.keyword() == "in" {
            self.at += "in".len();
            let mut found = Vec::new();
            loop {
                self.space();
                match self.peek() {
                    None | Some('\n' | ';') => break,
                    _ => found.push(self.word()?),
                }
            }
            words = Some(found);
        }
        self.space();
        self.take(";");
        self.expect("do")?;
        let body = Box::new(self.list(&["done"])?);
        self.expect("done")?;
        Ok(Node::For {
            name,
            words,
            body,
            redirects: self.redirects()?,
        })
    }

    fn case(&mut self) -> Result<Node, String> {
        self.at += "case".len();
        self.space();
        let word = self.word()?;
        self.expect("in")?;
        let mut arms = Vec::new();
        loop {
            self.blank();
            if self.keyword() == "esac" {
                self.at += "esac".len();
                return Ok(Node::Case { word, arms });
            }
            self.take("(");
            let mut patterns = Vec::new();
            loop {
                self.space();
                patterns.push(self.word()?);
                self.space();
                if self.take(")") {
                    break;
                }
                if !self.take("|") {
                    return Err(format!("syntax error: unexpected {} (expecting \")\")", self.found()));
                }
            }
            let body = self.list(&["esac"])?;
            self.blank();
            self.take(";;");
            arms.push((patterns, body));
        }
    }

    fn name(&mut self) -> String {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
            self.at += 1;
        }
        self.text[start..self.at].iter().collect()
    }

    fn redirects(&mut self) -> Result<Vec<Redirect>, String> {
        let mut found = Vec::new();
        loop {
            self.space();
            match self.redirect()? {
                Some(redirect) => found.push(redirect),
                None => return Ok(found),
            }
        }
    }

    fn redirect(&mut self) -> Result<Option<Redirect>, String> {
        let start = self.at;
        let digit = self.peek().and_then(|c| c.to_digit(10));
        if digit.is_some() {
            self.at += 1;
        }
        let (fd, kind) = if self.looking_at("<<") {
            return Err("syntax error: here-documents are not modelled by the sandbox".to_owned());
        } else if self.take(">>") {
            (digit.unwrap_or(1), ">>")
        } else if self.take(">&") {
            (digit.unwrap_or(1), ">&")
        } else if self.take(">") {
            (digit.unwrap_or(1), ">")
        } else if self.take("<") {
            (digit.unwrap_or(0), "<")
        } else {
            self.at = start;
            return Ok(None);
        };
        self.space();
        if kind == ">&" {
            let target = self
                .peek()
                .and_then(|c| c.to_digit(10))
                .ok_or("syntax error: bad fd number")?;
            self.at += 1;
            return Ok(Some(Redirect {
                fd,
                to: Target::Duplicate(target),
            }));
        }
        let word = self.word()?;
        let to = match kind {
            ">>" => Target::Append(word),
            ">" => Target::Write(word),
            _ => Target::Read(word),
        };
        Ok(Some(Redirect { fd, to }))
    }

    fn simple(&mut self) -> Result<Node, String> {
        let (mut assign, mut words, mut redirects) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            self.space();
            match self.peek() {
                None | Some('\n' | ';' | '&' | '|' | ')') => break,
                _ => {}
            }
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                continue;
            }
            if self.peek() == Some('(') {
                return self.function(&words);
            }
            if words.is_empty() {
                let start = self.at;
                let name = self.name();
                if !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && self.take("=") {
                    let value = match self.peek() {
                        None => Vec::new(),
                        Some(c) if c.is_whitespace() || matches!(c, ';' | '&' | '|' | ')') => Vec::new(),
                        _ => self.word()?,
                    };
                    assign.push((name, value));
                    continue;
                }
                self.at = start;
            }
            words.push(self.word()?);
        }
        if assign.is_empty() && words.is_empty() && redirects.is_empty() {
            return Err(format!("syntax error: unexpected {}", self.found()));
        }
        Ok(Node::Simple {
            assign,
            words,
            redirects,
        })
    }

    fn function(&mut self, words: &[Word]) -> Result<Node, String> {
        let name = match words {
            [word] => match word.as_slice() {
                [Part::Text { text, quoted: false }] => text.clone(),
                _ => return Err("syntax error: bad function name".to_owned()),
            },
            _ => return Err("syntax error: unexpected \"(\"".to_owned()),
        };
        self.at += 1;
        self.space();
        if !self.take(")") {
            return Err("syntax error: bad function".to_owned());
        }
        self.blank();
        Ok(Node::Function {
            name,
            body: Box::new(self.command()?),
        })
    }

    fn word(&mut self) -> Result<Word, String> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let start = self.at;
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | '\n' | '\r' | ';' | '&' | '|' | '(' | ')' | '<' | '>' => break,
                '\'' => {
                    flush(&mut parts, &mut text, false);
                    self.at += 1;
                    let mut quoted = String::new();
                    loop {
                        match self.peek() {
                            Some('\'') => break,
                            Some(c) => quoted.push(c),
                            None => return Err("syntax error: unterminated quoted string".to_owned()),
                        }
                        self.at += 1;
                    }
                    self.at += 1;
                    parts.push(Part::Text {
                        text: quoted,
                        quoted: true,
                    });
                }
                '"' => {
                    flush(&mut parts, &mut text, false);
                    self.at += 1;
                    self.double_quoted(&mut parts)?;
                }
                '\\' => {
                    self.at += 1;
                    if let Some(c) = self.peek() {
                        self.at += 1;
                        if c != '\n' {
                            flush(&mut parts, &mut text, false);
                            parts.push(Part::Text {
                                text: c.to_string(),
                                quoted: true,
                            });
                        }
                    }
                }
                '$' | '`' => {
                    flush(&mut parts, &mut text, false);
                    parts.push(self.dollar(false)?);
                }
                _ => {
                    text.push(c);
                    self.at += 1;
                }
            }
        }
        flush(&mut parts, &mut text, false);
        if self.at == start {
            return Err(format!("syntax error: unexpected {}", self.found()));
        }
        Ok(parts)
    }

    fn double_quoted(&mut self, parts: &mut Word) -> Result<(), String> {
        let mut text = String::new();
        loop {
            match self.peek() {
                None => return Err("syntax error: unterminated quoted string".to_owned()),
                Some('"') => {
                    self.at += 1;
                    parts.push(Part::Text { text, quoted: true });
                    return Ok(());
                }
                Some('\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(c @ ('"' | '\\' | '$' | '`')) => text.push(c),
                        Some('\n') => {}
                        Some(c) => text.extend(['\\', c]),
                        None => continue,
                    }
                    self.at += 1;
                }
                Some('$' | '`') => {
                    flush(parts, &mut text, true);
                    parts.push(self.dollar(true)?);
                }
                Some(c) => {
                    text.push(c);
                    self.at += 1;
                }
            }
        }
    }

    fn dollar(&mut self, quoted: bool) -> Result<Part, String> {
        if self.take("`") {
            let mut inner = String::new();
            loop {
                match self.peek() {
                    Some('`') => break,
                    Some(c) => inner.push(c),
                    None => return Err("syntax error: EOF in backquote substitution".to_owned()),
                }
                self.at += 1;
            }
            self.at += 1;
            return Ok(Part::Command {
                body: parse(&inner)?,
                quoted,
            });
        }
        self.at += 1;
        if self.looking_at("((") {
            self.at += 2;
            let mut text = String::new();
            let mut open = 0_usize;
            loop {
                if open == 0 && self.take("))") {
                    break;
                }
                match self.peek() {
                    Some('(') => open += 1,
                    Some(')') => open = open.saturating_sub(1),
                    Some(_) => {}
                    None => return Err("syntax error: missing '))'".to_owned()),
                }
                text.extend(self.peek());
                self.at += 1;
            }
            let mut inner = Parser {
                text: text.chars().collect(),
                at: 0,
                depth: self.depth,
            };
            let mut word = Vec::new();
            let mut plain = String::new();
            while let Some(c) = inner.peek() {
                if c == '$' {
                    flush(&mut word, &mut plain, true);
                    word.push(inner.dollar(true)?);
                } else {
                    plain.push(c);
                    inner.at += 1;
                }
            }
            flush(&mut word, &mut plain, true);
            return Ok(Part::Arithmetic { text: word, quoted });
        }
        if self.take("(") {
            let body = self.list(&[])?;
            self.blank();
            if !self.take(")") {
                return Err("syntax error: unexpected end of file (expecting \")\")".to_owned());
            }
            return Ok(Part::Command { body, quoted });
        }
        if self.take("{") {
            return self.parameter(quoted);
        }
        let name = match self.peek() {
            Some(c @ ('?' | '#' | '@' | '*' | '$' | '!' | '-' | '0'..='9')) => {
                self.at += 1;
                c.to_string()
            }
            _ => self.name(),
        };
        if name.is_empty() {
            return Ok(Part::Text {
                text: "$".to_owned(),
                quoted,
            });
        }
        Ok(Part::Variable {
            name,
            operator: None,
            quoted,
        })
    }

    fn parameter(&mut self, quoted: bool) -> Result<Part, String> {
        let length = self.looking_at("#") && !self.looking_at("#}");
        if length {
            self.at += 1;
        }
        let mut name = self.name();
        if name.is_empty() {
            name = self.peek().map(String::from).unwrap_or_default();
            self.at += 1;
        }
        let mut operator = None;
        if length {
            operator = Some(("length".to_owned(), Vec::new()));
        } else if self.peek() != Some('}') {
            let sign = [":-", ":=", ":+", ":?", "-", "=", "+", "?", "%%", "%", "##", "#"]
                .into_iter()
                .find(|s| self.take(s));
            let sign = sign.ok_or("syntax error: bad substitution")?;
            let mut word = Vec::new();
            let mut text = String::new();
            while let Some(c) = self.peek() {
                match c {
                    '}' => break,
                    '$' | '`' => {
                        flush(&mut word, &mut text, quoted);
                        word.push(self.dollar(quoted)?);
                    }
                    '"' => {
                        flush(&mut word, &mut text, quoted);
                        self.at += 1;
                        self.double_quoted(&mut word)?;
                    }
                    _ => {
                        text.push(c);
                        self.at += 1;
                    }
                }
            }
            flush(&mut word, &mut text, quoted);
            operator = Some((sign.to_owned(), word));
        }
        if !self.take("}") {
            return Err("syntax error: missing '}'".to_owned());
        }
        Ok(Part::Variable { name, operator, quoted })
    }
}

fn flush(parts: &mut Word, text: &mut String, quoted: bool) {
    if !text.is_empty() {
        parts.push(Part::Text {
            text: std::mem::take(text),
            quoted,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_of_real_manifests_are_read() {
        for script in [
            "echo 'fatal: no database url' >&2; exit 3",
            "until nc -z aha 27492; do echo waiting for aha; sleep 2; done",
            "n=$(cat /state/n 2>/dev/null || echo 0); echo $((n+1)) > /state/n; [ $n -ge 2 ] || { echo 'away' >&2; exit 1; }; exec sleep 3600",
            "trap 'echo stopping; sleep 3; exit 0' TERM; while true; do sleep 0.2; done",
            "set -e\nfor h in a b; do\n  until nc -z $h 80; do sleep 1; done\ndone\n# done\necho ok",
            "if [ -n \"$A\" ]; then echo ${A:-none}; elif true; then :; else false; fi",
            "case $1 in a|b) echo ab;; *) echo other; esac",
            "f() { echo $1; }; f x | cat",
        ] {
            assert!(parse(script).is_ok(), "{script}: {:?}", parse(script));
        }
    }

    #[test]
    fn broken_scripts_say_what_is_wrong() {
        for (script, says) in [
            ("echo 'x", "unterminated"),
            ("if true; then echo", "expecting \"fi\""),
            ("while true; echo; done", "unexpected \"done\""),
            ("cat <<EOF", "here-documents"),
            ("&& x", "unexpected"),
        ] {
            let error = parse(script).expect_err(script);
            assert!(error.contains(says), "{script}: {error}");
        }
    }

    #[test]
    fn hostile_nesting_is_an_error_and_not_a_crash() {
        assert!(parse(&"(".repeat(5_000)).is_err());
        assert!(parse(&"$(".repeat(5_000)).is_err());
        assert!(parse(&"{ ".repeat(5_000)).is_err());
    }
}
