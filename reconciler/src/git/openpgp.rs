//! Verifies OpenPGP signatures against public keys that the operator names, judged at the time of the check.
//!
//! There is no key server, no web of trust and no trust database: a key is trusted because its file is named. A key
//! that is expired or revoked today signs nothing, whatever date the signature has, because the signer chooses that
//! date.

use pgp::composed::{Deserializable as _, DetachedSignature, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::KeyDetails;
use std::time::{Duration, SystemTime};

/// How a file of keys is known.
pub(super) const KEYS: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
/// How a signature is known.
pub(super) const SIGNATURE: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
/// The longest signature that is read; ordinary ones have some hundred bytes.
const LONGEST: usize = 64 << 10;
/// How much the clocks of two machines may differ.
const CLOCKS: Duration = Duration::from_secs(300);

/// A key that may sign commits.
#[derive(Debug, Clone)]
pub(super) struct Key(SignedPublicKey);

impl Key {
    /// Reads all armored keys of a text.
    ///
    /// # Errors
    /// When one of them is no public key.
    pub(super) fn read_all(text: &str) -> Result<Vec<Self>, String> {
        if text.contains("PRIVATE KEY BLOCK") {
            return Err(
                "holds a private key; write `gpg --export --armor` of it, and treat that key as known".to_owned(),
            );
        }
        let mut keys = Vec::new();
        for block in text.split(KEYS).skip(1) {
            let refused = |error: pgp::errors::Error| format!("an OpenPGP key cannot be read: {error}");
            let armored = format!("{KEYS}{block}");
            let (found, _) = SignedPublicKey::from_string_many(&armored).map_err(refused)?;
            for key in found {
                keys.push(Self(key.map_err(refused)?));
            }
        }
        Ok(keys)
    }

    /// Fingerprint and first name, as `gpg --list-keys` shows them.
    fn name(&self) -> String {
        let print = self.0.primary_key.fingerprint();
        match self.0.details.users.first().and_then(|user| user.id.as_str()) {
            Some(user) => format!("{user} ({print})"),
            None => print.to_string(),
        }
    }

    /// Why the key as a whole says nothing now.
    fn fault(&self, now: SystemTime) -> Option<String> {
        let key = &self.0;
        let revoked = key
            .details
            .revocation_signatures
            .iter()
            .any(|sig| sig.verify_key(&key.primary_key).is_ok());
        if revoked {
            return Some("which is revoked".to_owned());
        }
        let Some(newest) = self.newest_self_signature() else {
            return Some("which does not vouch for itself".to_owned());
        };
        expired(&key.primary_key, newest, now)
    }

    /// What the key says of itself last.
    fn newest_self_signature(&self) -> Option<&Signature> {
        let key = &self.0;
        let direct = key
            .details
            .direct_signatures
            .iter()
            .filter(|sig| sig.verify_key(&key.primary_key).is_ok());
        let names = key.details.users.iter().flat_map(|user| {
            user.signatures.iter().filter(|sig| {
                sig.is_certification()
                    && sig
                        .verify_certification(&key.primary_key, pgp::types::Tag::UserId, &user.id)
                        .is_ok()
            })
        });
        direct
            .chain(names)
            .max_by_key(|sig| sig.created().map(|at| at.as_secs()))
    }

    /// Checks a signature of the primary key.
    fn by_primary(&self, signature: &DetachedSignature, signed: &[u8]) -> Result<(), String> {
        let flags = self
            .newest_self_signature()
            .map(Signature::key_flags)
            .unwrap_or_default();
        if !flags.sign() && (flags.certify() || flags.authentication() || flags.encrypt_comms()) {
            return Err("which is not for signing".to_owned());
        }
        signature
            .verify(&self.0.primary_key, signed)
            .map_err(|_| "which does not fit its content".to_owned())
    }

    /// Checks a signature of a subkey.
    fn by_subkey(
        &self,
        subkey: &SignedPublicSubKey,
        signature: &DetachedSignature,
        signed: &[u8],
        now: SystemTime,
    ) -> Result<(), String> {
        let primary = &self.0.primary_key;
        let holds = |sig: &&Signature| is_strong(sig) && sig.verify_subkey_binding(primary, &subkey.key).is_ok();
        let of = |typ| {
            subkey
                .signatures
                .iter()
                .filter(move |sig| sig.typ() == Some(typ))
                .filter(holds)
        };
        if of(SignatureType::SubkeyRevocation).next().is_some() {
            return Err("whose subkey is revoked".to_owned());
        }
        let binding = of(SignatureType::SubkeyBinding)
            .max_by_key(|sig| sig.created().map(|at| at.as_secs()))
            .ok_or("to which its subkey is not bound")?;
        // A subkey that signs has to agree to being bound (RFC 9580, 5.2.1.9): else anyone could claim another's key.
        let agrees = binding
            .embedded_signature()
            .is_some_and(|back| back.verify_primary_key_binding(&subkey.key, primary).is_ok());
        if !binding.key_flags().sign() || !agrees {
            return Err("whose subkey is not for signing".to_owned());
        }
        if let Some(why) = expired(&subkey.key, binding, now) {
            return Err(why);
        }
        signature
            .verify(&subkey.key, signed)
            .map_err(|_| "which does not fit its content".to_owned())
    }
}

/// Which of some keys made an armored signature over these bytes.
///
/// # Errors
/// Why it is not accepted.
pub(super) fn verify(keys: &[Key], armored: &[u8], signed: &[u8], now: SystemTime) -> Result<String, String> {
    if armored.len() > LONGEST {
        return Err(format!("its signature has {} bytes", armored.len()));
    }
    let (signature, _) = DetachedSignature::from_armor_single(armored)
        .map_err(|error| format!("its OpenPGP signature cannot be read: {error}"))?;
    let packet = &signature.signature;
    if !matches!(packet.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
        return Err("its OpenPGP signature is not one over a document".to_owned());
    }
    if !is_strong(packet) {
        return Err("its OpenPGP signature uses a hash that can be forged (MD5, SHA-1 or RIPEMD)".to_owned());
    }
    in_time(packet, now)?;
    let mut found = None;
    for key in keys {
        let checked = if is_of(packet, &key.0.primary_key) {
            Some(key.by_primary(&signature, signed))
        } else {
            key.0
                .public_subkeys
                .iter()
                .find(|subkey| is_of(packet, &subkey.key))
                .map(|subkey| key.by_subkey(subkey, &signature, signed, now))
        };
        let Some(checked) = checked else { continue };
        let name = key.name();
        let result = match key.fault(now) {
            Some(why) => Err(why),
            None => checked,
        };
        match result {
            Ok(()) => return Ok(name),
            Err(why) => found = Some(format!("it bears a signature of {name}, {why}")),
        }
    }
    Err(found.unwrap_or_else(|| {
        let ids: Vec<String> = packet.issuer_key_id().iter().map(ToString::to_string).collect();
        format!(
            "it is signed by the OpenPGP key {}, which is not among the signers",
            ids.join(", ")
        )
    }))
}

fn is_of(signature: &Signature, key: &impl KeyDetails) -> bool {
    let (id, print) = (key.legacy_key_id(), key.fingerprint());
    // A fingerprint is safer than a key id, which can collide by chance or on purpose.
    match signature.issuer_fingerprint().as_slice() {
        [] => signature.issuer_key_id().into_iter().any(|given| *given == id),
        prints => prints.iter().any(|given| **given == print),
    }
}

fn is_strong(signature: &Signature) -> bool {
    !matches!(
        signature.hash_alg(),
        None | Some(HashAlgorithm::Md5 | HashAlgorithm::Sha1 | HashAlgorithm::Ripemd160)
    )
}

fn in_time(signature: &Signature, now: SystemTime) -> Result<(), String> {
    let made: SystemTime = signature.created().ok_or("its OpenPGP signature bears no date")?.into();
    if made > now + CLOCKS {
        return Err("its OpenPGP signature bears a date that is yet to come".to_owned());
    }
    match signature.signature_expiration_time() {
        Some(span) if span.as_secs() > 0 && made + Duration::from_secs(span.as_secs().into()) <= now => {
            Err("its OpenPGP signature is expired".to_owned())
        }
        _ => Ok(()),
    }
}

fn expired(key: &impl KeyDetails, says: &Signature, now: SystemTime) -> Option<String> {
    let span = says.key_expiration_time().map_or(0, |span| u64::from(span.as_secs()));
    let made: SystemTime = key.created_at().into();
    let end = made + Duration::from_secs(span);
    (span > 0 && end <= now).then(|| match jiff::Timestamp::try_from(end) {
        Ok(end) => format!("which expired on {}", end.strftime("%Y-%m-%d")),
        Err(_) => "which is expired".to_owned(),
    })
}

#[cfg(test)]
#[path = "openpgp_tests.rs"]
mod tests;
