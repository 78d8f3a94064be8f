//! `Filter.N.Name` and `Filter.N.Value.M`: every filter must match, any of its values may; `*` and `?` are wildcards, and `\` takes
//! the character after it for itself.

use super::params::Params;

/// One filter.
#[derive(Debug)]
pub(crate) struct Filter {
    /// Its name.
    pub name: String,
    values: Vec<String>,
}

impl Filter {
    /// The filters of a request.
    pub(crate) fn of(params: &Params) -> Vec<Filter> {
        params
            .items("Filter")
            .into_iter()
            .map(|f| Filter {
                name: f.owned("Name"),
                values: f.texts("Value"),
            })
            .collect()
    }

    /// Whether a value is taken.
    pub(crate) fn takes(&self, value: &str) -> bool {
        self.values
            .iter()
            .any(|pattern| like(pattern.as_bytes(), value.as_bytes()))
    }

    /// Whether any of some values is taken.
    pub(crate) fn takes_any<'a>(&self, values: impl IntoIterator<Item = &'a str>) -> bool {
        values.into_iter().any(|v| self.takes(v))
    }
}

/// Wildcard match without backtracking over more than one star.
pub(super) fn like(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b'?') => {
                p += 1;
                t += 1;
            }
            Some(b'\\') if pattern.get(p + 1) == Some(&text[t]) => {
                p += 2;
                t += 1;
            }
            Some(c) if *c == text[t] && *c != b'\\' => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    t = from + 1;
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn wildcards_match_as_ec2s_do() {
        let table = [
            ("prod-*", "prod-1", true),
            ("*-1", "prod-1", true),
            ("p?od", "prod", true),
            ("prod", "prod-1", false),
            ("*", "", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("\\\\?", "\\x", true),
            ("*\\?", "why?", true),
        ];
        for (pattern, text, want) in table {
            assert_eq!(like(pattern.as_bytes(), text.as_bytes()), want, "{pattern} on {text}");
        }
    }
}
