//! Who signed a commit: SSH signatures against files of allowed signers, in the format of `ssh-keygen` and of git's
//! `gpg.ssh.allowedSignersFile`, and OpenPGP signatures against armored public keys. The files are the operator's; nothing
//! from the repository decides who may sign, and a source that asks for signers takes nothing that it cannot check.

use super::openpgp;
use russh::keys::PublicKey;
use russh::keys::ssh_key::SshSig;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The namespace that git signs in.
const NAMESPACE: &str = "git";

/// One line of the file.
#[derive(Debug, Clone)]
struct Signer {
    principals: String,
    key: PublicKey,
}

/// Those whose commits are taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signers {
    ssh: Vec<Signer>,
    openpgp: Vec<openpgp::Key>,
}

impl Signers {
    /// Reads the files, of either kind.
    ///
    /// # Errors
    /// When one cannot be read, is empty, or has a line that is not understood: a restriction that is not known must not be
    /// lost.
    pub(crate) fn read(files: &[PathBuf]) -> Result<Self, String> {
        let mut all = Self::default();
        for path in files {
            let found = read_one(path)?;
            all.ssh.extend(found.ssh);
            all.openpgp.extend(found.openpgp);
        }
        Ok(all)
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.contains("-----BEGIN PGP") {
            let signers = Self {
                openpgp: openpgp::Key::read_all(text)?,
                ssh: Vec::new(),
            };
            return match signers.openpgp.is_empty() {
                true => Err("there is no OpenPGP key in it".to_owned()),
                false => Ok(signers),
            };
        }
        let mut ssh = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(signer) = signer(line).map_err(|why| format!("line {}: {why}", number + 1))? {
                ssh.push(signer);
            }
        }
        if ssh.is_empty() {
            return Err(
                "nobody may sign: write lines like `ada@example.com ssh-ed25519 AAAA…`, or armored OpenPGP keys"
                    .to_owned(),
            );
        }
        Ok(Self {
            ssh,
            openpgp: Vec::new(),
        })
    }

    /// Which of the signers signed these bytes.
    ///
    /// # Errors
    /// Why none of them did.
    pub(crate) fn verify(&self, signature: Option<(&[u8], &[u8])>, now: SystemTime) -> Result<String, String> {
        let (signature, signed) = signature.ok_or("it is not signed")?;
        if signature.starts_with(openpgp::SIGNATURE) {
            return openpgp::verify(&self.openpgp, signature, signed, now);
        }
        if !signature.starts_with(b"-----BEGIN SSH SIGNATURE-----") {
            return Err("its signature is neither an SSH nor an OpenPGP signature".to_owned());
        }
        let signature =
            SshSig::from_pem(signature).map_err(|error| format!("its signature cannot be read: {error}"))?;
        for signer in &self.ssh {
            if signer.key.key_data() != signature.public_key() {
                continue;
            }
            return match signer.key.verify(NAMESPACE, signed, &signature) {
                Ok(()) => Ok(signer.principals.clone()),
                Err(_) => Err(format!(
                    "its signature by {} does not fit its content",
                    signer.principals
                )),
            };
        }
        Err("it is signed by a key that is not among the signers".to_owned())
    }
}

fn read_one(path: &Path) -> Result<Signers, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("the signers {shown} cannot be read: {error}"))?;
    Signers::parse(&text).map_err(|why| format!("the signers {shown}: {why}"))
}

/// `principals [options] keytype base64 [comment]`; none for a key that signs other things than commits.
fn signer(line: &str) -> Result<Option<Signer>, String> {
    let (principals, rest) = line.split_once(char::is_whitespace).ok_or("has no key")?;
    let mut rest = rest.trim_start();
    let is_key = |text: &str| ["ssh-", "ecdsa-", "sk-"].iter().any(|start| text.starts_with(start));
    let mut signs_commits = true;
    if !is_key(rest) {
        let (options, key) = rest.split_once(char::is_whitespace).ok_or("has no key")?;
        for option in options.split(',') {
            match option.split_once('=') {
                Some(("namespaces", list)) => {
                    signs_commits = list.trim_matches('"').split(',').any(|name| name == NAMESPACE);
                }
                _ => {
                    return Err(format!(
                        "the option {option} is not supported; only namespaces=\"git\" is"
                    ));
                }
            }
        }
        rest = key.trim_start();
    }
    let key = PublicKey::from_openssh(rest).map_err(|error| format!("its key cannot be read: {error}"))?;
    Ok(signs_commits.then(|| Signer {
        principals: principals.to_owned(),
        key,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Signs with the real ssh-keygen, as git does.
    fn signed(folder: &Path, name: &str, content: &[u8], namespace: &str) -> (String, Vec<u8>) {
        let key = folder.join(name);
        let run = |arguments: &[&str]| {
            let output = Command::new("ssh-keygen").args(arguments).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        let key_path = key.to_str().unwrap();
        if !key.exists() {
            run(&["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key_path]);
        }
        let file = folder.join("content");
        let _ = std::fs::remove_file(folder.join("content.sig"));
        std::fs::write(&file, content).unwrap();
        run(&[
            "-q",
            "-Y",
            "sign",
            "-n",
            namespace,
            "-f",
            key_path,
            file.to_str().unwrap(),
        ]);
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        (public, std::fs::read(folder.join("content.sig")).unwrap())
    }

    #[test]
    fn only_an_allowed_key_over_exactly_this_content_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (ada, by_ada) = signed(folder.path(), "ada", b"tree 1", "git");
        let (_, by_eve) = signed(folder.path(), "eve", b"tree 1", "git");
        let (_, as_file) = signed(folder.path(), "ada", b"tree 1", "file");
        let signers = Signers::parse(&format!("# people\n\nada@example.com namespaces=\"git\" {ada}")).unwrap();
        let verify = |signature: &[u8], content: &[u8]| signers.verify(Some((signature, content)), SystemTime::now());
        assert_eq!(verify(&by_ada, b"tree 1").unwrap(), "ada@example.com");
        assert!(verify(&by_ada, b"tree 2").unwrap_err().contains("does not fit"));
        assert!(verify(&as_file, b"tree 1").unwrap_err().contains("does not fit"));
        assert!(verify(&by_eve, b"tree 1").unwrap_err().contains("not among"));
        assert!(
            verify(b"-----BEGIN PGP SIGNATURE-----", b"tree 1")
                .unwrap_err()
                .contains("OpenPGP")
        );
        assert!(verify(b"-----BEGIN SSH SIGNATURE-----\nAAAA\n", b"tree 1").is_err());
        assert!(
            signers
                .verify(None, SystemTime::now())
                .unwrap_err()
                .contains("not signed")
        );
    }

    #[test]
    fn a_file_that_is_not_understood_lets_nobody_in() {
        for bad in [
            "",
            "ada@example.com",
            "ada@example.com ssh-ed25519 !!!",
            "ada@example.com valid-before=\"2020\" ssh-ed25519 AAAA",
        ] {
            assert!(Signers::parse(bad).is_err(), "{bad}");
        }
    }
}
