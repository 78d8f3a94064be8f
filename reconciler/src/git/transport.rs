//! Names of the files with what a remote wants to see and what we want to see of it. Read at every connection, so that they may
//! be renewed under a running reconciler.

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
