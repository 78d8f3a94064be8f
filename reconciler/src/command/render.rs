//! `myelin render DIR`: prints what `kubectl kustomize DIR` prints. Reads bases wherever on the disk the kustomization
//! names them, but files only from each kustomization's own folder, unless that restriction is lifted.

use super::keys::KeyArguments;
use super::local::told;
use crate::sops::{self, Decryption};
use anyhow::Context as _;
use clap::{Args, ValueEnum};
use myelin_engine::render::{Options, render_kustomization};
use myelin_engine::tree::{Tree, TreeLimits, TreePath};
use myelin_engine::yaml::emit;
use std::io::Write as _;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The folder with the kustomization.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Whether a kustomization may read files outside of its own folder.
    #[arg(long, value_enum, default_value_t = Restrictor::LoadRestrictionsRootOnly, ignore_case = true)]
    load_restrictor: Restrictor,
    // With a key, what was encrypted and all data of Secrets is shown as `(decrypted)`.
    #[command(flatten)]
    keys: KeyArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Restrictor {
    /// Files only from the kustomization's own folder.
    #[value(name = "LoadRestrictionsRootOnly")]
    LoadRestrictionsRootOnly,
    /// Files from anywhere.
    #[value(name = "LoadRestrictionsNone")]
    LoadRestrictionsNone,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let disk = Tree::open(Path::new("/"), TreeLimits::default())?;
    let shown = arguments.dir.display();
    let tree_path = |path: &Path| -> anyhow::Result<TreePath> {
        let real = std::fs::canonicalize(path).with_context(|| format!("cannot open {shown}"))?;
        let text = real
            .to_str()
            .with_context(|| format!("the path {shown} is not UTF-8"))?;
        TreePath::root()
            .join(text)
            .with_context(|| format!("the path {shown} leads nowhere"))
    };
    let folder = tree_path(&arguments.dir)?;
    let mut tree = disk.shown_from(tree_path(Path::new("."))?);
    let keys = arguments.keys.choice();
    if !keys.is_empty() {
        tree = tree.opened_by(Decryption::with(&keys));
    }
    let options = Options {
        load_anywhere: arguments.load_restrictor == Restrictor::LoadRestrictionsNone,
        ..Options::default()
    };
    let mut objects = render_kustomization(&tree, &folder, &options)
        .map_err(|problems| told(sops::without(&tree.opened_values(), problems)))?;
    if !keys.is_empty() {
        let values = tree.opened_values();
        for object in &mut objects {
            sops::hide(&values, &mut object.value);
        }
    }
    let mut text = String::new();
    for (i, object) in objects.iter().enumerate() {
        if i > 0 {
            text.push_str("---\n");
        }
        text.push_str(&emit(&object.value));
    }
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .context("cannot write the objects")
}
