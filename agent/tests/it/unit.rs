//! The systemd unit: systemd accepts it without a warning, and finds little exposure. Skipped, with a message, without
//! `systemd-analyze`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The unit, with this machine's binary in it: systemd checks that the program exists.
fn unit(folder: &Path) -> PathBuf {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/myelin-agent.service");
    let text = std::fs::read_to_string(file).expect("the unit is part of the crate");
    let text = text.replace(
        "/usr/local/bin/myelin-agent run",
        &format!("{} run", env!("CARGO_BIN_EXE_myelin-agent")),
    );
    assert!(text.contains(env!("CARGO_BIN_EXE_myelin-agent")));
    let own = folder.join("myelin-agent.service");
    std::fs::write(&own, text).expect("room");
    own
}

/// What `systemd-analyze` says; None where there is none.
fn analyze(arguments: &[&str], unit: &Path) -> Option<(bool, String)> {
    let done = Command::new("systemd-analyze").args(arguments).arg(unit).output();
    let done = match done {
        Ok(done) => done,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("systemd-analyze: {error}"),
    };
    let text = [done.stdout, done.stderr].concat();
    Some((done.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

#[test]
fn systemd_understands_the_unit_and_calls_its_exposure_low() {
    let folder = tempfile::tempdir().expect("a folder");
    let unit = unit(folder.path());
    let Some((done, said)) = analyze(&["verify", "--man=no"], &unit) else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: this machine has no systemd-analyze");
        return;
    };
    let own: Vec<&str> = said.lines().filter(|l| l.contains("myelin-agent")).collect();
    assert!(done && own.is_empty(), "{said}");
    // In tenths: 2.0 of 10 is well inside of what systemd calls OK (below 4.0).
    let judged = analyze(&["security", "--offline=true", "--threshold=20", "--no-pager"], &unit);
    let (done, said) = judged.expect("it was there a moment ago");
    assert!(done, "{said}");
}
