//! Files as `sops` with `mac_only_encrypted` writes them, in each of its formats, for an age key or a key of AWS KMS.

use aes_gcm::aead::consts::U32;
use aes_gcm::aes::Aes256;
use aes_gcm::{AeadInOut as _, AesGcm, KeyInit as _, Nonce};
use base64::Engine as _;
use sha2::{Digest as _, Sha256, Sha512};
use std::io::Write as _;
use std::path::Path;

const DATE: &str = "2026-01-02T03:04:05Z";
/// The key of every file.
pub(crate) const DATA_KEY: [u8; 32] = [7; 32];

pub(crate) fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Who may open a file.
pub(crate) enum For<'a> {
    Age(&'a age::x25519::Recipient),
    /// ARN, what it made of the key, and what that is bound to.
    Kms(&'a str, &'a [u8], &'a [(&'a str, &'a str)]),
}

fn encrypted(place: &str, value: &str) -> String {
    let nonce: [u8; 32] = Sha256::digest(format!("{place}{value}")).into();
    let mut data = value.as_bytes().to_vec();
    let tag = AesGcm::<Aes256, U32>::new_from_slice(&DATA_KEY)
        .unwrap()
        .encrypt_inout_detached(&Nonce::<U32>::from(nonce), place.as_bytes(), data.as_mut_slice().into())
        .unwrap();
    let (data, iv, tag) = (base64(&data), base64(&nonce), base64(&tag));
    format!("ENC[AES256_GCM,data:{data},iv:{iv},tag:{tag},type:str]")
}

/// A text in which `<<place|value>>` is to be encrypted, and the code over what was.
fn body(text: &str) -> (String, String) {
    let (mut out, mut rest, mut code) = (String::new(), text, Sha512::new().chain_update(Sha256::digest("sops")));
    while let Some((before, after)) = rest.split_once("<<") {
        let (inside, after) = after.split_once(">>").unwrap();
        let (place, value) = inside.split_once('|').unwrap();
        out.push_str(before);
        out.push_str(&encrypted(place, value));
        code.update(value);
        rest = after;
    }
    out.push_str(rest);
    let code: String = code.finalize().iter().map(|b| format!("{b:02X}")).collect();
    (out, encrypted(DATE, &code))
}

fn armored(recipient: &age::x25519::Recipient) -> String {
    let recipients: [&dyn age::Recipient; 1] = [recipient];
    let encryptor = age::Encryptor::with_recipients(recipients.into_iter()).unwrap();
    let armor = age::armor::ArmoredWriter::wrap_output(Vec::new(), age::armor::Format::AsciiArmor).unwrap();
    let mut writer = encryptor.wrap_output(armor).unwrap();
    writer.write_all(&DATA_KEY).unwrap();
    String::from_utf8(writer.finish().unwrap().finish().unwrap()).unwrap()
}

/// YAML with what is to be encrypted between `<<` and `>>`.
pub(crate) fn yaml(text: &str, whose: &For<'_>) -> String {
    let (out, mac) = body(text);
    let keys = match whose {
        For::Age(recipient) => {
            let armored = armored(recipient).trim_end().replace('\n', "\n            ");
            format!("    age:\n        - recipient: {recipient}\n          enc: |\n            {armored}\n")
        }
        For::Kms(arn, sealed, context) => {
            let lines = context
                .iter()
                .map(|(name, value)| format!("            {name}: {value}\n"));
            let context: String = lines.collect();
            let enc = base64(sealed);
            // A role that the file names is not taken on.
            format!(
                "    kms:\n        - arn: {arn}\n          role: arn:aws:iam::999999999999:role/other\n          context:\n{context}          \
                 created_at: \"{DATE}\"\n          enc: {enc}\n          aws_profile: \"\"\n"
            )
        }
    };
    format!(
        "{out}sops:\n{keys}    lastmodified: \"{DATE}\"\n    mac: {mac}\n    mac_only_encrypted: true\n    version: 3.9.4\n"
    )
}

/// JSON; `text` is the object without its last brace.
pub(crate) fn json(text: &str, whose: &For<'_>) -> String {
    let (out, mac) = body(text);
    let For::Kms(arn, sealed, context) = whose else {
        panic!("not asked for");
    };
    let context: serde_json::Value = context
        .iter()
        .map(|(name, value)| ((*name).to_owned(), serde_json::Value::from(*value)))
        .collect();
    let sops = serde_json::json!({
        "kms": [{"arn": arn, "context": context, "created_at": DATE, "enc": base64(sealed), "aws_profile": ""}],
        "lastmodified": DATE, "mac": mac, "mac_only_encrypted": true, "version": "3.9.4",
    });
    format!("{out},\n\"sops\": {sops}}}\n")
}

/// Names and values of the metadata where there is no nesting.
fn flat(mac: &str, whose: &For<'_>) -> Vec<(String, String)> {
    let mut lines = match whose {
        For::Age(recipient) => vec![
            (
                "age__list_0__map_enc".to_owned(),
                armored(recipient).replace('\n', "\\n"),
            ),
            ("age__list_0__map_recipient".to_owned(), recipient.to_string()),
        ],
        For::Kms(arn, sealed, context) => {
            let mut lines = vec![
                ("kms__list_0__map_arn".to_owned(), (*arn).to_owned()),
                ("kms__list_0__map_aws_profile".to_owned(), String::new()),
            ];
            let entry =
                |(name, value): &(&str, &str)| (format!("kms__list_0__map_context__map_{name}"), (*value).to_owned());
            lines.extend(context.iter().map(entry));
            lines.push(("kms__list_0__map_created_at".to_owned(), DATE.to_owned()));
            lines.push(("kms__list_0__map_enc".to_owned(), base64(sealed)));
            lines
        }
    };
    for (name, value) in [
        ("lastmodified", DATE),
        ("mac", mac),
        ("mac_only_encrypted", "true"),
        ("version", "3.9.4"),
    ] {
        lines.push((name.to_owned(), value.to_owned()));
    }
    lines
}

/// `NAME=value` lines.
pub(crate) fn dotenv(text: &str, whose: &For<'_>) -> String {
    let (mut out, mac) = body(text);
    for (name, value) in flat(&mac, whose) {
        out.push_str(&format!("sops_{name}={value}\n"));
    }
    out
}

/// Sections of such lines.
pub(crate) fn ini(text: &str, whose: &For<'_>) -> String {
    let (mut out, mac) = body(text);
    out.push_str("\n[sops]\n");
    for (name, value) in flat(&mac, whose) {
        out.push_str(&format!("{name:<32} = {value}\n"));
    }
    out
}

/// Everything in a folder, but what the test itself put there.
pub(crate) fn search(folder: &Path, what: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            search(&path, what, found);
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes.windows(what.len()).any(|window| window == what.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
}
