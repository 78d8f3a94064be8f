//! Linters from the Python registry, in the repository's own virtual environment under `target/`.
//!
//! They are installed once per change of `requirements.txt`. A linter that cannot be installed is an error: a check
//! that did not run is not green.

use crate::repository;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where `requirements.txt` lies.
const REQUIREMENTS: &str = "xtask/requirements.txt";

/// The virtual environment, with everything that the requirements name.
#[derive(Debug)]
pub(crate) struct Tools {
    folder: PathBuf,
}

impl Tools {
    /// Installs what is missing.
    ///
    /// # Errors
    /// When Python is absent or a package cannot be installed; with pip's output.
    pub(crate) fn installed() -> Result<Self> {
        let wanted = fs::read_to_string(repository::root().join(REQUIREMENTS)).context("read the requirements")?;
        let folder = repository::root().join("target/tools");
        let done = folder.join("installed");
        if fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
            return Ok(Self { folder });
        }
        let tools = Self { folder };
        must(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&tools.folder),
            "make a virtual environment (Debian keeps this part of Python in python3-venv)",
        )?;
        must(
            Command::new(tools.path("pip"))
                .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
                .arg(repository::root().join(REQUIREMENTS)),
            "install the linters of xtask/requirements.txt",
        )?;
        fs::write(&done, wanted).context("note what was installed")?;
        Ok(tools)
    }

    /// Runs a linter at the root of the repository; its lines are the problems, none when it is content.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn lint(&self, name: &str, arguments: &[&str]) -> Result<Vec<String>> {
        let output = Command::new(self.path(name))
            .args(arguments)
            .current_dir(repository::root())
            .output()
            .with_context(|| format!("run {name}"))?;
        if output.status.success() {
            return Ok(Vec::new());
        }
        let mut problems = vec![format!("{name} {}:", arguments.join(" "))];
        problems.extend(said(&output).lines().map(|line| format!("  {line}")));
        Ok(problems)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder
            .join(if cfg!(windows) { "Scripts" } else { "bin" })
            .join(name)
    }
}

/// All files of the repository below a folder whose name ends as given.
///
/// # Errors
/// When git cannot list the repository's files.
pub(crate) fn files_below(folder: &str, ending: &str) -> Result<Vec<String>> {
    Ok(repository::files()?
        .iter()
        .filter(|file| Path::new(file).starts_with(folder))
        .map(|file| file.to_string_lossy().into_owned())
        .filter(|file| file.ends_with(ending))
        .collect())
}

fn must(command: &mut Command, what: &str) -> Result<()> {
    let output = command.output().with_context(|| what.to_owned())?;
    if !output.status.success() {
        bail!("{what}: {}", said(&output));
    }
    Ok(())
}

fn said(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    text.push('\n');
    text.push_str(String::from_utf8_lossy(&output.stderr).trim());
    text.trim().to_owned()
}
