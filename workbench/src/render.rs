//! The engine's renderer as a process: kustomizations in, their documents out as text.

use crate::Options;
use anyhow::{Result, anyhow};
use myelin_engine::render::{self, render};
use myelin_engine::tree::{Tree, TreeLimits};
use myelin_engine::yaml;
use std::io::Write;
use std::path::Path;

/// Prints the documents of each of `--paths` (commas between them), folders of `--tree`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let tree = Tree::open(Path::new(options.text("tree")?), TreeLimits::default())?;
    let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
    for path in options.text("paths")?.split(',') {
        let objects = render(&tree, path, &render::Options::default()).map_err(|problems| anyhow!("{problems}"))?;
        for (number, object) in objects.iter().enumerate() {
            if number > 0 {
                stdout.write_all(b"---\n")?;
            }
            stdout.write_all(yaml::emit(&object.value).as_bytes())?;
        }
    }
    Ok(stdout.flush()?)
}
