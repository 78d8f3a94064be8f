//! `NAME=value` lines. The SOPS metadata is in names that begin with `sops_`.

use super::flat::Flat;
use super::layout::{Found, Leaf};
use super::value::{BEGIN, Value};
use myelin_engine::yaml::At;
use zeroize::Zeroizing;

pub(super) fn read(text: &str, found: &mut Found) {
    let mut flat = Flat::default();
    for (number, line) in text.lines().enumerate() {
        let line_number = u32::try_from(number + 1).unwrap_or(0);
        let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        if let Some(field) = name.strip_prefix("sops_") {
            flat.take(field, value, line_number);
            continue;
        }
        let value = value.replace("\\n", "\n");
        found.leaves.push(match value.starts_with(BEGIN) {
            true => Leaf::Sealed {
                place: format!("{name}:"),
                at: At {
                    line: line_number,
                    ..At::default()
                },
                text: value,
            },
            false => Leaf::Plain(value.into_bytes()),
        });
    }
    found.metadata = flat.done();
}

pub(super) fn opened(text: &str, values: &[Value]) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::new());
    let mut values = values.iter();
    for line in text.lines().filter(|line| !line.starts_with("sops_")) {
        match line.split_once('=') {
            Some((name, value)) if !line.starts_with('#') && value.starts_with(BEGIN) => {
                out.push_str(name);
                out.push('=');
                if let Some(value) = values.next() {
                    out.push_str(&value.text.replace('\n', "\\n"));
                }
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}
