//! The files that a stack is rendered from: a folder on disk, read on demand, or files in memory. Paths are relative to
//! the tree's root and never leave it, neither by `..` nor through a link. The content of the files is not interpreted
//! here.

mod path;

pub use path::TreePath;

use crate::yaml::FileId;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

/// Limits of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeLimits {
    /// Length of one file, in bytes.
    pub file_bytes: u64,
    /// All reads together, in bytes.
    pub total_bytes: u64,
    /// How many reads.
    pub reads: u64,
}

impl Default for TreeLimits {
    /// 16 MiB a file, 1 GiB together, 200,000 reads.
    fn default() -> Self {
        Self {
            file_bytes: 16 << 20,
            total_bytes: 1 << 30,
            reads: 200_000,
        }
    }
}

/// Why a path of the tree cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Nothing is there.
    #[error("there is no file or folder \"{0}\"")]
    Missing(String),
    /// The path leaves the tree.
    #[error("\"{0}\" lies outside of the source tree")]
    Outside(String),
    /// Too many links; probably a loop.
    #[error("too many links on the way to \"{0}\"")]
    Links(String),
    /// A folder where a file is needed, or the other way round, or neither.
    #[error("\"{0}\" is not {1}")]
    Kind(String, &'static str),
    /// A limit.
    #[error("\"{0}\" exceeds the limit of {1}")]
    Limit(String, String),
    /// The operating system refused.
    #[error("cannot read \"{0}\": {1}")]
    Read(String, String),
    /// A sealed file that cannot be opened: its path, the line, and why.
    #[error("{0}:{1}: {2}")]
    Sealed(String, u32, String),
}

/// Decrypts encrypted ("sealed") files of the tree when they are read, in memory only.
pub trait Opener: std::fmt::Debug + Send + Sync {
    /// What is to be read instead of a file's bytes; None for a file that is not sealed.
    fn open(&self, path: &TreePath, bytes: &[u8]) -> Option<Result<Arc<[u8]>, Sealed>>;

    /// Every value that was opened so far: none of them may be shown.
    fn values(&self) -> Vec<String>;
}

/// Why a sealed file cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The line; 0 if it concerns none.
    pub line: u32,
    /// Why. Holds no value.
    pub why: String,
}

/// An entry of a tree in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file and its content.
    File(Arc<[u8]>),
    /// A file that exists but is not read, and why: only what needs it fails.
    Withheld(String),
    /// A symbolic link and its target, as text.
    Link(String),
}

/// What a path leads to, after links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A file.
    File(TreePath),
    /// A folder.
    Folder(TreePath),
}

/// A tree of files with a boundary.
#[derive(Debug)]
pub struct Tree {
    source: Source,
    limits: TreeLimits,
    read_bytes: AtomicU64,
    reads: AtomicU64,
    /// The prefix that is removed from a path before it is shown.
    shown_from: TreePath,
    names: RwLock<Vec<TreePath>>,
    opener: Option<Arc<dyn Opener>>,
}

#[derive(Debug)]
enum Source {
    /// The root, with no link in it.
    Disk(PathBuf),
    Memory(BTreeMap<String, Entry>),
}

const MOST_LINKS: usize = 40;

impl Tree {
    /// The folder `root` on disk; nothing outside it is ever read.
    ///
    /// # Errors
    /// When `root` is not a folder.
    pub fn open(root: &Path, limits: TreeLimits) -> Result<Self, TreeError> {
        let shown = root.display().to_string();
        let real = std::fs::canonicalize(root).map_err(|e| TreeError::Read(shown.clone(), e.to_string()))?;
        if !real.is_dir() {
            return Err(TreeError::Kind(shown, "a folder"));
        }
        Ok(Self::new(Source::Disk(real), limits))
    }

    /// Files in memory, by their path relative to the root.
    ///
    /// # Errors
    /// When a path is not relative or climbs out.
    pub fn from_entries(
        entries: impl IntoIterator<Item = (String, Entry)>,
        limits: TreeLimits,
    ) -> Result<Self, TreeError> {
        let mut all = BTreeMap::new();
        for (path, entry) in entries {
            let clean = TreePath::root()
                .join(&path)
                .ok_or_else(|| TreeError::Outside(path.clone()))?;
            if path.starts_with('/') {
                return Err(TreeError::Outside(path));
            }
            all.insert(clean.as_str().to_owned(), entry);
        }
        Ok(Self::new(Source::Memory(all), limits))
    }

