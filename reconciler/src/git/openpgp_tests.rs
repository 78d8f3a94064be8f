//! OpenPGP signatures made by the real `gpg`, as git calls it.

use super::*;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// A home of `gpg`; none on a machine without it, which is said.
fn home() -> Option<tempfile::TempDir> {
    if Command::new("gpg").arg("--version").output().is_err() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: there is no gpg on this machine");
        return None;
    }
    Some(tempfile::Builder::new().prefix("g").tempdir().unwrap())
}

fn gpg(home: &Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gpg")
        .args([
            "--batch",
            "--yes",
            "--quiet",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "",
            "--no-tty",
            "--status-fd",
            "2",
        ])
        .args(arguments)
        .env("GNUPGHOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "gpg {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn export(home: &Path, who: &str) -> Vec<Key> {
    let text = gpg(home, &["--armor", "--export", who], b"");
    Key::read_all(std::str::from_utf8(&text).unwrap()).unwrap()
}

fn print_of(home: &Path, who: &str) -> String {
    let text = String::from_utf8(gpg(home, &["--with-colons", "--list-keys", who], b"")).unwrap();
    let line = text.lines().find(|line| line.starts_with("fpr:")).unwrap();
    line.split(':').nth(9).unwrap().to_owned()
}

fn sign(home: &Path, who: &str, content: &[u8], more: &[&str]) -> Vec<u8> {
    let mut arguments = vec!["--local-user", who];
    arguments.extend(more);
    // What git passes.
    arguments.extend(["-bsau", who]);
    gpg(home, &arguments, content)
}

#[test]
fn only_a_valid_key_that_is_given_over_exactly_this_content_is_taken() {
    let Some(folder) = home() else { return };
    let home = folder.path();
    for (who, algorithm) in [("ada", "ed25519"), ("bob", "rsa2048"), ("eve", "nistp256")] {
        gpg(home, &["--quick-gen-key", who, algorithm, "sign", "never"], b"");
    }
    let now = SystemTime::now();
    let keys: Vec<Key> = ["ada", "bob"].iter().flat_map(|who| export(home, who)).collect();
    let check = |armored: &[u8], content: &[u8]| verify(&keys, armored, content, now);
    for who in ["ada", "bob"] {
        let signature = sign(home, who, b"tree 1\n", &[]);
        let by = check(&signature, b"tree 1\n").unwrap();
        assert!(by.contains(who), "{by}");
        assert!(check(&signature, b"tree 2\n").unwrap_err().contains("does not fit"));
    }
    let foreign = check(&sign(home, "eve", b"tree 1\n", &[]), b"tree 1\n").unwrap_err();
    assert!(foreign.contains("not among the signers"), "{foreign}");
    let weak = check(&sign(home, "bob", b"tree 1\n", &["--digest-algo", "SHA1"]), b"tree 1\n").unwrap_err();
    assert!(weak.contains("can be forged"), "{weak}");
    let early = verify(
        &keys,
        &sign(home, "ada", b"x", &[]),
        b"x",
        now - Duration::from_secs(86_400),
    )
    .unwrap_err();
    assert!(early.contains("yet to come"), "{early}");
    let short = sign(home, "ada", b"x", &["--default-sig-expire", "1d"]);
    assert!(check(&short, b"x").is_ok());
    let late = verify(&keys, &short, b"x", now + Duration::from_secs(2 * 86_400)).unwrap_err();
    assert!(late.contains("signature is expired"), "{late}");
    for broken in [
        &b"-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"[..],
        b"-----BEGIN PGP SIGNATURE-----",
    ] {
        assert!(check(broken, b"x").is_err());
    }
}

#[test]
fn an_expired_or_revoked_key_is_refused_with_the_reason() {
    let Some(folder) = home() else { return };
    let home = folder.path();
    gpg(home, &["--quick-gen-key", "ada", "ed25519", "sign", "10d"], b"");
    let now = SystemTime::now();
    let signature = sign(home, "ada", b"x", &[]);
    let keys = export(home, "ada");
    assert!(verify(&keys, &signature, b"x", now).is_ok());
    let why = verify(&keys, &signature, b"x", now + Duration::from_secs(11 * 86_400)).unwrap_err();
    assert!(why.contains("expired on 20") && why.contains("ada"), "{why}");

    // gpg makes a revocation with every key; a colon keeps it from being imported by accident.
    let print = print_of(home, "ada");
    let ready = std::fs::read_to_string(home.join(format!("openpgp-revocs.d/{print}.rev"))).unwrap();
    gpg(
        home,
        &["--import"],
        ready.replace(":-----BEGIN", "-----BEGIN").as_bytes(),
    );
    let why = verify(&export(home, "ada"), &signature, b"x", now).unwrap_err();
    assert!(why.contains("revoked"), "{why}");
}

#[test]
fn a_subkey_signs_while_it_is_bound_and_for_signing() {
    let Some(folder) = home() else { return };
    let home = folder.path();
    gpg(home, &["--quick-gen-key", "ada", "ed25519", "cert", "never"], b"");
    let print = print_of(home, "ada");
    gpg(home, &["--quick-add-key", &print, "ed25519", "sign", "5d"], b"");
    let (now, signature) = (SystemTime::now(), sign(home, "ada", b"x", &[]));
    let keys = export(home, "ada");
    assert!(verify(&keys, &signature, b"x", now).unwrap().contains("ada"));
    assert!(verify(&keys, &signature, b"y", now).is_err());
    let why = verify(&keys, &signature, b"x", now + Duration::from_secs(6 * 86_400)).unwrap_err();
    assert!(why.contains("expired on"), "{why}");
    // The same key without its binding, as somebody would publish it who wants to claim it.
    let mut bare = keys;
    bare[0].0.public_subkeys[0].signatures.clear();
    assert!(verify(&bare, &signature, b"x", now).unwrap_err().contains("not bound"));
}

#[test]
fn private_keys_and_rubbish_are_no_signers() {
    for bad in [
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\n",
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n",
    ] {
        assert!(Key::read_all(bad).is_err(), "{bad}");
    }
}
