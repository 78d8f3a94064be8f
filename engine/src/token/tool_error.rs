//! The error message of a failing tool, in one line that is safe to show.

/// Characters of the line that are shown at most.
const LIMIT: usize = 200;

/// The first line that reports an error, or else the first line, with everything masked that may be a secret: URLs
/// after their scheme, and long runs that look like keys.
#[must_use]
pub fn first_error_line(stdout: &[u8], stderr: &[u8]) -> Option<String> {
    let (out, err) = (String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr));
    let lines = || out.lines().chain(err.lines()).map(str::trim).filter(|l| !l.is_empty());
    let is_error = |line: &&str| line.to_ascii_lowercase().contains("error");
    let line = lines()
        .find(is_error)
        .or_else(|| err.lines().chain(out.lines()).map(str::trim).find(|l| !l.is_empty()))?;
    let words: Vec<String> = line.split_whitespace().map(mask_word).collect();
    let mut shown: String = words
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .take(LIMIT)
        .collect();
    if words.join(" ").chars().count() > LIMIT {
        shown.push('…');
    }
    Some(shown)
}

fn mask_word(word: &str) -> String {
    if let Some(at) = word.find("://") {
        return format!("{}…", &word[..at + 3]);
    }
    // A run of 16 or more key characters with a digit in it, or of 32 or more, may be a secret; words are neither.
    let mut out = String::new();
    let mut run = String::new();
    for c in word.chars().chain(['\0']) {
        if c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '_' | '-' | '=') {
            run.push(c);
            continue;
        }
        let secret = run.len() >= 32 || run.len() >= 16 && run.contains(|c: char| c.is_ascii_digit());
        out.push_str(if secret { "…" } else { &run });
        run.clear();
        if c != '\0' {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::first_error_line;

    #[test]
    fn the_error_line_is_found_and_masked() {
        let table: [(&str, &str, Option<&str>); 6] = [
            (
                "loading\nERROR: service already exists\n",
                "",
                Some("ERROR: service already exists"),
            ),
            ("", "Traceback\nValueError: bad name\n", Some("ValueError: bad name")),
            ("plain\n", "", Some("plain")),
            ("", "", None),
            ("ERROR: ssl://aha:1/0af3 refused", "", Some("ERROR: ssl://… refused")),
            ("ERROR: key=0123456789abcdef0123 unknown", "", Some("ERROR: … unknown")),
        ];
        for (stdout, stderr, want) in table {
            assert_eq!(first_error_line(stdout.as_bytes(), stderr.as_bytes()).as_deref(), want);
        }
        let long = format!("ERROR: {}", "word ".repeat(100));
        assert!(first_error_line(long.as_bytes(), b"").expect("a line").chars().count() <= 201);
    }
}
