//! `bench render`: the engine's renderer compared with `kubectl kustomize`, each as a process that prints the same
//! documents.

use super::table::{Table, cpu, mebibytes, seconds};
use super::trees;
use crate::built::Programs;
use crate::measure::{self, Cost};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Prints the figures. A difference between the two outputs is reported, and is an error.
pub(crate) fn run(programs: &Programs) -> Result<()> {
    let workbench = programs.path("myelin-workbench")?;
    let folder = tempfile::Builder::new()
        .prefix("myelin-bench-")
        .tempdir()
        .context("make a temporary folder")?;
    let tree = folder.path();
    let cases: [(String, Vec<PathBuf>); 3] = [
        (
            format!("{} documents in 51 kustomizations", trees::DOCUMENTS),
            vec![trees::wide(&folder.path().join("wide"))?],
        ),
        (
            format!("a chain of {} overlays", trees::DEPTH),
            vec![trees::deep(&folder.path().join("deep"))?],
        ),
        (
            format!("{} small overlays", trees::OVERLAYS),
            trees::overlays(&folder.path().join("overlays"))?,
        ),
    ];
    for (title, roots) in cases {
        let mut table = Table::new(format!("render: {title}"), &["wall", "cpu", "peak memory"]);
        let myelin = each(&roots, |root| myelin_renders(&workbench, tree, &[root.to_path_buf()]))?;
        let kubectl = each(&roots, |root| {
            let mut command = Command::new("kubectl");
            command.arg("kustomize").arg(root);
            command
        })?;
        let what = if roots.len() > 1 { ", a process each" } else { "" };
        table.row(format!("myelin{what}"), figures(&myelin.1));
        table.row(format!("kubectl kustomize{what}"), figures(&kubectl.1));
        if roots.len() > 1 {
            let mut command = myelin_renders(&workbench, tree, &roots);
            table.row("myelin, one process", figures(&measure::run(&mut command)?.cost));
        }
        table.print();
        ensure!(myelin.0 == kubectl.0, "the two print different documents");
        println!("  both print the same {} bytes", myelin.0.len());
    }
    Ok(())
}

/// The workbench on folders of a tree.
fn myelin_renders(workbench: &Path, tree: &Path, roots: &[PathBuf]) -> Command {
    let inside = |root: &PathBuf| root.strip_prefix(tree).unwrap_or(root).to_string_lossy().into_owned();
    let paths: Vec<String> = roots.iter().map(inside).collect();
    let mut command = Command::new(workbench);
    command
        .args(["render", "--paths", &paths.join(","), "--tree"])
        .arg(tree);
    command
}

/// Runs a command for each root, one after the other; all that they printed, and the sum of what they cost.
fn each(roots: &[PathBuf], command: impl Fn(&Path) -> Command) -> Result<(String, Cost)> {
    let mut printed = String::new();
    let mut sum = Cost {
        cpu: Some(0.0),
        ..Cost::default()
    };
    for root in roots {
        let run = measure::run(&mut command(root))?;
        printed.push_str(&run.stdout);
        sum.wall += run.cost.wall;
        sum.cpu = sum.cpu.zip(run.cost.cpu).map(|(sum, one)| sum + one);
        for (name, kib) in run.cost.peak_kib {
            let peak = sum.peak_kib.entry(name).or_default();
            *peak = kib.max(*peak);
        }
    }
    Ok((printed, sum))
}

fn figures(cost: &Cost) -> Vec<String> {
    vec![
        seconds(cost.wall.as_secs_f64()),
        cpu(cost.cpu),
        mebibytes(cost.peak_all_mib()),
    ]
}
