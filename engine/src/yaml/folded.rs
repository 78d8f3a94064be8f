//! Text blocks in kustomize's output. It writes every document back as YAML and reads that again before it prints it,
//! which changes some of them.

/// Why a block of text is refused: kustomize writes it in a way that it cannot read again.
pub const STARTS_WITH_TAB: &str =
    "a block of text cannot start with a tab for kustomize; write the text in double quotes, with \\t";

/// Whether the original still writes a block text as a block when it writes the document back before printing. A text
/// that it cannot write as a block is double-quoted, with every line break where it was.
pub fn is_written_as_block(text: &str) -> bool {
    let odd = |c: char| {
        !matches!(c, '\t' | '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') || c == '\u{feff}'
    };
    let breaks = ['\n', '\u{2028}', '\u{2029}'];
    !text.ends_with(' ') && !text.contains(odd) && !text.match_indices(breaks).any(|(i, _)| text[..i].ends_with(' '))
}

/// What the original makes of a folded text when it writes it back before it prints it: a line break is added where a line that
/// starts with a blank follows one that does not, and to line breaks at the end if there are several.
pub(super) fn refolded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(end) = rest.find('\n') {
        let line = &rest[..end];
        let after = rest[end..].trim_start_matches('\n');
        let breaks = rest.len() - end - after.len();
        out.push_str(&rest[..end + breaks]);
        let plain = !line.is_empty() && !line.starts_with([' ', '\t']);
        let next = after.starts_with([' ', '\t']) || (after.is_empty() && breaks > 1);
        if plain && next {
            out.push('\n');
        }
        rest = after;
    }
    out.push_str(rest);
    out
}
