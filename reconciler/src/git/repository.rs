//! The one file that uses libgit2. Everything in it blocks.

use super::GitError;
use super::remote::Remote;
use git2::{AutotagOption, Direction, FetchOptions, ObjectType, Oid, RemoteCallbacks};
use myelin_engine::tree::{Entry, Tree, TreeLimits};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

/// What a commit's files may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Length of one file, in bytes.
    pub(crate) file_bytes: u64,
    /// All files together, in bytes.
    pub(crate) total_bytes: u64,
    /// Number of files.
    pub(crate) files: usize,
    /// Folders below each other.
    pub(crate) depth: usize,
    /// What one fetch may receive, in bytes.
    pub(crate) fetch_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 16 << 20,
            total_bytes: 256 << 20,
            files: 50_000,
            depth: 64,
            fetch_bytes: 512 << 20,
        }
    }
}

/// A commit and its files.
#[derive(Debug)]
pub(crate) struct Commit {
    /// 40 hex digits.
    pub(crate) hash: String,
    /// First line of its message.
    pub(crate) subject: String,
    /// Name of its author.
    pub(crate) author: String,

    /// Its files.
    pub(crate) tree: Tree,
    /// Its signature and what was signed, as git keeps them.
    pub(crate) signature: Option<(Vec<u8>, Vec<u8>)>,
}

/// A remote branch and the objects that we have of it.
#[derive(Debug)]
pub(super) struct Repository {
    pub(super) remote: Remote,
    branch: String,
    store: PathBuf,
    limits: Limits,
    deadline: Mutex<Option<Instant>>,
}

impl Repository {
    pub(super) fn new(remote: Remote, branch: &str, store: PathBuf, limits: Limits) -> Self {
        Self {
            remote,
            branch: branch.to_owned(),
            store,
            limits,
            deadline: Mutex::new(None),
        }
    }

    /// The address as it is shown to people.
    pub(super) fn shown(&self) -> String {
        self.remote.shown()
    }

    /// Transfers that are under way end at this time.
    pub(super) fn until(&self, deadline: Instant) {
        if let Ok(mut until) = self.deadline.lock() {
            *until = Some(deadline);
        }
    }

    /// Which commit the branch points to. `url` is where libgit2 dials.
    pub(super) fn head(&self, url: &str) -> Result<String, GitError> {
        let wanted = format!("refs/heads/{}", self.branch);
        let found = self.open().and_then(|store| {
            let mut remote = store.remote_anonymous(url)?;
            let connection = remote.connect_auth(Direction::Fetch, Some(self.callbacks()), None)?;
            let heads = connection.list()?;
            Ok(heads
                .iter()
                .find(|head| head.name() == wanted)
                .map(|head| head.oid().to_string()))
        });
        found
            .map_err(|error| self.refused("asking", &error))?
            .ok_or_else(|| GitError::NoBranch {
                url: self.shown(),
                branch: self.branch.clone(),
            })
    }

    /// The commit and its files.
    pub(super) fn commit(&self, url: &str, hash: &str) -> Result<Commit, GitError> {
        let refused = |error: git2::Error| self.refused("fetching", &error);
        let store = self.open().map_err(refused)?;
        let oid = Oid::from_str(hash).map_err(refused)?;
        if store.find_commit(oid).is_err() {
            self.fetch(&store, url, oid).map_err(refused)?;
        }
        let commit = store.find_commit(oid).map_err(|_| GitError::Refused {
            doing: "fetching",
            url: self.shown(),
            said: format!("commit {hash} is not on branch {}", self.branch),
        })?;
        let tree = files_of(&store, &commit, self.limits)?;
        let signature = store
            .extract_signature(&oid, None)
            .ok()
            .map(|(signature, signed)| (signature.to_vec(), signed.to_vec()));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Commit {
            hash: oid.to_string(),
            subject: text(commit.summary_bytes().unwrap_or_default()),
            author: text(commit.author().name_bytes()),
            tree,
            signature,
        })
    }

    /// The commit alone where the other side can give it alone; else the branch.
    fn fetch(&self, store: &git2::Repository, url: &str, oid: Oid) -> Result<(), git2::Error> {
        let mut remote = store.remote_anonymous(url)?;
        let local = matches!(self.remote, Remote::Local(_));
        let head = format!("+refs/heads/{}:refs/heads/{}", self.branch, self.branch);
        let exactly = format!("+{oid}:refs/myelin/held");
        let mut attempts = vec![(head.clone(), if local { 0 } else { 1 })];
        if !local {
            attempts.push((exactly, 1));
            attempts.push((head, 0));
        }
        let mut last = Ok(());
        for (refspec, depth) in attempts {
            let mut options = FetchOptions::new();
            options
                .remote_callbacks(self.callbacks())
                .download_tags(AutotagOption::None)
                .update_fetchhead(false)
                .depth(depth);
            last = remote.fetch(&[refspec.as_str()], Some(&mut options), None);
            if store.find_commit(oid).is_ok() {
                return Ok(());
            }
        }
        last
    }

    fn callbacks(&self) -> RemoteCallbacks<'_> {
        let mut callbacks = RemoteCallbacks::new();
        callbacks.transfer_progress(|progress| {
            let late = self
                .deadline
                .lock()
                .is_ok_and(|until| until.is_some_and(|until| Instant::now() > until));
            !late && progress.received_bytes() <= self.limits.fetch_bytes
        });
        callbacks
    }

    fn open(&self) -> Result<git2::Repository, git2::Error> {
        if let Ok(store) = git2::Repository::open_bare(&self.store) {
            return Ok(store);
        }
        let mut options = git2::RepositoryInitOptions::new();
        // No template: a template could bring hooks, though libgit2 runs none.
        options
            .bare(true)
            .mkpath(true)
            .external_template(false)
            .mode(git2::RepositoryInitMode::from_bits_truncate(0o700));
        git2::Repository::init_opts(&self.store, &options)
    }

    fn refused(&self, doing: &'static str, error: &git2::Error) -> GitError {
        GitError::Refused {
            doing,
            url: self.shown(),
            said: error.message().to_owned(),
        }
    }
}

