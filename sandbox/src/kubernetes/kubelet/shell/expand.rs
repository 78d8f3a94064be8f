//! Expansion of words: variables, commands, arithmetic, splitting, and patterns.
//!
//! Path patterns (`*.yaml`) are left unexpanded: manifests do not start containers with them.

use super::run::Shell;
use super::syntax::{Node, Part, Word};

/// The fields that a list of words becomes.
pub(super) async fn fields(shell: &mut Shell, words: &[Word]) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for word in words {
        let mut field: Option<String> = None;
        for part in word {
            match part {
                Part::Text { text, .. } => field.get_or_insert_default().push_str(text),
                Part::Variable {
                    name,
                    operator: None,
                    quoted: true,
                } if name == "@" => {
                    let arguments = shell.arguments.clone();
                    for (i, argument) in arguments.iter().enumerate() {
                        if i > 0 {
                            all.extend(field.take());
                        }
                        field.get_or_insert_default().push_str(argument);
                    }
                }
                part => {
                    let (value, quoted) = value(shell, part).await?;
                    if quoted {
                        field.get_or_insert_default().push_str(&value);
                        continue;
                    }
                    let mut pieces = value
                        .split([' ', '\t', '\n'])
                        .filter(|piece| !piece.is_empty())
                        .peekable();
                    if value.starts_with([' ', '\t', '\n']) {
                        all.extend(field.take());
                    }
                    while let Some(piece) = pieces.next() {
                        field.get_or_insert_default().push_str(piece);
                        if pieces.peek().is_some() {
                            all.extend(field.take());
                        }
                    }
                    if value.ends_with([' ', '\t', '\n']) {
                        all.extend(field.take());
                    }
                }
            }
        }
        all.extend(field);
    }
    Ok(all)
}

/// A word as one string, without splitting.
pub(super) async fn text(shell: &mut Shell, word: &Word) -> Result<String, String> {
    let mut all = String::new();
    for part in word {
        all.push_str(&value(shell, part).await?.0);
    }
    Ok(all)
}

/// A word as a pattern: what was quoted stands for itself.
pub(super) async fn pattern(shell: &mut Shell, word: &Word) -> Result<String, String> {
    let mut all = String::new();
    for part in word {
        let (value, quoted) = value(shell, part).await?;
        if quoted {
            for c in value.chars() {
                if matches!(c, '*' | '?' | '[' | '\\') {
                    all.push('\\');
                }
                all.push(c);
            }
        } else {
            all.push_str(&value);
        }
    }
    Ok(all)
}

async fn value(shell: &mut Shell, part: &Part) -> Result<(String, bool), String> {
    Ok(match part {
        Part::Text { text, quoted } => (text.clone(), *quoted),
        Part::Variable { name, operator, quoted } => (variable(shell, name, operator.as_ref()).await?, *quoted),
        Part::Command { body, quoted } => (command(shell, body).await?, *quoted),
        Part::Arithmetic { text: word, quoted } => {
            let expression = Box::pin(text(shell, word)).await?;
            (
                arithmetic(&expression, &|name| shell.variable(name))?.to_string(),
                *quoted,
            )
        }
    })
}

async fn command(shell: &mut Shell, body: &Node) -> Result<String, String> {
    let (code, output) = Box::pin(shell.capture(body)).await;
    shell.last = code;
    Ok(String::from_utf8_lossy(&output).trim_end_matches('\n').to_owned())
}

async fn variable(shell: &mut Shell, name: &str, operator: Option<&(String, Word)>) -> Result<String, String> {
    let found = shell.variable(name);
    let Some((sign, word)) = operator else {
        return Ok(found.unwrap_or_default());
    };
    let set = if sign.starts_with(':') {
        found.clone().filter(|value| !value.is_empty())
    } else {
        found.clone()
    };
    Ok(match sign.trim_start_matches(':') {
        "length" => found.unwrap_or_default().chars().count().to_string(),
        "-" => match set {
            Some(value) => value,
            None => Box::pin(text(shell, word)).await?,
        },
        "=" => match set {
            Some(value) => value,
            None => {
                let value = Box::pin(text(shell, word)).await?;
                shell.variables.insert(name.to_owned(), value.clone());
                value
            }
        },
        "+" => match set {
            Some(_) => Box::pin(text(shell, word)).await?,
            None => String::new(),
        },
        "?" => match set {
            Some(value) => value,
            None => {
                let says = Box::pin(text(shell, word)).await?;
                return Err(format!(
                    "{name}: {}",
                    if says.is_empty() { "parameter not set" } else { &says }
                ));
            }
        },
        cut => {
            let value = found.unwrap_or_default();
            let pattern = Box::pin(pattern(shell, word)).await?;
            strip(&value, &pattern, cut)
        }
    })
}

/// `${x%p}`, `${x%%p}`, `${x#p}`, `${x##p}`
fn strip(value: &str, pattern: &str, how: &str) -> String {
    let mut cuts: Vec<usize> = value.char_indices().map(|(i, _)| i).chain([value.len()]).collect();
    if matches!(how, "%" | "##") {
        cuts.reverse();
    }
    for cut in cuts {
        if how.starts_with('%') && matches(pattern, &value[cut..]) {
            return value[..cut].to_owned();
        }
        if how.starts_with('#') && matches(pattern, &value[..cut]) {
            return value[cut..].to_owned();
        }
    }
    value.to_owned()
}

