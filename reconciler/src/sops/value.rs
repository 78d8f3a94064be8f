//! One value: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`, bound to its place in the file, and the MAC over all values.

use super::key::DataKey;
use super::layout::{Found, Leaf};
use aes_gcm::aead::consts::U32;
use aes_gcm::aes::Aes256;
use aes_gcm::{AeadInOut as _, AesGcm, KeyInit as _, Nonce, Tag};
use base64::Engine as _;
use myelin_engine::tree::Sealed;
use sha2::{Digest as _, Sha256, Sha512};
use zeroize::Zeroizing;

/// How a sealed value begins.
pub(super) const BEGIN: &str = "ENC[AES256_GCM,";

/// What a value was before it was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Bool,
}

/// An opened value.
pub(super) struct Value {
    pub(super) text: Zeroizing<String>,
    pub(super) kind: Kind,
}

/// Opens every sealed value of a file, in order, and checks the code over the whole.
///
/// # Errors
/// With the line of the value that does not open, or when the file was changed without SOPS.
pub(super) fn open_all(found: &Found, key: &DataKey) -> Result<Vec<Value>, Sealed> {
    let mut code = Sha512::new();
    let only_sealed = found.metadata.mac_only_encrypted;
    if only_sealed {
        // So that a file cannot pass for one with the other rule.
        code.update(Sha256::digest(b"sops"));
    }
    let mut values = Vec::new();
    for leaf in &found.leaves {
        match leaf {
            Leaf::Sealed { place, at, text } => {
                let value = open(text, place, key).map_err(|why| Sealed { line: at.line, why })?;
                code.update(match (value.kind, value.text.as_str()) {
                    (Kind::Bool, "true") => "True",
                    (Kind::Bool, "false") => "False",
                    (_, text) => text,
                });
                values.push(value);
            }
            Leaf::Plain(bytes) if !only_sealed => code.update(bytes),
            Leaf::Plain(_) => {}
        }
    }
    let at_metadata = |why: &str| Sealed {
        line: found.metadata.line,
        why: why.to_owned(),
    };
    let mac = open(&found.metadata.mac, &found.metadata.last_modified, key).map_err(|_| {
        at_metadata("its authentication code (sops.mac) does not open: the file was changed without sops")
    })?;
    let computed: String = code.finalize().iter().map(|b| format!("{b:02X}")).collect();
    let same = aws_lc_rs::constant_time::verify_slices_are_equal(computed.as_bytes(), mac.text.as_bytes()).is_ok();
    if !same {
        return Err(at_metadata(
            "its authentication code (sops.mac) does not fit its values: the file was changed without sops",
        ));
    }
    Ok(values)
}

/// Opens one value. `place` is what it is bound to.
fn open(sealed: &str, place: &str, key: &DataKey) -> Result<Value, String> {
    let broken = || "a value is no ENC[AES256_GCM,…] as sops writes it".to_owned();
    let inner = sealed
        .strip_prefix(BEGIN)
        .and_then(|rest| rest.strip_suffix(']'))
        .ok_or_else(broken)?;
    let field = |name: &str| {
        inner
            .split(',')
            .find_map(|part| part.strip_prefix(name).and_then(|rest| rest.strip_prefix(':')))
            .ok_or_else(broken)
    };
    let bytes = |name: &str| {
        let decoded = base64::engine::general_purpose::STANDARD.decode(field(name)?);
        decoded.map_err(|_| broken())
    };
    let mut data = Zeroizing::new(bytes("data")?);
    let nonce = Nonce::<U32>::try_from(bytes("iv")?.as_slice()).map_err(|_| broken())?;
    let tag = Tag::try_from(bytes("tag")?.as_slice()).map_err(|_| broken())?;
    let kind = match field("type")? {
        "str" | "bytes" | "time" | "comment" => Kind::Text,
        "int" | "float" => Kind::Number,
        "bool" => Kind::Bool,
        _ => return Err("a value is of a type that is not known".to_owned()),
    };
    let cipher = AesGcm::<Aes256, U32>::new_from_slice(&key.0[..]).map_err(|_| broken())?;
    cipher
        .decrypt_inout_detached(&nonce, place.as_bytes(), data.as_mut_slice().into(), &tag)
        .map_err(|_| "a value does not open: it was changed or moved without sops".to_owned())?;
    let text = std::str::from_utf8(&data).map_err(|_| "a value is no text (UTF-8)".to_owned())?;
    let text = match kind {
        Kind::Bool => text.to_ascii_lowercase(),
        _ => text.to_owned(),
    };
    // It is written without quotes.
    let fits = match kind {
        Kind::Text => true,
        Kind::Number => text.parse::<f64>().is_ok_and(f64::is_finite),
        Kind::Bool => matches!(text.as_str(), "true" | "false"),
    };
    fits.then(|| Value {
        text: Zeroizing::new(text),
        kind,
    })
    .ok_or_else(|| "a value is not of the type that it bears".to_owned())
}
