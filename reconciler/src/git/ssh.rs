//! The connection to an `ssh` remote: libgit2 speaks git's own protocol to a listener on loopback, and this carries it
//! over russh to the remote's `git-upload-pack`.
//!
//! Every step has a deadline: dialling, the key exchange, the authentication, the start of the program, and silence in
//! between. Dropping the bridge ends all of it. The host's key must be in `known_hosts`. Our key comes from a file that
//! is read at every connection. No agent, no password and no configuration of the user's `ssh` is used.

use super::bridge::{Bridge, Failure};
use super::dial::{CONNECT, SILENCE, dial};
use super::known_hosts::HostKeys;
use super::remote::SshRemote;
use super::transport::Transport;
use russh::client::{self, Handle};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{ChannelMsg, Preferred};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

/// How much of the remote program's error stream is kept.
const MOST_SAID: usize = 2000;
/// The longest first line of git's protocol: `git-upload-pack /…` and the host.
const LONGEST_GREETING: usize = 1000;

/// Opens a bridge to an ssh remote.
///
/// # Errors
/// When the key or the known hosts cannot be read or are not given, or no port is free. The text names files, never what is in
/// them.
pub(super) async fn open(remote: &SshRemote, transport: &Transport) -> Result<Bridge, String> {
    let known = transport.known_hosts.as_deref().ok_or_else(|| {
        format!("{remote} needs `knownHosts`, a file with the keys that its host may show: no host is trusted at first sight")
    })?;
    let identity = transport
        .identity
        .as_deref()
        .ok_or_else(|| format!("{remote} needs `identity`, a file with the private key"))?;
    let way = Arc::new(Way {
        remote: remote.clone(),
        hosts: HostKeys::read(known, remote)?,
        key: Arc::new(private_key(identity).await?),
        identity: identity.display().to_string(),
        secret: format!("/{:032x}", rand::random::<u128>()),
    });
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .map_err(|error| format!("no port on loopback: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let failure = Failure::default();
    let url = format!("git://{address}{}", way.secret);
    let told = failure.clone();
    let serving = tokio::spawn(async move {
        // Aborting this task drops the set, and with it every connection.
        let mut carried = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (way, told) = (Arc::clone(&way), told.clone());
            carried.spawn(async move {
                if let Err(why) = way.carry(stream).await {
                    told.tell(why);
                }
            });
            while carried.try_join_next().is_some() {}
        }
    });
    Ok(Bridge::new(url, failure, serving.abort_handle()))
}

async fn private_key(file: &Path) -> Result<PrivateKey, String> {
    let shown = file.display();
    let text = tokio::fs::read_to_string(file)
        .await
        .map_err(|error| format!("the identity {shown} cannot be read: {error}"))?;
    let text = Zeroizing::new(text);
    // The library's words may quote what it read.
    let key = russh::keys::decode_secret_key(&text, None)
        .map_err(|_| format!("the identity {shown} is no private key without a passphrase (ed25519, ecdsa or rsa)"))?;
    Ok(key)
}

struct Way {
    remote: SshRemote,
    hosts: HostKeys,
    key: Arc<PrivateKey>,
    identity: String,
    /// The path that libgit2 must name.
    secret: String,
}

/// Checks the key that the host shows.
struct Host {
    hosts: HostKeys,
    refused: Failure,
}

impl client::Handler for Host {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let checked = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.hosts.check(key),
            PublicKeyOrCertificate::Certificate(_) => {
                Err("the host shows a certificate that nobody asked for".to_owned())
            }
        };
        if let Err(why) = checked {
            self.refused.tell(why);
            return Ok(false);
        }
        Ok(true)
    }
}

impl Way {
    /// One connection of libgit2's, to its end.
    async fn carry(&self, mut local: TcpStream) -> Result<(), String> {
        let greeted = tokio::time::timeout(CONNECT, greeting(&mut local)).await;
        // A client that does not know the path gets nothing.
        if !matches!(greeted, Ok(Some(path)) if path == self.secret) {
            return Ok(());
        }
        let session = self.connect().await?;
        let result = self.upload_pack(&session, &mut local).await;
        let _ = tokio::time::timeout(CONNECT, session.disconnect(russh::Disconnect::ByApplication, "", "en")).await;
        result
    }

    async fn connect(&self) -> Result<Handle<Host>, String> {
        let host = self.remote.address();
        let config = client::Config {
            inactivity_timeout: Some(SILENCE),
            preferred: Preferred {
                key: self.hosts.algorithms().into(),
                ..Preferred::DEFAULT
            },
            nodelay: true,
            ..client::Config::default()
        };
        let stream = dial(&self.remote.host, self.remote.port).await?;
        let refused = Failure::default();
        let handler = Host {
            hosts: self.hosts.clone(),
            refused: refused.clone(),
        };
        let connected = tokio::time::timeout(CONNECT, client::connect_stream(Arc::new(config), stream, handler)).await;
        let mut session = connected
            .map_err(|_| format!("{host} did not finish the key exchange within {} s", CONNECT.as_secs()))?
            .map_err(|error| refused.said().unwrap_or_else(|| exchange_failed(&host, &error)))?;
        tokio::time::timeout(CONNECT, self.log_in(&mut session))
            .await
            .map_err(|_| format!("{host} did not answer to our key within {} s", CONNECT.as_secs()))??;
        Ok(session)
    }

