//! How commands print: a table for people, JSON or YAML for programs, and colour only on a terminal.
//!
//! Every command produces one serializable value; this file decides its form and never its content.

use clap::ValueEnum;
use serde::Serialize;
use std::io::{IsTerminal as _, Write as _};

/// The form of what a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

impl Output {
    /// Prints a value: for people by `table`, else as a document.
    ///
    /// # Errors
    /// When standard output is closed.
    pub(crate) fn print<T: Serialize>(self, value: &T, table: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        let text = match self {
            Self::Table => table(value),
            Self::Json => serde_json::to_string_pretty(value)? + "\n",
            Self::Yaml => myelin_engine::yaml::emit(&serde_json::to_value(value)?),
        };
        write(&text)
    }

    /// Prints one of several values that come one after the other: a line of JSON or a YAML document each.
    ///
    /// # Errors
    /// As [`Output::print`].
    pub(crate) fn stream<T: Serialize>(self, value: &T, line: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        let text = match self {
            Self::Table => line(value),
            Self::Json => serde_json::to_string(value)? + "\n",
            Self::Yaml => format!("---\n{}", myelin_engine::yaml::emit(&serde_json::to_value(value)?)),
        };
        write(&text)
    }
}

/// Writes to standard output. A reader that stops early (`| head`) is no error.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Whether words are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Colour(bool);

/// What a word means to the reader; the colour follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it should be.
    Good,
    /// On its way, or worth a look.
    Note,
    /// Wrong.
    Bad,
    /// Beside the point.
    Faint,
}

impl Colour {
    /// For standard output: colour on a terminal, unless `NO_COLOR` is set (no-color.org) or the terminal is dumb.
    pub(crate) fn of_stdout() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self(std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb)
    }

    /// A word in its colour.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        if !self.0 || text.is_empty() {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Note => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// A state in the colour that it deserves.
    pub(crate) fn state(self, state: &str) -> String {
        self.paint(tone(state), state)
    }
}

/// What a state means.
pub(crate) fn tone(state: &str) -> Tone {
    match state.split([':', ' ']).next().unwrap_or_default() {
        "ready" | "Normal" | "owned" => Tone::Good,
        "failed" | "rejected" | "unreachable" | "missing" | "drifted" | "Warning" => Tone::Bad,
        "" => Tone::Faint,
        _ => Tone::Note,
    }
}

/// Rows under headings, as wide as they need to be; the last column is not filled up.
pub(crate) fn columns(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut written = String::new();
        for (cell, width) in cells.zip(&widths) {
            written.push_str(&format!("{cell:<width$}   "));
        }
        text.push_str(written.trim_end());
        text.push('\n');
    };
    line(&mut headings.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    text
}

/// The first digits of a commit or a hash, as people quote it.
pub(crate) fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// How long ago, in one unit, as kubectl says it.
pub(crate) fn ago(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_where_text_ends() {
        let rows = vec![
            vec!["a".to_owned(), "long cell".to_owned()],
            vec!["bbbb".into(), "c".into()],
        ];
        assert_eq!(columns(&["X", "Y"], &rows), "X      Y\na      long cell\nbbbb   c\n");
    }

    #[test]
    fn colour_is_a_matter_of_the_terminal_alone() {
        assert_eq!(Colour(false).state("failed"), "failed");
        assert_eq!(Colour(true).state("failed: x"), "\u{1b}[31mfailed: x\u{1b}[0m");
        assert_eq!(Colour(true).state("ready"), "\u{1b}[32mready\u{1b}[0m");
    }

    #[test]
    fn spans_are_said_in_one_unit() {
        for (seconds, said) in [(-3, "0s"), (119, "119s"), (120, "2m"), (7_200, "2h"), (200_000, "2d")] {
            assert_eq!(ago(seconds), said);
        }
    }
}
