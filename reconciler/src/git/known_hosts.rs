//! `known_hosts` as OpenSSH reads it (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): the keys that a host may present.
//!
//! There is no trust on first use. Lines for authorities (`@cert-authority`) are ignored: that can only refuse a host,
//! never admit one.

use super::remote::SshRemote;
use base64::Engine as _;
use russh::keys::PublicKey;
use std::path::Path;

/// The keys that a file knows of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostKeys {
    good: Vec<PublicKey>,
    revoked: Vec<PublicKey>,
    file: String,
    address: String,
}

impl HostKeys {
    /// Reads the entries of a file for a host.
    ///
    /// # Errors
    /// When it cannot be read, or knows no key of the host; the message says how to get one.
    pub(super) fn read(file: &Path, remote: &SshRemote) -> Result<Self, String> {
        let shown = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("the known hosts {shown} cannot be read: {error}"))?;
        Self::parse(&text, &shown, remote)
    }

    fn parse(text: &str, file: &str, remote: &SshRemote) -> Result<Self, String> {
        let address = remote.address();
        let mut keys = Self {
            good: Vec::new(),
            revoked: Vec::new(),
            file: file.to_owned(),
            address: address.clone(),
        };
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (marker, line) = match line.strip_prefix('@') {
                Some(marked) => marked.split_once(char::is_whitespace).unwrap_or((marked, "")),
                None => ("", line),
            };
            let (patterns, key) = line.trim_start().split_once(char::is_whitespace).unwrap_or((line, ""));
            if !is_meant(&address, patterns) || marker == "cert-authority" {
                continue;
            }
            let at = || format!("{file}:{}", number + 1);
            let key = PublicKey::from_openssh(key.trim_start())
                .map_err(|error| format!("{}: the key cannot be read: {error}", at()))?;
            match marker {
                "" => keys.good.push(key),
                "revoked" => keys.revoked.push(key),
                other => return Err(format!("{}: the marker @{other} is not known", at())),
            }
        }
        if keys.good.is_empty() {
            let port = if remote.port == 22 {
                String::new()
            } else {
                format!("-p {} ", remote.port)
            };
            return Err(format!(
                "the known hosts {file} hold no key of {address}; add what its operator publishes, or compare `ssh-keyscan {port}{}` with it",
                remote.host
            ));
        }
        Ok(keys)
    }

    /// The key types to request: only known ones, so that the host presents no other key.
    pub(super) fn algorithms(&self) -> Vec<russh::keys::Algorithm> {
        use russh::keys::{Algorithm, HashAlg};
        let mut algorithms = Vec::new();
        for key in &self.good {
            let fits = match key.algorithm() {
                // Never with SHA-1.
                Algorithm::Rsa { .. } => vec![
                    Algorithm::Rsa {
                        hash: Some(HashAlg::Sha512),
                    },
                    Algorithm::Rsa {
                        hash: Some(HashAlg::Sha256),
                    },
                ],
                other => vec![other],
            };
            for algorithm in fits {
                if !algorithms.contains(&algorithm) {
                    algorithms.push(algorithm);
                }
            }
        }
        algorithms
    }

    /// Whether the host may present this key.
    ///
    /// # Errors
    /// Why not, with the fingerprint that a user can compare.
    pub(super) fn check(&self, shown: &PublicKey) -> Result<(), String> {
        let print = shown.fingerprint(russh::keys::HashAlg::Sha256);
        let (address, file) = (&self.address, &self.file);
        let is_shown = |key: &PublicKey| key.key_data() == shown.key_data();
        if self.revoked.iter().any(is_shown) {
            return Err(format!("{address} shows the key {print}, which {file} revokes"));
        }
        if self.good.iter().any(is_shown) {
            return Ok(());
        }
        Err(format!(
            "{address} shows the key {print}, which is not the one in {file}: somebody may sit in between, or the host has a new key"
        ))
    }
}

