//! Names of the files with our credentials and with what we expect of the remote. They are read at every connection, so
//! that they may be renewed while the reconciler runs.

use super::Remote;
use std::path::PathBuf;

/// How to reach a remote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Transport {
    /// File with `USER:PASSWORD` or a token, for https.
    pub(crate) credentials: Option<PathBuf>,
    /// PEM file with the authorities that may vouch for an https remote; the system's if not given.
    pub(crate) authorities: Option<PathBuf>,
    /// File with a private key without a passphrase, for ssh.
    pub(crate) identity: Option<PathBuf>,
    /// File with the keys that an ssh host may show, as OpenSSH writes it.
    pub(crate) known_hosts: Option<PathBuf>,
}

impl Transport {
    /// What a remote cannot do without and was not given: the name of each in the configuration, and as a flag.
    pub(crate) fn missing(&self, remote: &Remote) -> Vec<(&'static str, &'static str)> {
        if !matches!(remote, Remote::Ssh(_)) {
            return Vec::new();
        }
        let needed = [
            (("identity", "--identity"), self.identity.is_some()),
            (("knownHosts", "--known-hosts"), self.known_hosts.is_some()),
        ];
        let absent = needed.into_iter().filter(|(_, given)| !given);
        absent.map(|(names, _)| names).collect()
    }
}
