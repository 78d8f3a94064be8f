//! The file and line that set each field of every object of a commit, stored beside the index of origins: one line of
//! JSON per object, compressed as a whole. It holds places and names of fields, never values.

use crate::deployment::{WantedCommit, WantedStack};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use myelin_engine::desired::DesiredObject;
use myelin_engine::object::ObjectKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};

/// What it may become when it is read. A larger one was not written by us.
const LARGEST_TEXT: u64 = 256 << 20;
/// Used instead of a file and line for fields that no file sets.
pub(crate) const OURS: &str = "added by Myelin";

/// The fields of one object: each leaf as a JSON pointer, and where it was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FieldPlaces {
    object: ObjectKey,
    /// Pointer, with `name=NAME` for items of lists that have names: their order on the server may be another; and place.
    pub(crate) fields: Vec<(String, String)>,
}

/// Packs the fields of everything that a commit renders; nothing when it would be larger than that.
pub(crate) fn pack(wanted: &WantedCommit, largest: usize) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for stack in &wanted.stacks {
        for object in &stack.desired.objects {
            let mut fields = Vec::new();
            leaves(
                &object.value,
                [&mut String::new(), &mut String::new()],
                &mut |pointer, named| {
                    fields.push((named.to_owned(), place(stack, object, pointer)));
                },
            );
            let line = FieldPlaces {
                object: object.key.clone(),
                fields,
            };
            serde_json::to_writer(&mut encoder, &line).ok()?;
            encoder.write_all(b"\n").ok()?;
            if encoder.get_ref().len() > largest {
                return None;
            }
        }
    }
    let bytes = encoder.finish().ok()?;
    (bytes.len() <= largest).then_some(bytes)
}

/// The fields of one object.
pub(crate) fn find(packed: &[u8], key: &ObjectKey) -> Option<FieldPlaces> {
    let lines = BufReader::new(GzDecoder::new(packed).take(LARGEST_TEXT)).lines();
    lines
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_str::<FieldPlaces>(&line).ok())
        .find(|found| found.object == *key)
}

fn place(stack: &WantedStack, object: &DesiredObject, pointer: &str) -> String {
    let last = pointer.rsplit('/').next().unwrap_or_default();
    if last.starts_with("applyset.kubernetes.io~1") || last.starts_with("myelin.dev~1") {
        return OURS.to_owned();
    }
    match object.fields.find(pointer) {
        // What the stack's document sets is listed by its field, at its place in that document.
        Some(found) if found.file.starts_with("spec.") => format!("{}: {}", stack.place, found.file),
        Some(found) => {
            let mut found = found;
            if let Some(path) = stack.folder.join(&found.file) {
                path.as_str().clone_into(&mut found.file);
            }
            found.to_string()
        }
        None => stack.place_of(object).to_string(),
    }
}

/// Every leaf, by its number in lists and by its name; an empty list or map is one.
fn leaves(node: &Value, [at, named]: [&mut String; 2], tell: &mut impl FnMut(&str, &str)) {
    let lengths = (at.len(), named.len());
    let mut below = |step: &str, name: &str, below: &Value| {
        at.push('/');
        at.push_str(step);
        named.push('/');
        named.push_str(name);
        leaves(below, [&mut *at, &mut *named], tell);
        at.truncate(lengths.0);
        named.truncate(lengths.1);
    };
    match node {
        Value::Object(map) if !map.is_empty() => {
            for (name, inner) in map {
                let step = name.replace('~', "~0").replace('/', "~1");
                below(&step, &step, inner);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (i, item) in items.iter().enumerate() {
                let number = i.to_string();
                let name = item
                    .get("name")
                    .and_then(Value::as_str)
                    .filter(|name| !name.contains(['/', '~']));
                let name = name.map_or_else(|| number.clone(), |name| format!("name={name}"));
                below(&number, &name, item);
            }
        }
        _ => tell(at, named),
    }
}