    async fn log_in(&self, session: &mut Handle<Host>) -> Result<(), String> {
        let (host, user) = (self.remote.address(), &self.remote.user);
        let mut hash = None;
        if self.key.algorithm().is_rsa() {
            let strongest = session
                .best_supported_rsa_hash()
                .await
                .map_err(|error| format!("{host}: {error}"))?;
            hash = match strongest {
                Some(None) => return Err(format!("{host} takes RSA keys only with SHA-1; use an ed25519 key")),
                Some(some) => some,
                None => Some(russh::keys::HashAlg::Sha512),
            };
        }
        let key = PrivateKeyWithHashAlg::new(Arc::clone(&self.key), hash);
        let answered = session
            .authenticate_publickey(user, key)
            .await
            .map_err(|error| format!("{host}: {error}"))?;
        if answered.success() {
            return Ok(());
        }
        let print = self.key.fingerprint(russh::keys::HashAlg::Sha256);
        Err(format!(
            "{host} does not take the key {print} of {} for user {user}; is it a deploy key there?",
            self.identity
        ))
    }

    /// Runs the program and carries bytes both ways until it ends.
    async fn upload_pack(&self, session: &Handle<Host>, local: &mut TcpStream) -> Result<(), String> {
        let host = self.remote.address();
        let refused = |error: russh::Error| format!("{host} does not start git-upload-pack: {error}");
        let opened = async {
            let channel = session.channel_open_session().await?;
            channel.exec(true, self.remote.command()).await?;
            Ok(channel)
        };
        let channel = tokio::time::timeout(CONNECT, opened)
            .await
            .map_err(|_| format!("{host} did not start git-upload-pack within {} s", CONNECT.as_secs()))?
            .map_err(refused)?;
        let (mut from, to) = channel.split();
        let (mut reading, mut writing) = local.split();
        // What libgit2 sends ends when it hangs up; the answer ends when the program does.
        let sending = async {
            let mut buffer = vec![0; 16 << 10];
            loop {
                match reading.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) if to.data(&buffer[..read]).await.is_err() => break,
                    Ok(_) => {}
                }
            }
            let _ = to.eof().await;
        };
        let receiving = async {
            let (mut said, mut status, mut answered) = (String::new(), None, false);
            loop {
                let message = tokio::time::timeout(SILENCE, from.wait())
                    .await
                    .map_err(|_| format!("{host} was silent for {} s in the middle", SILENCE.as_secs()))?;
                match message {
                    Some(ChannelMsg::Data { data }) => {
                        answered = true;
                        if writing.write_all(&data).await.is_err() {
                            return Ok(());
                        }
                    }
                    Some(ChannelMsg::ExtendedData { data, .. }) if said.len() < MOST_SAID => {
                        said.push_str(&String::from_utf8_lossy(&data));
                    }
                    Some(ChannelMsg::ExitStatus { exit_status }) => status = Some(exit_status),
                    Some(ChannelMsg::Failure) => return Err(format!("{host} does not run git-upload-pack for us")),
                    Some(ChannelMsg::Close) | None => break,
                    Some(_) => {}
                }
            }
            match status {
                Some(0) => Ok(()),
                // This is how it ends whenever libgit2 hangs up after it has received what it wanted.
                _ if answered && said.is_empty() => Ok(()),
                _ => Err(told(&host, status, &said)),
            }
        };
        tokio::pin!(receiving);
        tokio::select! {
            result = &mut receiving => result,
            () = sending => receiving.await,
        }
    }
}

/// The output of a program on the remote, as one line of printable text.
fn told(host: &str, status: Option<u32>, said: &str) -> String {
    let said: String = said
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MOST_SAID)
        .collect();
    match (said.is_empty(), status) {
        (false, _) => format!("{host} says: {said}"),
        (true, Some(status)) => format!("git-upload-pack on {host} ended with {status} and said nothing"),
        (true, None) => format!("{host} hung up"),
    }
}

fn exchange_failed(host: &str, error: &russh::Error) -> String {
    match error {
        russh::Error::NoCommonAlgo { theirs, .. } => {
            format!(
                "{host} has no key of a kind that the known hosts hold; it offers {}",
                theirs.join(", ")
            )
        }
        other => format!("{host}: the key exchange failed: {other}"),
    }
}

/// The path in the first line of git's protocol: four hex digits of length, `git-upload-pack /path`, a zero, and the host.
async fn greeting(stream: &mut TcpStream) -> Option<String> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.ok()?;
    let length = usize::from_str_radix(std::str::from_utf8(&length).ok()?, 16).ok()?;
    let mut line = vec![0; length.checked_sub(4).filter(|rest| *rest <= LONGEST_GREETING)?];
    stream.read_exact(&mut line).await.ok()?;
    let line = line.split(|b| *b == 0).next()?;
    let path = std::str::from_utf8(line).ok()?.strip_prefix("git-upload-pack ")?;
    Some(path.trim_end().to_owned())
}
