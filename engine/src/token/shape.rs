//! The shape of a text that may hold a secret: enough to see why a rule did not match, too little to learn the secret.
//!
//! Runs of letters and digits become their kind and length, punctuation stays: `url: ssl://h0/9f` → `a3: a3://w2/w2`.

/// Lines and characters shown at most; the rest is counted.
const LINES: usize = 4;
const MARKS: usize = 24;

/// The shape of `text`, on one line.
#[must_use]
pub fn shape(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    if lines.is_empty() {
        return "nothing".into();
    }
    let mut shown: Vec<String> = lines
        .iter()
        .take(LINES)
        .map(|l| format!("`{}`", line_shape(l)))
        .collect();
    if lines.len() > LINES {
        shown.push(format!("and {} more", lines.len() - LINES));
    }
    let count = match lines.len() {
        1 => "1 line".to_owned(),
        n => format!("{n} lines"),
    };
    format!(
        "{count}: {} (a = letters, 9 = digits, w = both; with their number)",
        shown.join(", ")
    )
}

fn line_shape(line: &str) -> String {
    let mut out = String::new();
    let mut marks = 0;
    let mut run = (0usize, false, false);
    for c in line.trim().chars() {
        if c.is_alphanumeric() {
            run = (run.0 + 1, run.1 | c.is_alphabetic(), run.2 | c.is_numeric());
            continue;
        }
        close(&mut out, &mut run);
        marks += 1;
        if marks > MARKS {
            out.push('…');
            return out;
        }
        // Controls never reach a terminal.
        out.push(if c.is_control() || !c.is_ascii() { '?' } else { c });
    }
    close(&mut out, &mut run);
    out
}

fn close(out: &mut String, run: &mut (usize, bool, bool)) {
    let (length, letters, digits) = std::mem::take(run);
    if length > 0 {
        out.push(match (letters, digits) {
            (true, true) => 'w',
            (false, true) => '9',
            _ => 'a',
        });
        out.push_str(&length.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::shape;

    #[test]
    fn a_shape_keeps_the_punctuation_and_loses_the_words() {
        let text = "one-time use URL: ssl://aha:27272/0af3?certhash=9e\n";
        let got = shape(text);
        assert!(got.contains("`a3-a4 a3 a3: a3://a3:95/w4?a8=w2`"), "{got}");
        for word in ["aha", "27272", "0af3", "certhash"] {
            assert!(!got.contains(word), "{word} is in {got}");
        }
    }

    #[test]
    fn long_and_empty_texts_have_short_shapes() {
        assert_eq!(shape(" \n"), "nothing");
        let many = "x\n".repeat(50);
        assert!(
            shape(&many).starts_with("50 lines: `a1`, `a1`, `a1`, `a1`, and 46 more"),
            "{}",
            shape(&many)
        );
        assert!(shape(&"-".repeat(10_000)).len() < 150);
        assert!(!shape("a\u{1b}[31mb").contains('\u{1b}'));
    }
}
