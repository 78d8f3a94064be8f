//! YAML timestamps: which texts are timestamps, and the RFC 3339 form in which they are printed. The accepted forms are
//! those of the original's reader (a subset of <https://yaml.org/type/timestamp.html>).

/// The RFC 3339 text of a timestamp, or `None` if `text` is not one.
pub(super) fn normalise(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || !bytes[..4].iter().all(u8::is_ascii_digit) || bytes[4] != b'-' {
        return None;
    }
    let mut rest = &bytes[5..];
    let year: u32 = text[..4].parse().ok()?;
    let month = short_number(&mut rest)?;
    eat(&mut rest, b'-')?;
    let day = short_number(&mut rest)?;
    if month == 0 || month > 12 || day == 0 || day > days_in(year, month) {
        return None;
    }
    let date = format!("{year:04}-{month:02}-{day:02}");
    if rest.is_empty() {
        return Some(format!("{date}T00:00:00Z"));
    }
    let zoned = match rest[0] {
        b'T' | b't' => true,
        b' ' => false,
        _ => return None,
    };
    rest = &rest[1..];
    if !zoned {
        rest = rest.trim_ascii_start();
    }
    let hour = short_number(&mut rest)?;
    eat(&mut rest, b':')?;
    let minute = short_number(&mut rest)?;
    eat(&mut rest, b':')?;
    let second = short_number(&mut rest)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut fraction = String::new();
    if let [b'.' | b',', tail @ ..] = rest {
        let n = tail.iter().take_while(|b| b.is_ascii_digit()).count();
        if n == 0 {
            return None;
        }
        let digits = std::str::from_utf8(&tail[..n.min(9)]).ok()?.trim_end_matches('0');
        if !digits.is_empty() {
            fraction = format!(".{digits}");
        }
        rest = &tail[n..];
    }
    let zone = match rest {
        [] if !zoned => "Z".to_owned(),
        b"Z" if zoned => "Z".to_owned(),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] if zoned => {
            let digits = [*h1, *h2, *m1, *m2];
            if !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let hours = (h1 - b'0') * 10 + (h2 - b'0');
            let minutes = (m1 - b'0') * 10 + (m2 - b'0');
            if hours > 24 || minutes >= 60 {
                return None;
            }
            if hours == 0 && minutes == 0 {
                "Z".to_owned()
            } else {
                format!("{}{hours:02}:{minutes:02}", *sign as char)
            }
        }
        _ => return None,
    };
    Some(format!("{date}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}"))
}

/// One or two digits.
fn short_number(rest: &mut &[u8]) -> Option<u32> {
    let n = rest.iter().take(2).take_while(|b| b.is_ascii_digit()).count();
    if n == 0 {
        return None;
    }
    let value = rest[..n].iter().fold(0, |v, b| v * 10 + u32::from(b - b'0'));
    *rest = &rest[n..];
    Some(value)
}

fn eat(rest: &mut &[u8], byte: u8) -> Option<()> {
    let (first, tail) = rest.split_first()?;
    *rest = tail;
    (*first == byte).then_some(())
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::normalise;

    #[test]
    fn timestamps_leave_as_rfc_3339() {
        for (text, want) in [
            ("2001-1-2", Some("2001-01-02T00:00:00Z")),
            ("2024-02-29", Some("2024-02-29T00:00:00Z")),
            ("2023-02-29", None),
            ("2001-12-14t21:59:43.10-05:00", Some("2001-12-14T21:59:43.1-05:00")),
            ("2001-12-14T21:59:43Z", Some("2001-12-14T21:59:43Z")),
            ("2001-12-14 21:59:43", Some("2001-12-14T21:59:43Z")),
            ("2001-12-14   21:59:43", Some("2001-12-14T21:59:43Z")),
            ("2001-12-14 21:59:43Z", None),
            ("2001-12-14T21:59:43", None),
            ("2001-12", None),
            ("20011-12-1", None),
            ("1.2.3-4567", None),
        ] {
            assert_eq!(normalise(text).as_deref(), want, "{text}");
        }
    }
}
