//! Reads a small file with a limit: an endless device has no size that would reveal it.

use std::fs::File;
use std::io::{Error, Read as _, Result};
use std::path::Path;

/// The text of a file of at most this many bytes.
///
/// # Errors
/// When it cannot be read, is not text, or is larger.
pub(crate) fn read(path: &Path, most: u64) -> Result<String> {
    let mut text = String::new();
    File::open(path)?.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        return Err(Error::other(format!("it has more than {most} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound_and_what_never_ends_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "12345678").expect("room");
        assert_eq!(read(&file, 8).expect("it fits"), "12345678");
        for (path, most) in [(file.as_path(), 7), (Path::new("/dev/zero"), 4_096)] {
            let error = read(path, most).expect_err("too much").to_string();
            assert!(error.contains("more than"), "{error}");
        }
    }
}
