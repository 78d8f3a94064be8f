//! Splits a text into pieces as kustomize does before it reads any of them: at every line that starts with three
//! dashes, wherever that line is. Of each piece it then reads only the first document. The content of a piece is not
//! examined here.

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    /// The line it starts in, from 1.
    pub(super) line: u32,
}

/// The pieces of a text; or the line of a separator with something behind its dashes that is no comment.
pub(super) fn cut(text: &str) -> Result<Vec<Piece<'_>>, u32> {
    const DASHES: &str = "\n---";
    let mut pieces = Vec::new();
    let (mut start, mut line) = (0, 1);
    while let Some(end) = text[start..].find(DASHES).map(|i| start + i + 1) {
        // The last line is no separator unless it is a whole one.
        let Some(after) = text[end..].find('\n').map(|i| end + i + 1) else {
            break;
        };
        let piece = &text[start..end];
        let next = line + lines(piece);
        let rest = text[end + DASHES.len() - 1..after].trim();
        if !rest.is_empty() && !rest.starts_with('#') {
            return Err(next);
        }
        pieces.push(Piece { text: piece, line });
        (start, line) = (after, next + 1);
    }
    pieces.push(Piece {
        text: &text[start..],
        line,
    });
    Ok(pieces)
}

fn lines(text: &str) -> u32 {
    u32::try_from(text.bytes().filter(|b| *b == b'\n').count()).unwrap_or(u32::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_lines_that_start_with_dashes() {
        for (text, want) in [
            ("a", Ok(vec![("a", 1)])),
            ("---\na\n---\nb\n", Ok(vec![("---\na\n", 1), ("b\n", 4)])),
            ("a\n--- # x\n---\nb\n---", Ok(vec![("a\n", 1), ("---\nb\n---", 3)])),
            ("a\r\n---#x\r\nb", Ok(vec![("a\r\n", 1), ("b", 3)])),
            ("a\n--- {}\nb", Err(2)),
            ("a\n----\nb", Err(2)),
        ] {
            let got = cut(text).map(|pieces| pieces.iter().map(|p| (p.text, p.line)).collect());
            assert_eq!(got, want, "{text:?}");
        }
    }
}
