//! Checks that the error texts quoted in the troubleshooting guide exist in the source: otherwise the guide is useless.
//!
//! A heading `` ### `text` `` quotes an error; `…` stands for what is filled in, so the pieces in between are searched
//! for.

use crate::repository;
use anyhow::{Context, Result};
use std::path::Path;

const GUIDE: &str = "docs/guides/troubleshooting.md";

/// The crates that speak to people.
const SPEAKERS: [&str; 5] = ["engine/src", "provider/src", "reconciler/src", "aws/src", "agent/src"];

/// Quoted texts that no source has.
pub(crate) fn problems() -> Result<Vec<String>> {
    let guide = repository::text(Path::new(GUIDE))?.with_context(|| format!("{GUIDE} is no text"))?;
    let mut source = String::new();
    for file in repository::files()? {
        if SPEAKERS.iter().any(|folder| file.starts_with(folder)) && file.extension().is_some_and(|e| e == "rs") {
            source.push_str(&joined(&repository::text(&file)?.unwrap_or_default()));
        }
    }
    Ok(unknown(&guide, &source))
}

/// Rust text with its string continuations joined, as they print.
fn joined(text: &str) -> String {
    let mut pieces = text.split("\\\n");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        out.push_str(piece.trim_start());
    }
    out
}

fn unknown(guide: &str, source: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut quotes = 0;
    for (index, line) in guide.lines().enumerate() {
        let Some(quoted) = line.strip_prefix("### `").and_then(|rest| rest.strip_suffix('`')) else {
            continue;
        };
        quotes += 1;
        for piece in quoted.split('…').map(str::trim).filter(|piece| piece.len() > 2) {
            if !source.contains(piece) {
                problems.push(format!("{GUIDE}:{}: no error says {piece:?}", index + 1));
            }
        }
    }
    if quotes == 0 {
        problems.push(format!("{GUIDE} quotes no error"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::{joined, unknown};

    #[test]
    fn a_quoted_text_is_found_piece_by_piece_and_a_made_up_one_is_told_with_its_line() {
        let source = joined("error(format!(\"stack {} was \\\n                 rolled back\"))");
        assert!(unknown("# T\n### `stack … was rolled back`\n", &source).is_empty());
        let told = unknown("# T\n### `stack … was mended`\n", &source);
        assert_eq!(told.len(), 1);
        assert!(told[0].contains(":2:") && told[0].contains("was mended"), "{told:?}");
        assert_eq!(unknown("nothing", &source).len(), 1);
    }
}
