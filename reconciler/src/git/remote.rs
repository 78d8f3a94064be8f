//! The kinds of remotes, and how each is reached. What is not listed here is not dialled: no `ext::`, no `http`, no
//! `git`.
//!
//! A URL comes from the operator (configuration or flags), never from a repository. It is parsed strictly all the same.

use std::fmt;

/// The valid forms of a URL, for error messages.
pub(crate) const FORMS: &str = "https://…, ssh://user@host/path, user@host:path, file:///… or an absolute path";

/// Where a repository lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remote {
    /// A folder on this machine, as libgit2 takes it.
    Local(String),
    /// A whole `https://` URL.
    Https(String),
    /// A repository behind ssh.
    Ssh(SshRemote),
}

/// A repository behind ssh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SshRemote {
    /// Who we are there.
    pub(crate) user: String,
    /// Name or address, without brackets.
    pub(crate) host: String,
    /// 22 unless said.
    pub(crate) port: u16,
    /// What `git-upload-pack` is given.
    pub(crate) path: String,
}

impl Remote {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it. The text never holds the URL: there may be a password in it.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        if url.chars().any(char::is_control) {
            return Err("holds a control character".to_owned());
        }
        if url.starts_with('/') {
            return Ok(Self::Local(url.to_owned()));
        }
        if let Some(path) = url.strip_prefix("file://") {
            return match path.starts_with('/') {
                true => Ok(Self::Local(url.to_owned())),
                false => Err("names a host before its path; write file:///path".to_owned()),
            };
        }
        if let Some(rest) = url.strip_prefix("https://") {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            return match host {
                "" => Err("names no host".to_owned()),
                _ if host.contains('@') => {
                    Err("holds a password; keep it in a file and name that file under credentials".to_owned())
                }
                _ => Ok(Self::Https(url.to_owned())),
            };
        }
        if let Some(rest) = url.strip_prefix("ssh://") {
            return ssh_url(rest).map(Self::Ssh);
        }
        match url.split_once(':') {
            // `ext::sh -c …` and other helpers of git's would run a program.
            Some((_, rest)) if rest.starts_with(':') || rest.starts_with("//") => {
                Err(format!("is of no kind that is fetched; write {FORMS}"))
            }
            Some((who, path)) if who.contains('@') && !who.contains('/') => {
                let (user, host) = who.rsplit_once('@').unwrap_or_default();
                SshRemote::new(user, host, 22, path).map(Self::Ssh)
            }
            _ => Err(format!("is of no kind that is fetched; write {FORMS}")),
        }
    }

    /// How it is shown to users: without a password, which it cannot hold.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Local(url) | Self::Https(url) => url.clone(),
            Self::Ssh(remote) => remote.to_string(),
        }
    }
}

impl fmt::Display for SshRemote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user, path) = (&self.user, self.path.trim_start_matches('/'));
        write!(f, "ssh://{user}@{}", self.address())?;
        write!(f, "/{path}")
    }
}

impl SshRemote {
    fn new(user: &str, host: &str, port: u16, path: &str) -> Result<Self, String> {
        if user.contains(':') {
            return Err("holds a password; ssh goes by a key, named under identity".to_owned());
        }
        let plain = |text: &str, more: &str| {
            !text.is_empty()
                && !text.starts_with('-')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        if !plain(user, "._-") {
            return Err("names no user; write git@host".to_owned());
        }
        if !plain(host, ".-_:") {
            return Err("names no host".to_owned());
        }
        // A path that begins with a dash is an option to the other side's program.
        if path.trim_start_matches('/').is_empty() || path.starts_with('-') {
            return Err("names no repository after its host".to_owned());
        }
        Ok(Self {
            user: user.to_owned(),
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        })
    }

    /// Host and port as `known_hosts` writes them.
    pub(crate) fn address(&self) -> String {
        match self.port {
            22 => self.host.clone(),
            port => format!("[{}]:{port}", self.host),
        }
    }

    /// The command for the remote's shell; the path is quoted as one word, whatever it contains.
    pub(crate) fn command(&self) -> String {
        format!("git-upload-pack '{}'", self.path.replace('\'', r"'\''"))
    }
}

fn ssh_url(rest: &str) -> Result<SshRemote, String> {
    let (authority, path) = rest.split_once('/').ok_or("names no repository after its host")?;
    let (user, address) = authority.rsplit_once('@').unwrap_or(("git", authority));
    let (host, port) = match address.strip_prefix('[') {
        Some(v6) => {
            let (host, port) = v6.split_once(']').ok_or("has a bracket that is not closed")?;
            (host, port.strip_prefix(':'))
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let port = match port {
        None => 22,
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => return Err("has a port that is no number".to_owned()),
        },
    };
    // As git does: `ssh://host/~ada/x` is in the home of ada.
    let path = match path.starts_with('~') {
        true => path.to_owned(),
        false => format!("/{path}"),
    };
    SshRemote::new(user, host, port, &path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssh(url: &str) -> (String, String, u16, String) {
        match Remote::parse(url) {
            Ok(Remote::Ssh(remote)) => (remote.user, remote.host, remote.port, remote.path),
            other => panic!("{url}: {other:?}"),
        }
    }

    #[test]
    fn ssh_remotes_are_read_in_both_forms() {
        let is = |user: &str, host: &str, port, path: &str| (user.to_owned(), host.to_owned(), port, path.to_owned());
        assert_eq!(
            ssh("git@github.com:org/repo.git"),
            is("git", "github.com", 22, "org/repo.git")
        );
        assert_eq!(ssh("ada@h:/srv/x"), is("ada", "h", 22, "/srv/x"));
        assert_eq!(ssh("ssh://git@h:2222/org/x.git"), is("git", "h", 2222, "/org/x.git"));
        assert_eq!(ssh("ssh://h/~ada/x"), is("git", "h", 22, "~ada/x"));
        assert_eq!(ssh("ssh://git@[::1]:2222/x"), is("git", "::1", 2222, "/x"));
    }

    #[test]
    fn a_path_is_one_word_of_the_command_whatever_it_holds() {
        let Ok(Remote::Ssh(remote)) = Remote::parse("git@h:x'; touch /tmp/owned; '") else {
            panic!("is a path");
        };
        assert_eq!(remote.command(), r"git-upload-pack 'x'\''; touch /tmp/owned; '\'''");
    }

    #[test]
    fn what_is_of_no_known_kind_is_refused_and_not_repeated() {
        for bad in [
            "",
            "nowhere",
            "http://h/x",
            "git://h/x",
            "ext::sh -c secret",
            "fd::17",
            "file://host/x",
            "https://",
            "https://u:secret@h/x",
            "ssh://u:secret@h/x",
            "ssh://git@-oProxyCommand=secret/x",
            "git@-oProxyCommand=secret:x",
            "-u@h:secret",
            "git@h:-secret",
            "git@h:",
            "ssh://git@h",
            "ssh://git@h:0/x",
            "ssh://git@h:99999/x",
            "git@h:x\nsecret",
            "../x",
        ] {
            let why = Remote::parse(bad).expect_err(bad);
            assert!(!why.contains("secret"), "{bad}: {why}");
        }
    }
}
