//! Where the fields of an object came from: the file and line of every field that was read or set from a file. A field
//! without an entry came from where its parent came from.
//!
//! Stored as hashes of paths, sixteen bytes per field, because there are many fields and few lookups.

use crate::diagnostic::FilePlace;
use std::sync::Arc;

/// Where the fields of one object came from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldOrigins {
    files: Vec<Arc<str>>,
    spans: Vec<Span>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Span {
    path: PathHash,
    file: u32,
    line: u32,
}

/// The hash of a path of keys and indices, made part by part (FNV-1a).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathHash(u64);

impl PathHash {
    /// The object itself.
    pub const ROOT: Self = Self(0xcbf2_9ce4_8422_2325);

    const fn byte(self, byte: u8) -> Self {
        Self((self.0 ^ byte as u64).wrapping_mul(0x0100_0000_01b3))
    }

    /// A field of what this one names.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        key.bytes().fold(self.byte(b'/'), Self::byte)
    }

    /// An element of the list that this one names.
    #[must_use]
    pub fn index(self, index: usize) -> Self {
        let mut digits = [0_u8; 20];
        let (mut rest, mut start) = (index, digits.len());
        loop {
            start -= 1;
            digits[start] = b'0' + u8::try_from(rest % 10).expect("a digit");
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        digits[start..]
            .iter()
            .fold(self.byte(b'/'), |hash, digit| hash.byte(*digit))
    }
}

impl FieldOrigins {
    /// The number that stands for a file from now on.
    pub fn file(&mut self, name: &str) -> u32 {
        let index = self.files.iter().position(|f| **f == *name).unwrap_or_else(|| {
            self.files.push(name.into());
            self.files.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    /// Notes a field's file, as [`Self::file`] numbers it, and line.
    pub fn note(&mut self, path: PathHash, file: u32, line: u32) {
        self.spans.push(Span { path, file, line });
    }

    /// Gives back memory that was kept for more notes.
    pub fn shrink(&mut self) {
        self.spans.shrink_to_fit();
        self.files.shrink_to_fit();
    }

    /// Notes that the field at a JSON pointer came from somewhere else after all.
    pub fn moved(&mut self, pointer: &str, place: &FilePlace) {
        let path = hashes(pointer).last().copied().unwrap_or(PathHash::ROOT);
        self.spans.retain(|span| span.path != path);
        let file = self.file(&place.file);
        self.note(path, file, place.line.unwrap_or(0));
    }

    /// Gives the files other names, as when they are seen from another folder.
    pub fn rename(&mut self, name: impl Fn(&str) -> String) {
        for file in &mut self.files {
            *file = name(file).into();
        }
    }

    /// Where the field at a JSON pointer came from, or else what is nearest around it; nothing if only the object's own
    /// origin is left.
    #[must_use]
    pub fn find(&self, pointer: &str) -> Option<FilePlace> {
        let path = hashes(pointer);
        path.iter().rev().find_map(|hash| {
            let span = self.spans.iter().find(|span| span.path == *hash)?;
            Some(FilePlace {
                file: self.files.get(span.file as usize)?.to_string(),
                line: (span.line > 0).then_some(span.line),
                column: None,
            })
        })
    }
}

/// The hashes of all fields on the way to a JSON pointer, the outermost first.
fn hashes(pointer: &str) -> Vec<PathHash> {
    let mut hash = PathHash::ROOT;
    pointer
        .split('/')
        .skip(1)
        .map(|part| {
            hash = if part.contains('~') {
                hash.key(&part.replace("~1", "/").replace("~0", "~"))
            } else {
                hash.key(part)
            };
            hash
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_not_known_came_from_where_the_one_around_it_did() {
        let mut origins = FieldOrigins::default();
        let (base, patch) = (origins.file("base.yaml"), origins.file("patch.yaml"));
        assert_eq!(origins.file("base.yaml"), base);
        let spec = PathHash::ROOT.key("spec");
        origins.note(spec, base, 3);
        origins.note(spec.key("a/b").index(10), patch, 7);
        let told = |origins: &FieldOrigins, pointer| origins.find(pointer).map(|place| place.to_string());
        for (pointer, want) in [
            ("/spec", Some("base.yaml:3")),
            ("/spec/x/y", Some("base.yaml:3")),
            ("/spec/a~1b/10", Some("patch.yaml:7")),
            ("/spec/a~1b/10/z", Some("patch.yaml:7")),
            ("/spec/a~1b/1", Some("base.yaml:3")),
            ("/status", None),
            ("", None),
        ] {
            assert_eq!(told(&origins, pointer).as_deref(), want, "{pointer}");
        }
        origins.moved("/spec/a~1b/10", &FilePlace::line("stack.yaml", 2));
        origins.rename(|name| format!("x/{name}"));
        assert_eq!(told(&origins, "/spec/a~1b/10").as_deref(), Some("x/stack.yaml:2"));
        assert_eq!(told(&origins, "/spec").as_deref(), Some("x/base.yaml:3"));
    }
}