/// Whether a shell pattern fits a text.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() || p < pattern.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                retry = Some((p, t + 1));
                p += 1;
                continue;
            }
            Some('?') if t < text.len() => Some(1),
            Some('[') if t < text.len() => class(&pattern[p..], text[t]),
            Some('\\') if t < text.len() && pattern.get(p + 1) == Some(&text[t]) => Some(2),
            Some(c) if text.get(t) == Some(c) => Some(1),
            _ => None,
        };
        match (step, retry) {
            (Some(step), _) => {
                p += step;
                t += 1;
            }
            (None, Some((star, next))) if next <= text.len() => {
                retry = Some((star, next + 1));
                p = star + 1;
                t = next;
            }
            _ => return false,
        }
    }
    true
}

/// The length of a `[a-z]` if it holds the character.
fn class(pattern: &[char], c: char) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some('!' | '^'));
    let mut at = 1 + usize::from(negated);
    let mut found = false;
    let start = at;
    while at < pattern.len() && (pattern[at] != ']' || at == start) {
        if pattern.get(at + 1) == Some(&'-') && pattern.get(at + 2).is_some_and(|end| *end != ']') {
            found |= (pattern[at]..=pattern[at + 2]).contains(&c);
            at += 3;
        } else {
            found |= pattern[at] == c;
            at += 1;
        }
    }
    (at < pattern.len() && found != negated).then_some(at + 1)
}

/// Integer arithmetic with the usual precedence.
fn arithmetic(expression: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<i64, String> {
    let mut parser = Arithmetic {
        text: expression.as_bytes(),
        at: 0,
        depth: 0,
        variable,
    };
    let value = parser.level(0)?;
    parser.space();
    if parser.at < parser.text.len() {
        return Err(format!("arithmetic syntax error in \"{expression}\""));
    }
    Ok(value)
}

struct Arithmetic<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    variable: &'a dyn Fn(&str) -> Option<String>,
}

const LEVELS: &[&[&str]] = &[
    &["||"],
    &["&&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["+", "-"],
    &["*", "/", "%"],
];

impl Arithmetic<'_> {
    fn space(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn level(&mut self, level: usize) -> Result<i64, String> {
        let Some(operators) = LEVELS.get(level) else {
            return self.unary();
        };
        let mut left = self.level(level + 1)?;
        loop {
            self.space();
            let Some(operator) = operators
                .iter()
                .find(|op| self.text[self.at..].starts_with(op.as_bytes()))
            else {
                return Ok(left);
            };
            self.at += operator.len();
            let right = self.level(level + 1)?;
            left = match *operator {
                "||" => i64::from(left != 0 || right != 0),
                "&&" => i64::from(left != 0 && right != 0),
                "==" => i64::from(left == right),
                "!=" => i64::from(left != right),
                "<=" => i64::from(left <= right),
                ">=" => i64::from(left >= right),
                "<" => i64::from(left < right),
                ">" => i64::from(left > right),
                "+" => left.wrapping_add(right),
                "-" => left.wrapping_sub(right),
                "*" => left.wrapping_mul(right),
                _ if right == 0 => return Err("divide by zero".to_owned()),
                "/" => left.wrapping_div(right),
                _ => left.wrapping_rem(right),
            };
        }
    }

    fn unary(&mut self) -> Result<i64, String> {
        self.space();
        self.depth += 1;
        if self.depth > 100 {
            return Err("arithmetic expression is nested too deeply".to_owned());
        }
        let value = match self.text.get(self.at) {
            Some(b'-') => {
                self.at += 1;
                self.unary()?.wrapping_neg()
            }
            Some(b'+') => {
                self.at += 1;
                self.unary()?
            }
            Some(b'!') => {
                self.at += 1;
                i64::from(self.unary()? == 0)
            }
            Some(b'(') => {
                self.at += 1;
                let value = self.level(0)?;
                self.space();
                if self.text.get(self.at) != Some(&b')') {
                    return Err("arithmetic syntax error: missing )".to_owned());
                }
                self.at += 1;
                value
            }
            Some(c) if c.is_ascii_digit() => self.word().parse().map_err(|_| "arithmetic syntax error".to_owned())?,
            Some(c) if c.is_ascii_alphabetic() || *c == b'_' => {
                let name = self.word();
                (self.variable)(&name)
                    .and_then(|value| value.trim().parse().ok())
                    .unwrap_or(0)
            }
            _ => return Err("arithmetic syntax error".to_owned()),
        };
        self.depth -= 1;
        Ok(value)
    }

    fn word(&mut self) -> String {
        let start = self.at;
        while self
            .text
            .get(self.at)
            .is_some_and(|c| c.is_ascii_alphanumeric() || *c == b'_')
        {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.text[start..self.at]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_and_sums_are_those_of_a_shell() {
        for (pattern, text, fits) in [
            ("a*", "axon", true),
            ("*.y?ml", "x.yaml", true),
            ("[a-c]x", "bx", true),
            ("[!a]x", "ax", false),
            ("\\*", "*", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
        for (sum, is) in [
            ("1+2*3", 7),
            ("(1+2)*3", 9),
            ("n % 3", 1),
            ("-4 + 1", -3),
            ("2 < 3 && 1", 1),
            ("!0", 1),
        ] {
            assert_eq!(arithmetic(sum, &|_| Some("7".into())), Ok(is), "{sum}");
        }
        assert!(arithmetic("1/0", &|_| None).is_err());
        assert!(arithmetic("1 +", &|_| None).is_err());
        assert_eq!(strip("a/b/c", "*/", "##"), "c");
        assert_eq!(strip("x.tar.gz", ".*", "%"), "x.tar");
    }
}