/// Whether a list of patterns means an address: with `*`, `?`, `!` and hashed names.
fn is_meant(address: &str, patterns: &str) -> bool {
    let mut meant = false;
    for pattern in patterns.split(',') {
        match pattern.strip_prefix('!') {
            Some(not) if is_like(address, not) => return false,
            Some(_) => {}
            None => meant |= hashed(address, pattern).unwrap_or_else(|| is_like(address, pattern)),
        }
    }
    meant
}

/// `|1|salt|hash`: HMAC-SHA1 of the address. None for another form.
fn hashed(address: &str, pattern: &str) -> Option<bool> {
    let (salt, hash) = pattern.strip_prefix("|1|")?.split_once('|')?;
    let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).ok();
    let (Some(salt), Some(hash)) = (decode(salt), decode(hash)) else {
        return Some(false);
    };
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
    Some(aws_lc_rs::hmac::verify(&key, address.as_bytes(), &hash).is_ok())
}

/// Globbing in one pass that remembers the last star: linear for any realistic pattern.
fn is_like(text: &str, pattern: &str) -> bool {
    let (text, pattern) = (text.to_ascii_lowercase(), pattern.to_ascii_lowercase());
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    let (mut at, mut of) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(of) {
            Some(b'*') => {
                star = Some((of + 1, at));
                of += 1;
            }
            Some(&b) if b == b'?' || b == text[at] => {
                at += 1;
                of += 1;
            }
            _ => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    (of, at) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[of..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::remote::Remote;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
    const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAfuCHKVTjquxvt6CM6tdG4SLp1Btn/nOeHHE5UOzRdf";

    fn remote(url: &str) -> SshRemote {
        match Remote::parse(url) {
            Ok(Remote::Ssh(remote)) => remote,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn patterns_mean_what_openssh_means_by_them() {
        for (address, patterns, meant) in [
            ("github.com", "github.com,140.82.121.4", true),
            ("github.com", "GitHub.com", true),
            ("a.example.com", "*.example.com", true),
            ("a.example.com", "*.example.com,!a.example.com", false),
            ("[h]:2222", "[h]:2222", true),
            ("[h]:2222", "h", false),
            ("h", "?", true),
            ("hh", "?", false),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "*a*a*a*a*a*a*a*c", false),
        ] {
            assert_eq!(is_meant(address, patterns), meant, "{address} {patterns}");
        }
        // What `ssh-keygen -H` made of `example.com`.
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"salt");
        let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
        let hash = encode(aws_lc_rs::hmac::sign(&key, b"example.com").as_ref());
        let line = format!("|1|{}|{hash}", encode(b"salt"));
        assert!(is_meant("example.com", &line) && !is_meant("example.org", &line));
    }

    #[test]
    fn only_a_key_that_is_known_and_not_revoked_may_be_shown() {
        let (one, two) = (
            PublicKey::from_openssh(ONE).unwrap(),
            PublicKey::from_openssh(TWO).unwrap(),
        );
        let h = remote("git@h:x");
        let keys = HostKeys::parse(&format!("# hosts\nother {TWO}\nh {ONE} comment\n"), "file", &h).unwrap();
        assert!(keys.check(&one).is_ok());
        let why = keys.check(&two).unwrap_err();
        assert!(why.contains("SHA256:") && why.contains("file"), "{why}");
        let revoked = HostKeys::parse(&format!("h {ONE}\n@revoked * {ONE}\n"), "file", &h).unwrap();
        assert!(revoked.check(&one).unwrap_err().contains("revokes"));
        for unknown in [
            String::new(),
            format!("other {ONE}"),
            format!("@cert-authority h {ONE}"),
            format!("@revoked h {ONE}"),
        ] {
            let why = HostKeys::parse(&unknown, "file", &h).unwrap_err();
            assert!(why.contains("hold no key of h"), "{why}");
        }
        assert!(
            HostKeys::parse("h ssh-ed25519 AAAA", "file", &h)
                .unwrap_err()
                .contains("file:1")
        );
    }
}
