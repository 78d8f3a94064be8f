//! Repositories behind ssh, on loopback: the real `git upload-pack` behind a russh server, keys by the real `ssh-keygen`.

use crate::house::{House, map, stack};
use russh::keys::{PrivateKey, PublicKey};
use russh::server::{Auth, Handler, Msg, Server as _, Session};
use russh::{Channel, ChannelId};
use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::ChildStdin;

/// How the server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Serves,
    /// Takes the key and never starts the program.
    Hangs,
}

#[derive(Clone)]
struct Host {
    allowed: Arc<Vec<PublicKey>>,
    manner: Manner,
}

impl russh::server::Server for Host {
    type Handler = Guest;

    fn new_client(&mut self, _: Option<std::net::SocketAddr>) -> Guest {
        Guest {
            host: self.clone(),
            programs: HashMap::new(),
        }
    }
}

struct Guest {
    host: Host,
    programs: HashMap<ChannelId, ChildStdin>,
}

impl Handler for Guest {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: russh::server::VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        let known = self
            .host
            .allowed
            .iter()
            .any(|allowed| allowed.key_data() == key.public_key.key_data());
        Ok(if known && user == "git" {
            Auth::Accept
        } else {
            Auth::reject()
        })
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: russh::server::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        if self.host.manner == Manner::Hangs {
            return Ok(());
        }
        // As sshd does it: the user's shell reads the command.
        let mut child = tokio::process::Command::new("sh")
            .arg("-c")
            .arg(String::from_utf8_lossy(command).into_owned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        session.channel_success(id)?;
        self.programs.insert(id, child.stdin.take().unwrap());
        let (handle, mut out, mut err) = (
            session.handle(),
            child.stdout.take().unwrap(),
            child.stderr.take().unwrap(),
        );
        tokio::spawn(async move {
            let mut buffer = vec![0; 32 << 10];
            while let Ok(read @ 1..) = out.read(&mut buffer).await {
                if handle.data(id, buffer[..read].to_vec()).await.is_err() {
                    return;
                }
            }
            let mut said = Vec::new();
            let _ = err.read_to_end(&mut said).await;
            let _ = handle.extended_data(id, 1, said).await;
            let status = child.wait().await.unwrap().code().unwrap_or(1);
            let _ = handle.exit_status_request(id, status.try_into().unwrap_or(1)).await;
            let _ = handle.eof(id).await;
            let _ = handle.close(id).await;
        });
        Ok(())
    }

    async fn data(&mut self, id: ChannelId, data: &[u8], _: &mut Session) -> Result<(), Self::Error> {
        if let Some(program) = self.programs.get_mut(&id) {
            let _ = program.write_all(data).await;
        }
        Ok(())
    }

    async fn channel_eof(&mut self, id: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.programs.remove(&id);
        Ok(())
    }
}

/// A key pair made by `ssh-keygen`; answers the file of the private key.
fn key(house: &House, name: &str, kind: &[&str]) -> String {
    let file = house.file(name, "");
    std::fs::remove_file(&file).unwrap();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-C", name, "-f", &file])
        .args(kind)
        .status()
        .unwrap();
    assert!(made.success());
    file
}

fn public(file: &str) -> String {
    std::fs::read_to_string(format!("{file}.pub")).unwrap()
}

/// Serves with a host key to clients with one of some keys; returns the port.
async fn serve(host_key: &str, allowed: &[&str], manner: Manner) -> u16 {
    let private = russh::keys::decode_secret_key(&std::fs::read_to_string(host_key).unwrap(), None).unwrap();
    let keys: Vec<PrivateKey> = vec![private];
    let config = russh::server::Config {
        keys,
        auth_rejection_time: std::time::Duration::from_millis(10),
        ..russh::server::Config::default()
    };
    let allowed = allowed
        .iter()
        .map(|file| PublicKey::from_openssh(&public(file)).unwrap())
        .collect();
    let mut host = Host {
        allowed: Arc::new(allowed),
        manner,
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { host.run_on_socket(Arc::new(config), &listener).await });
    port
}

fn known(house: &House, name: &str, port: u16, host_key: &str) -> String {
    house.file(name, &format!("[localhost]:{port} {}", public(host_key)))
}

async fn told(house: &House, what: &str) {
    house
        .eventually(&format!("told: {what}"), async || {
            let status = house.status().await;
            (status["state"] == "unreachable" && status["message"].as_str()?.contains(what)).then_some(())
        })
        .await;
}

const ED25519: &[&str] = &["-t", "ed25519"];