/// The files of a commit as a tree in memory.
///
/// # Errors
/// When they exceed a limit or cannot be read.
pub(super) fn files_of(store: &git2::Repository, commit: &git2::Commit<'_>, limits: Limits) -> Result<Tree, GitError> {
    let root = commit
        .tree()
        .map_err(|error| GitError::Unfit(format!("{}: {}", commit.id(), error.message())))?;
    let mut files = Files {
        store,
        limits,
        bytes: 0,
        entries: Vec::new(),
    };
    files.folder(&root, "", 0)?;
    let limits = TreeLimits {
        file_bytes: limits.file_bytes,
        ..TreeLimits::default()
    };
    Tree::from_entries(files.entries, limits).map_err(|error| GitError::Unfit(error.to_string()))
}

/// How a pointer of Git LFS begins (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>).
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/";

/// A commit's files on their way into memory.
struct Files<'a> {
    store: &'a git2::Repository,
    limits: Limits,
    bytes: u64,
    entries: Vec<(String, Entry)>,
}

impl Files<'_> {
    fn folder(&mut self, folder: &git2::Tree<'_>, path: &str, depth: usize) -> Result<(), GitError> {
        if depth > self.limits.depth {
            return Err(GitError::Unfit(format!(
                "{path} lies more than {} folders deep",
                self.limits.depth
            )));
        }
        for item in folder {
            let name = std::str::from_utf8(item.name_bytes())
                .map_err(|_| GitError::Unfit(format!("a file name in \"{path}\" is not UTF-8")))?;
            let path = if path.is_empty() {
                name.to_owned()
            } else {
                format!("{path}/{name}")
            };
            match item.kind() {
                Some(ObjectType::Tree) => {
                    let unreadable = |error: git2::Error| GitError::Unfit(format!("{path}: {}", error.message()));
                    let below = self.store.find_tree(item.id()).map_err(unreadable)?;
                    self.folder(&below, &path, depth + 1)?;
                }
                Some(ObjectType::Blob) => self.file(item.id(), item.filemode() == 0o120_000, path)?,
                // A submodule is a commit of another repository: its files are not here, and nothing is fetched for it.
                // Whatever needs them reports that.
                _ => {
                    let why = "it is a submodule, whose files are not fetched; commit the files themselves";
                    self.take(path, Entry::Withheld(why.to_owned()))?;
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, id: Oid, is_link: bool, path: String) -> Result<(), GitError> {
        let blob = self
            .store
            .find_blob(id)
            .map_err(|error| GitError::Unfit(format!("{path}: {}", error.message())))?;
        let length = blob.size() as u64;
        self.bytes += length;
        if self.bytes > self.limits.total_bytes {
            let limit = self.limits.total_bytes >> 20;
            return Err(GitError::Unfit(format!(
                "the commit's files have more than {limit} MiB"
            )));
        }
        let entry = if is_link {
            Entry::Link(String::from_utf8_lossy(blob.content()).into_owned())
        } else if length > self.limits.file_bytes {
            // Too large to be a manifest, and only a problem if something reads it.
            Entry::Withheld(format!("it has {length} bytes, more than are read of one file"))
        } else if blob.content().starts_with(LFS) {
            Entry::Withheld(
                "it is a pointer of Git LFS, and the file that it stands for is not fetched; commit the file itself"
                    .to_owned(),
            )
        } else {
            Entry::File(blob.content().into())
        };
        self.take(path, entry)
    }

    fn take(&mut self, path: String, entry: Entry) -> Result<(), GitError> {
        if self.entries.len() == self.limits.files {
            return Err(GitError::Unfit(format!(
                "the commit has more than {} files",
                self.limits.files
            )));
        }
        self.entries.push((path, entry));
        Ok(())
    }
}