    fn new(source: Source, limits: TreeLimits) -> Self {
        Self {
            source,
            limits,
            read_bytes: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            shown_from: TreePath::root(),
            names: RwLock::new(vec![TreePath::root()]),
            opener: None,
        }
    }

    /// The same tree, whose sealed files are opened by this.
    #[must_use]
    pub fn opened_by(mut self, opener: Arc<dyn Opener>) -> Self {
        self.opener = Some(opener);
        self
    }

    /// Values out of sealed files that were read so far: none of them may be shown.
    #[must_use]
    pub fn opened_values(&self) -> Vec<String> {
        self.opener.as_ref().map_or_else(Vec::new, |opener| opener.values())
    }

    /// The same tree, whose paths are shown relative to one of its folders.
    #[must_use]
    pub fn shown_from(mut self, folder: TreePath) -> Self {
        self.shown_from = folder;
        self
    }

    /// A path as it is shown to the user.
    pub fn show(&self, path: &TreePath) -> String {
        path.relative_to(&self.shown_from)
    }

    /// The path behind what [`Self::show`] gave.
    pub fn path_of(&self, shown: &str) -> Option<TreePath> {
        self.shown_from.join(shown)
    }

    /// The text of the file that [`Self::show`] named, if there is one.
    pub fn text(&self, shown: &str) -> Option<String> {
        let path = self.path_of(shown)?;
        String::from_utf8(self.read(&path).ok()?.to_vec()).ok()
    }

    /// A number for a file, to be kept with every node that is read from it.
    pub fn file_id(&self, path: &TreePath) -> FileId {
        let mut names = self.names.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        names.push(path.clone());
        FileId(u32::try_from(names.len() - 1).unwrap_or(0))
    }

    /// The name of a numbered file, as it is shown to the user.
    pub fn file_name(&self, id: FileId) -> String {
        let names = self.names.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        names.get(id.0 as usize).map(|path| self.show(path)).unwrap_or_default()
    }

