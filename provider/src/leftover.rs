//! Removes folders of providers that were killed; otherwise their sockets would stay in the temporary folder.
//!
//! Our folders are recognized by their name, their owner and a lock that is held while the process lives. Young folders
//! are left alone, because they may be about to be locked, and so are folders with any other content.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// What the folder of a socket is called, before some random letters.
pub const PREFIX: &str = "myelin-";

/// The file that is locked for as long as the process lives.
const LOCK: &str = "lock";

/// The socket in the folder.
pub const SOCKET: &str = "socket";

/// Younger folders are not looked at.
const AGE: Duration = Duration::from_secs(60);

/// How many entries of the temporary folder are looked at, at most.
const ENTRIES: usize = 10_000;

/// Marks a folder as in use until the file is closed.
///
/// # Errors
/// If the file cannot be made or locked.
pub fn mark(folder: &Path) -> io::Result<File> {
    let file = File::create_new(folder.join(LOCK))?;
    file.try_lock()?;
    Ok(file)
}

/// Removes the folders of killed providers. Gives how many.
pub fn sweep(parent: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return 0;
    };
    let ours = rustix::process::geteuid().as_raw();
    entries
        .take(ENTRIES)
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)))
        .filter(|entry| {
            entry
                .metadata()
                .is_ok_and(|about| about.is_dir() && about.uid() == ours && is_old(&about))
        })
        .filter(|entry| is_abandoned(&entry.path()) && remove(&entry.path()).is_ok())
        .count()
}

fn is_old(about: &Metadata) -> bool {
    let age = about.modified().ok().and_then(|at| at.elapsed().ok());
    age.is_some_and(|age| age > AGE)
}

/// Whether no process holds the lock. A folder without one is not ours, or belongs to a process that is just starting.
fn is_abandoned(folder: &Path) -> bool {
    File::open(folder.join(LOCK)).is_ok_and(|file| file.try_lock().is_ok())
}

/// Removes what we put there, and the folder if nothing else is in it.
fn remove(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        if ![SOCKET, LOCK]
            .iter()
            .any(|name| entry.as_ref().is_ok_and(|e| e.file_name() == *name))
        {
            return Err(io::Error::other("something else is in it"));
        }
    }
    for name in [SOCKET, LOCK] {
        match std::fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::remove_dir(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn only_old_folders_of_ours_that_nobody_holds_are_removed() {
        let parent = tempfile::tempdir().expect("a folder");
        let make = |name: &str, marked: bool, old: bool| {
            let folder = parent.path().join(name);
            std::fs::create_dir(&folder).expect("made");
            std::fs::write(folder.join(SOCKET), "").expect("written");
            let lock = marked.then(|| mark(&folder).expect("locked"));
            if old {
                let long_ago = SystemTime::now() - Duration::from_secs(3600);
                let times = std::fs::FileTimes::new().set_modified(long_ago);
                File::open(&folder).and_then(|f| f.set_times(times)).expect("aged");
            }
            lock
        };
        drop(make("myelin-killed", true, true));
        let _held = make("myelin-alive", true, true);
        drop(make("myelin-young", true, false));
        make("myelin-unmarked", false, true);
        drop(make("another-thing", true, true));
        drop(make("myelin-full", true, true));
        std::fs::write(parent.path().join("myelin-full/kept"), "").expect("written");
        let full = File::open(parent.path().join("myelin-full")).expect("open");
        let times = std::fs::FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(3600));
        full.set_times(times).expect("aged");
        assert_eq!(sweep(parent.path()), 1);
        let mut left: Vec<String> = std::fs::read_dir(parent.path())
            .expect("read")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        left.sort();
        assert_eq!(
            left,
            [
                "another-thing",
                "myelin-alive",
                "myelin-full",
                "myelin-unmarked",
                "myelin-young"
            ]
        );
        assert!(parent.path().join("myelin-full/socket").exists());
    }
}