#[tokio::test(flavor = "multi_thread")]
async fn a_private_ssh_repository_is_deployed_with_keys_of_each_kind() {
    let house = House::new().await;
    let mut commit = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let kinds: [(&str, &[&str], &[&str]); 3] = [
        ("ed25519", ED25519, &["-t", "rsa", "-b", "2048"]),
        ("ecdsa", &["-t", "ecdsa"], ED25519),
        ("rsa", &["-t", "rsa", "-b", "2048"], &["-t", "ecdsa", "-b", "384"]),
    ];
    for (name, user, host) in kinds {
        let (user, host) = (key(&house, name, user), key(&house, &format!("host-{name}"), host));
        let port = serve(&host, &[&user], Manner::Serves).await;
        let known = known(&house, &format!("known-{name}"), port, &host);
        let url = format!("ssh://git@localhost:{port}{}/.git", house.repository().display());
        let reconciler = house.reconciler_of(&["--url", &url, "--identity", &user, "--known-hosts", &known]);
        house.reaches("ready", &commit).await;
        // A poll, and a fetch on top of what is there.
        commit = house.commit(name, &[("one/map.yaml", &map("paint", name))]);
        house.reaches("ready", &commit).await;
        assert_eq!(house.value("paint", "color").await.as_deref(), Some(name));
        reconciler.kill();
    }
    let log = house.log();
    assert!(!log.contains("PRIVATE KEY"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ssh_host_or_a_key_that_is_not_the_right_one_is_refused_with_the_reason() {
    let house = House::new().await;
    let good = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let [ada, eve, host, other] = ["ada", "eve", "host", "other"].map(|name| key(&house, name, ED25519));
    let port = serve(&host, &[&ada], Manner::Serves).await;
    let right = known(&house, "right", port, &host);
    let wrong = known(&house, "wrong", port, &other);
    let nobody = house.file("nobody", &format!("elsewhere {}", public(&host)));
    let missing = format!("ssh://git@localhost:{port}/nowhere.git");
    let url = format!("ssh://git@localhost:{port}{}/.git", house.repository().display());
    for (url, identity, known, what) in [
        (&url, &ada, &wrong, "which is not the one in"),
        (&url, &ada, &nobody, "hold no key of [localhost]"),
        (&url, &eve, &right, "does not take the key SHA256:"),
        (&missing, &ada, &right, "nowhere.git"),
    ] {
        let reconciler = house.reconciler_of(&["--url", url, "--identity", identity, "--known-hosts", known]);
        told(&house, what).await;
        reconciler.kill();
    }
    // The same with what is right, so that none of the above failed for another reason.
    let _reconciler = house.reconciler_of(&["--url", &url, "--identity", &ada, "--known-hosts", &right]);
    house.reaches("ready", &good).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ssh_host_that_hangs_is_given_up_and_slows_no_other_source() {
    let house = House::new().await;
    house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let [ada, host] = ["ada", "host"].map(|name| key(&house, name, ED25519));
    let port = serve(&host, &[&ada], Manner::Hangs).await;
    let known = known(&house, "known", port, &host);
    // Listens and never says a word.
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let mute = silent.local_addr().unwrap().port();
    let mute_known = house.file("mute", &format!("[localhost]:{mute} {}", public(&host)));
    let path = house.repository().display().to_string();
    let config = format!(
        "sources:\n\
         - {{name: git, url: 'ssh://git@localhost:{port}/x', identity: '{ada}', knownHosts: '{known}', interval: 1s, timeout: 2s}}\n\
         - {{name: mute, url: 'ssh://git@localhost:{mute}/x', identity: '{ada}', knownHosts: '{mute_known}', interval: 1s, timeout: 2s}}\n\
         - {{name: deaf, url: 'https://localhost:{mute}/x', interval: 1s, timeout: 2s}}\n\
         - {{name: fine, url: '{path}', interval: 1s}}\n"
    );
    let config = house.file("myelin.yaml", &config);
    let _reconciler = house.reconciler_of(&["--config", &config]);
    told(&house, "took longer than 2 s").await;
    // Three remotes hang all the time; what the fourth has is there soon after each commit.
    for color in ["green", "blue"] {
        house.commit(color, &[("one/map.yaml", &map("paint", color))]);
        let began = std::time::Instant::now();
        house
            .eventually("the good source goes on", async || {
                (house.value("paint", "color").await.as_deref() == Some(color)).then_some(())
            })
            .await;
        let took = began.elapsed();
        assert!(took.as_secs() < 10, "{took:?}");
    }
    // The hanging source is polled again and again, and abandoned every time.
    let status = house.status().await;
    assert_eq!(status["state"], "unreachable", "{status}");
}