    /// Follows links and says what is there.
    ///
    /// # Errors
    /// When nothing is there, or it lies outside.
    pub fn find(&self, path: &TreePath) -> Result<Found, TreeError> {
        match &self.source {
            Source::Disk(root) => {
                let real = std::fs::canonicalize(root.join(path.as_str())).map_err(|e| match e.kind() {
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                        TreeError::Missing(self.show(path))
                    }
                    _ => TreeError::Read(self.show(path), e.to_string()),
                })?;
                let inside = real
                    .strip_prefix(root)
                    .map_err(|_| TreeError::Outside(self.show(path)))?;
                let text = inside
                    .to_str()
                    .ok_or_else(|| TreeError::Kind(self.show(path), "named in UTF-8"))?;
                let clean = TreePath::root()
                    .join(text)
                    .ok_or_else(|| TreeError::Outside(self.show(path)))?;
                match std::fs::metadata(&real) {
                    Ok(meta) if meta.is_dir() => Ok(Found::Folder(clean)),
                    Ok(meta) if meta.is_file() => Ok(Found::File(clean)),
                    Ok(_) => Err(TreeError::Kind(self.show(path), "a file or folder")),
                    Err(e) => Err(TreeError::Read(self.show(path), e.to_string())),
                }
            }
            Source::Memory(entries) => self.find_in_memory(entries, path),
        }
    }

    fn find_in_memory(&self, entries: &BTreeMap<String, Entry>, path: &TreePath) -> Result<Found, TreeError> {
        let mut pending: Vec<String> = path
            .as_str()
            .rsplit('/')
            .filter(|s| !s.is_empty())
            .map(str::to_owned)
            .collect();
        let mut here = TreePath::root();
        let mut links = 0;
        while let Some(step) = pending.pop() {
            if step == ".." {
                here = here.parent().ok_or_else(|| TreeError::Outside(self.show(path)))?;
                continue;
            }
            let next = here.join(&step).ok_or_else(|| TreeError::Outside(self.show(path)))?;
            match entries.get(next.as_str()) {
                Some(Entry::Link(target)) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(TreeError::Links(self.show(path)));
                    }
                    if target.starts_with('/') {
                        return Err(TreeError::Outside(self.show(path)));
                    }
                    pending.extend(
                        target
                            .rsplit('/')
                            .filter(|s| !s.is_empty() && *s != ".")
                            .map(str::to_owned),
                    );
                }
                Some(Entry::File(_) | Entry::Withheld(_)) if pending.is_empty() => return Ok(Found::File(next)),
                Some(Entry::File(_) | Entry::Withheld(_)) => return Err(TreeError::Missing(self.show(path))),
                None => here = next,
            }
        }
        let prefix = if here.is_root() {
            String::new()
        } else {
            format!("{here}/")
        };
        let inside = entries
            .range(prefix.clone()..)
            .next()
            .is_some_and(|(name, _)| name.starts_with(&prefix));
        if inside || here.is_root() {
            Ok(Found::Folder(here))
        } else {
            Err(TreeError::Missing(self.show(path)))
        }
    }

    /// The content of a file.
    ///
    /// # Errors
    /// When it is not there, not a file, or a limit is passed.
    pub fn read(&self, path: &TreePath) -> Result<Arc<[u8]>, TreeError> {
        let Found::File(real) = self.find(path)? else {
            return Err(TreeError::Kind(self.show(path), "a file"));
        };
        let limit = |what: String| TreeError::Limit(self.show(path), what);
        if self.reads.fetch_add(1, Ordering::Relaxed) >= self.limits.reads {
            return Err(limit(format!("{} files", self.limits.reads)));
        }
        let bytes: Arc<[u8]> = match &self.source {
            Source::Memory(entries) => match entries.get(real.as_str()) {
                Some(Entry::File(bytes)) => bytes.clone(),
                Some(Entry::Withheld(why)) => return Err(TreeError::Read(self.show(path), why.clone())),
                _ => return Err(TreeError::Missing(self.show(path))),
            },
            Source::Disk(root) => {
                let failed = |e: std::io::Error| TreeError::Read(self.show(path), e.to_string());
                let file = std::fs::File::open(root.join(real.as_str())).map_err(failed)?;
                let mut bytes = Vec::new();
                file.take(self.limits.file_bytes + 1)
                    .read_to_end(&mut bytes)
                    .map_err(failed)?;
                bytes.into()
            }
        };
        let length = bytes.len() as u64;
        if length > self.limits.file_bytes {
            return Err(limit(format!("{} bytes for one file", self.limits.file_bytes)));
        }
        if self.read_bytes.fetch_add(length, Ordering::Relaxed) + length > self.limits.total_bytes {
            return Err(limit(format!("{} bytes for all files", self.limits.total_bytes)));
        }
        match self.opener.as_ref().and_then(|opener| opener.open(&real, &bytes)) {
            Some(opened) => opened.map_err(|sealed| TreeError::Sealed(self.show(path), sealed.line, sealed.why)),
            None => Ok(bytes),
        }
    }

    /// The names in a folder, sorted.
    ///
    /// # Errors
    /// When it is not a folder.
    pub fn list(&self, folder: &TreePath) -> Result<Vec<String>, TreeError> {
        let Found::Folder(real) = self.find(folder)? else {
            return Err(TreeError::Kind(self.show(folder), "a folder"));
        };
        let mut names = Vec::new();
        match &self.source {
            Source::Disk(root) => {
                let failed = |e: std::io::Error| TreeError::Read(self.show(folder), e.to_string());
                for entry in std::fs::read_dir(root.join(real.as_str())).map_err(failed)? {
                    names.extend(entry.map_err(failed)?.file_name().into_string());
                    if names.len() as u64 > self.limits.reads {
                        return Err(TreeError::Limit(
                            self.show(folder),
                            format!("{} files", self.limits.reads),
                        ));
                    }
                }
            }
            Source::Memory(entries) => {
                let prefix = if real.is_root() {
                    String::new()
                } else {
                    format!("{real}/")
                };
                let inside = entries
                    .range(prefix.clone()..)
                    .take_while(|(name, _)| name.starts_with(&prefix));
                names.extend(
                    inside
                        .filter_map(|(name, _)| name[prefix.len()..].split('/').next())
                        .map(str::to_owned),
                );
            }
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }
}

#[cfg(test)]
mod tests;
