//! Keys of AWS KMS: one request decrypts a file's data key, with the right to use the KMS key.
//!
//! A file names a key, a role and a profile, but a repository is not trusted, so none of that is believed. The
//! configuration says which keys a source may use, and under which rights. Otherwise anyone who can commit could have
//! somebody else's file decrypted with our rights.

use super::layout::SealedByKms;
use base64::Engine as _;
use myelin_aws::{KeyArn, Kms, KmsError, KmsSettings};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use zeroize::Zeroizing;

/// The longest that an answer is waited for. The client itself ends after 20 s; what finds credentials may take some more.
const PATIENCE: Duration = Duration::from_secs(40);
/// Keys of one file that are asked for.
const MOST_KEYS: usize = 16;
/// AWS encrypts at most 4 KiB into 6144 bytes; here it is 32 bytes.
const MOST_SEALED: usize = 8 * 1024;

/// A key that may be used, and with whose rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KmsKey {
    /// The key.
    pub(crate) arn: KeyArn,
    /// A role to take on.
    pub(crate) role: Option<String>,
    /// A profile of the shared configuration files.
    pub(crate) profile: Option<String>,
}

impl FromStr for KmsKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self {
            arn: text.parse()?,
            role: None,
            profile: None,
        })
    }
}

impl KmsKey {
    fn settings(&self) -> KmsSettings {
        KmsSettings {
            region: self.arn.region().to_owned(),
            profile: self.profile.clone(),
            role: self.role.clone(),
        }
    }
}

/// What one file's key needs.
struct Request {
    settings: KmsSettings,
    arn: KeyArn,
    sealed: Vec<u8>,
    context: BTreeMap<String, String>,
    answer: SyncSender<Result<Zeroizing<Vec<u8>>, KmsError>>,
}

/// The keys that may be used for the files of one commit.
pub(super) struct KmsKeys {
    allowed: Vec<KmsKey>,
    /// To the requesting thread, which ends with this. Started by the first file that needs it.
    clerk: Mutex<Option<UnboundedSender<Request>>>,
    /// Settings whose service did not answer: the other files of the commit do not wait for it again.
    silent: Mutex<BTreeMap<KmsSettings, String>>,
}

impl KmsKeys {
    pub(super) fn new(allowed: Vec<KmsKey>) -> Self {
        Self {
            allowed,
            clerk: Mutex::default(),
            silent: Mutex::default(),
        }
    }

    /// Whether none may be used.
    pub(super) fn is_empty(&self) -> bool {
        self.allowed.is_empty()
    }

    /// Opens a file's key with the first of its keys that may be used and opens it.
    ///
    /// # Errors
    /// Why each of them did not.
    pub(super) fn open(&self, sealed: &[SealedByKms]) -> Result<Zeroizing<Vec<u8>>, String> {
        let mut refusals = Vec::new();
        for one in sealed.iter().take(MOST_KEYS) {
            let Some(key) = self.allowed.iter().find(|key| key.arn.as_str() == one.arn) else {
                refusals.push(format!(
                    "the configuration does not allow key {}: name it under decryption.kms, or pass --kms-key",
                    shown(&one.arn)
                ));
                continue;
            };
            match self.decrypt(key, one) {
                Ok(opened) => return Ok(opened),
                Err(why) => refusals.push(format!("AWS KMS did not open it with key {}: {why}", key.arn)),
            }
        }
        Err(refusals.join("; "))
    }

    fn decrypt(&self, key: &KmsKey, one: &SealedByKms) -> Result<Zeroizing<Vec<u8>>, String> {
        let sealed = base64::engine::general_purpose::STANDARD
            .decode(one.sealed.trim())
            .ok()
            .filter(|bytes| !bytes.is_empty() && bytes.len() <= MOST_SEALED)
            .ok_or("what it is to open is no base64 as sops writes it")?;
        let settings = key.settings();
        let known = lock(&self.silent).get(&settings).cloned();
        if let Some(said) = known {
            return Err(said);
        }
        let (answer, answered) = sync_channel(1);
        let request = Request {
            settings: settings.clone(),
            arn: key.arn.clone(),
            sealed,
            context: one.context.clone(),
            answer,
        };
        self.ask(request)?;
        let result = answered.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            Err(KmsError {
                silent: true,
                said: match error {
                    RecvTimeoutError::Timeout => format!("no answer within {} s", PATIENCE.as_secs()),
                    RecvTimeoutError::Disconnected => "the client ended".to_owned(),
                },
            })
        });
        result.map_err(|error| {
            if error.silent {
                lock(&self.silent).insert(settings, error.said.clone());
            }
            error.said
        })
    }

    fn ask(&self, request: Request) -> Result<(), String> {
        let mut clerk = lock(&self.clerk);
        let sender = match &*clerk {
            Some(sender) => sender,
            None => clerk.insert(start().map_err(|error| format!("the client does not start: {error}"))?),
        };
        sender.send(request).map_err(|_| "the client ended".to_owned())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name from a file, for a message: short, and without what moves a terminal's cursor.
fn shown(arn: &str) -> String {
    arn.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Files are read by threads that must not wait for a runtime, some of which belong to one, so the request has a thread of its own.
fn start() -> std::io::Result<UnboundedSender<Request>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // As many requests as threads read files: each waits for its answer.
    let (sender, requests) = unbounded_channel();
    std::thread::Builder::new()
        .name("kms".to_owned())
        .spawn(move || runtime.block_on(serve(requests)))?;
    Ok(sender)
}

async fn serve(mut requests: UnboundedReceiver<Request>) {
    let mut clients: BTreeMap<KmsSettings, Kms> = BTreeMap::new();
    while let Some(request) = requests.recv().await {
        let client = match clients.get(&request.settings) {
            Some(client) => client.clone(),
            None => {
                let client = Kms::connect(&request.settings).await;
                clients.insert(request.settings.clone(), client.clone());
                client
            }
        };
        tokio::spawn(async move {
            let opened = client.decrypt(&request.arn, request.sealed, &request.context).await;
            // Whoever asked may have given up.
            let _ = request.answer.send(opened);
        });
    }
}
