//! Extracts the value from a tool's output.
//!
//! If a rule does not match, the error shows the shape of the output, never the output.

use super::shape::shape;
use super::value::SecretValue;
use regex::Regex;
use std::str::FromStr;

/// Bytes of a value when the document names no limit.
pub const DEFAULT_MAX_LENGTH: usize = 4096;

/// Which part of the output is the value.
#[derive(Debug, Clone)]
pub enum Extract {
    /// All of it, without white space around it.
    All,
    /// The one URL in it (`scheme://…` up to white space or a quote).
    Url,
    /// The first group of a regular expression, or the whole match when it has no group. Must match once.
    Pattern(Regex),
}

impl PartialEq for Extract {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Extract {}

impl std::fmt::Display for Extract {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::Url => "url",
            Self::Pattern(pattern) => pattern.as_str(),
        })
    }
}

impl FromStr for Extract {
    type Err = String;

    /// `all`, `url` or a regular expression with at most one group.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            "url" => Ok(Self::Url),
            "" => Err("write url, all or a regular expression".into()),
            _ => {
                let pattern = regex::RegexBuilder::new(text)
                    .size_limit(1 << 20)
                    .multi_line(true)
                    .build()
                    .map_err(|e| format!("is neither url nor all nor a regular expression: {e}"))?;
                match pattern.captures_len() {
                    1 | 2 => Ok(Self::Pattern(pattern)),
                    n => Err(format!(
                        "has {} groups; mark the value with one, the others with (?:…)",
                        n - 1
                    )),
                }
            }
        }
    }
}

impl Extract {
    /// Takes the value out of the output.
    ///
    /// # Errors
    /// Why there is no value, several, or one that is too long. The text is safe to show.
    pub fn take(&self, output: &[u8], max_length: usize) -> Result<SecretValue, String> {
        let text = std::str::from_utf8(output)
            .map_err(|_| format!("the output ({} bytes) is not UTF-8 text", output.len()))?;
        let value = match self {
            Self::All => text.trim(),
            Self::Url => self.only(text, urls(text))?,
            Self::Pattern(pattern) => {
                let found = pattern.captures_iter(text).take(2);
                let found = found.filter_map(|c| c.get(1).or_else(|| c.get(0)).map(|m| m.as_str()));
                self.only(text, found.collect())?
            }
        };
        if value.is_empty() {
            return Err(format!("the value is empty; the output has {}", shape(text)));
        }
        if value.len() > max_length {
            return Err(format!(
                "the value has {} bytes, more than maxLength ({max_length}); the output has {}",
                value.len(),
                shape(text)
            ));
        }
        Ok(SecretValue::new(value.as_bytes().to_vec()))
    }

    fn only<'t>(&self, text: &str, found: Vec<&'t str>) -> Result<&'t str, String> {
        match found.as_slice() {
            [one] => Ok(one),
            [] => Err(format!(
                "extract \"{self}\" matches nothing; the output has {}",
                shape(text)
            )),
            _ => Err(format!(
                "extract \"{self}\" matches more than once; the output has {}",
                shape(text)
            )),
        }
    }
}

/// Every `scheme://…`, up to white space, a quote or an angle bracket; without the punctuation that ends a sentence.
fn urls(text: &str) -> Vec<&str> {
    text.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '`'))
        .filter_map(|word| {
            let colon = word.find("://")?;
            let scheme_start = word[..colon]
                .rfind(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')))
                .map_or(0, |i| i + word[i..].chars().next().map_or(1, char::len_utf8));
            let url = word[scheme_start..].trim_end_matches([',', ';', '.', ')', ']']);
            let scheme = url.split(':').next().unwrap_or_default();
            let rest = &url[scheme.len()..];
            (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && rest.len() > "://".len()).then_some(url)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(rule: &str, output: &str) -> Result<String, String> {
        let value = Extract::from_str(rule).expect("a rule").take(output.as_bytes(), 100)?;
        Ok(String::from_utf8(value.expose().to_vec()).expect("text"))
    }

    #[test]
    fn the_real_tools_line_gives_the_url_alone() {
        let hash = "9e".repeat(32);
        let url = format!("ssl://aha.synapse:27272/{}?certhash={hash}", "0a".repeat(16));
        let line = format!("one-time use URL: {url}\n");
        let value = Extract::Url.take(line.as_bytes(), DEFAULT_MAX_LENGTH).expect("a url");
        assert_eq!(value.expose(), url.as_bytes());
    }

    #[test]
    fn rules_take_one_value_or_say_why_not() {
        let table = [
            ("url", "see (https://a/b).", Ok("https://a/b")),
            ("url", "\"tcp://x:1/\"", Ok("tcp://x:1/")),
            ("url", "no url", Err("matches nothing")),
            ("url", "a://b c://d", Err("matches more than once")),
            ("url", "://nothing", Err("matches nothing")),
            ("all", "  token \n", Ok("token")),
            ("all", " \n", Err("empty")),
            ("key=(\\w+)", "x\nkey=abc\n", Ok("abc")),
            ("^\\d+$", "id\n42\n", Ok("42")),
            ("key=(\\w+)", "key=a key=b", Err("more than once")),
        ];
        for (rule, output, want) in table {
            match (take(rule, output), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{rule}"),
                (Err(got), Err(want)) => assert!(got.contains(want), "{rule}: {got}"),
                (got, want) => panic!("{rule} on {output:?}: {got:?}, want {want:?}"),
            }
        }
    }

    #[test]
    fn errors_never_show_the_output() {
        let secret = "hunter2hunter2";
        for (rule, output) in [
            ("url", format!("key {secret}")),
            ("all", secret.repeat(20)),
            ("x(y)", secret.into()),
        ] {
            let why = take(rule, &output).expect_err("no value");
            assert!(!why.contains("hunter"), "{why}");
        }
    }

    #[test]
    fn bad_rules_are_refused() {
        assert!(Extract::from_str("(").expect_err("bad").contains("regular expression"));
        assert!(Extract::from_str("(a)(b)").expect_err("bad").contains("2 groups"));
        assert!(Extract::from_str("").is_err());
    }
}
