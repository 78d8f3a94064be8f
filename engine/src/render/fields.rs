//! Positions of nodes → origins of an object's fields.

use crate::origin::{FieldOrigins, PathHash};
use crate::yaml::{At, Content, FileId, Node};

/// The origins of all fields of an object. `name` is the name of a file.
pub(super) fn origins(node: &Node, name: &dyn Fn(FileId) -> String) -> FieldOrigins {
    let mut walk = Walk {
        origins: FieldOrigins::default(),
        files: Vec::new(),
        name,
    };
    walk.inside(node, PathHash::ROOT, node.at);
    walk.origins.shrink();
    walk.origins
}

struct Walk<'a> {
    origins: FieldOrigins,
    files: Vec<(FileId, u32)>,
    name: &'a dyn Fn(FileId) -> String,
}

impl Walk<'_> {
    fn inside(&mut self, node: &Node, path: PathHash, around: At) {
        match &node.content {
            Content::Scalar(_) => {}
            Content::Map(entries) => {
                for entry in entries {
                    let value = &entry.value;
                    // A map or a list begins behind its key; what a patch put in its place has a position of its own.
                    let key_counts = value.at.line == 0
                        || (value.as_scalar().is_none() && entry.at.file == value.at.file && entry.at.line > 0);
                    let at = if key_counts { entry.at } else { value.at };
                    self.one(value, path.key(&entry.key), at, around);
                }
            }
            Content::Seq(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.one(item, path.index(index), item.at, around);
                }
            }
        }
    }

    fn one(&mut self, node: &Node, path: PathHash, at: At, around: At) {
        let known = at.line > 0 && (at.file, at.line) != (around.file, around.line);
        if known {
            let file = self.file(at.file);
            self.origins.note(path, file, at.line);
        }
        self.inside(node, path, if known { at } else { around });
    }

    fn file(&mut self, id: FileId) -> u32 {
        if let Some((_, number)) = self.files.iter().find(|(known, _)| *known == id) {
            return *number;
        }
        let number = self.origins.file(&(self.name)(id));
        self.files.push((id, number));
        number
    }
}
