//! Files encrypted by SOPS for a key of AWS KMS, against a key service on loopback that checks every signature itself.

use crate::house::{House, stack};
use crate::sealing::{DATA_KEY, For, base64, dotenv, ini, json, search, yaml};
use aws_lc_rs::hmac;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use serde_json::{Value, json as value};
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::sync::{Arc, Mutex};

const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const OTHER: &str = "arn:aws:kms:eu-central-1:111122223333:key/99999999-12ab-34cd-56ef-1234567890ab";
const SEALED: &[u8] = b"what the key made of the data key";
const CONTEXT: [(&str, &str); 2] = [("app", "shop"), ("stage", "prod")];
const FILE: For<'_> = For::Kms(ARN, SEALED, &CONTEXT);
const SECRET_KEY: &str = "wJalrXUtnFEMI/EXAMPLE";
const PASSWORD: &str = "correct-horse-battery";
const TOKEN: &str = "wordless-token-4711";

/// What the service does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Answers,
    Denies,
    Fails,
}

/// A key service with one key.
struct Service {
    url: String,
    mood: Arc<Mutex<Mood>>,
    /// For every request: its content, or what was wrong with its signature.
    asked: Arc<Mutex<Vec<Result<Value, String>>>>,
}

impl Service {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (mood, asked) = (Arc::new(Mutex::new(Mood::Answers)), Arc::new(Mutex::new(Vec::new())));
        let (now, log) = (Arc::clone(&mood), Arc::clone(&asked));
        let answer = move |headers: HeaderMap, body: Bytes| async move {
            let signed = check_signature(&headers, &body);
            let question: Value = serde_json::from_slice(&body).unwrap();
            let right = question["KeyId"] == ARN
                && question["CiphertextBlob"] == base64(SEALED)
                && question["EncryptionContext"] == value!({"app": "shop", "stage": "prod"});
            let refused =
                |kind: &str, message: Value| (StatusCode::BAD_REQUEST, value!({"__type": kind, "message": message}));
            let (status, answer) = match (&signed, *now.lock().unwrap()) {
                (Err(why), _) => refused("InvalidSignatureException", why.as_str().into()),
                (_, Mood::Denies) => refused(
                    "AccessDeniedException",
                    "User: arn:aws:iam::111122223333:user/myelin is not authorized to perform: kms:Decrypt".into(),
                ),
                (_, Mood::Fails) => (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    value!({"__type": "KMSInternalException"}),
                ),
                (Ok(()), Mood::Answers) if right => (
                    StatusCode::OK,
                    value!({"KeyId": ARN, "Plaintext": base64(&DATA_KEY), "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}),
                ),
                (Ok(()), Mood::Answers) => refused("InvalidCiphertextException", Value::Null),
            };
            log.lock().unwrap().push(signed.map(|()| question));
            (
                status,
                [("content-type", "application/x-amz-json-1.1")],
                answer.to_string(),
            )
        };
        let app = axum::Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, mood, asked }
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// The requests since the last call; a wrong signature fails the test.
    fn take(&self) -> Vec<Value> {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.into_iter().map(|question| question.unwrap()).collect()
    }

    async fn house(&self) -> House {
        let mut house = House::new().await;
        for (name, value) in [
            ("AWS_ENDPOINT_URL_KMS", self.url.as_str()),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_CONFIG_FILE", "/nonexistent"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent"),
        ] {
            house.set(name, value);
        }
        house
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Signature version 4, as AWS documents it: the canonical request is made again from what arrived.
fn check_signature(headers: &HeaderMap, body: &[u8]) -> Result<(), String> {
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.map(str::trim).ok_or(format!("no header {name}"))
    };
    let authorization = header("authorization")?;
    let field = |name: &str| {
        let parts = authorization.trim_start_matches("AWS4-HMAC-SHA256 ").split(", ");
        let found = parts
            .filter_map(|part| part.split_once('='))
            .find(|(key, _)| *key == name);
        found
            .map(|(_, value)| value)
            .ok_or(format!("no {name} in {authorization}"))
    };
    let (scope, names) = (field("Credential")?, field("SignedHeaders")?);
    let scope = scope.strip_prefix("AKIDEXAMPLE/").ok_or("another access key")?;
    for must in ["host", "x-amz-date", "x-amz-target"] {
        if !names.split(';').any(|name| name == must) {
            return Err(format!("{must} is not signed: {names}"));
        }
    }
    if header("x-amz-target")? != "TrentService.Decrypt" {
        return Err("not Decrypt".to_owned());
    }
    let mut canonical = "POST\n/\n\n".to_owned();
    for name in names.split(';') {
        canonical.push_str(&format!("{name}:{}\n", header(name)?));
    }
    canonical.push_str(&format!("\n{names}\n{}", hex(&Sha256::digest(body))));
    let date = header("x-amz-date")?;
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let parts: Vec<&str> = scope.split('/').collect();
    if parts[1..] != ["eu-central-1", "kms", "aws4_request"] {
        return Err(format!("scope {scope}"));
    }
    let keyed = |key: &[u8], text: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
    };
    let first = format!("AWS4{SECRET_KEY}").into_bytes();
    let key = parts.iter().fold(first, |key, part| keyed(&key, part));
    let wanted = hex(&keyed(&key, &to_sign));
    (field("Signature")? == wanted)
        .then_some(())
        .ok_or("the signature is wrong".to_owned())
}

/// One file of each format, and what they are made of.
fn files() -> Vec<(&'static str, String)> {
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n    name: db\nstringData:\n    password: <<stringData:password:|{PASSWORD}>>\n"
    );
    let ini_text = format!(
        "; a comment\ntop = <<DEFAULT:top:|{TOKEN}>>\n\n[database]\nhost     = db.example.com ; where\n# <<database:|sealed comment>>\n\
         password = <<database:password:|{PASSWORD}>>\nodd:<<database:odd:|a;b #c>>\n\n[other]\nplain=\"x y\"\n"
    );
    // A comment is not covered by the code: it is sealed beside it.
    let (before, after) = ini_text.split_once("<<database:|sealed comment>>").unwrap();
    let ini_text = format!("{before}ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:comment]{after}");
    let kustomization = "resources: [secret.yaml]\nsecretGenerator:\n- name: app\n  options: {disableNameSuffixHash: true}\n  envs: [app.env]\n  files: \
                         [app.ini, app.json, app.bin]\n";
    vec![
        ("one.yaml", stack("one", "")),
        ("one/kustomization.yaml", kustomization.to_owned()),
        ("one/secret.yaml", yaml(&secret, &FILE)),
        ("one/app.env", dotenv(&format!("TOKEN=<<TOKEN:|{TOKEN}>>\n"), &FILE)),
        ("one/app.ini", ini(&ini_text, &FILE)),
        (
            "one/app.json",
            json(&format!("{{\"list\": [\"<<list:|{TOKEN}>>\"], \"n\": 1"), &FILE),
        ),
        (
            "one/app.bin",
            json(&format!("{{\"data\": \"<<data:|binary {PASSWORD}>>\""), &FILE),
        ),
    ]
}

fn commit(house: &House, message: &str, files: &[(&'static str, String)]) -> String {
    let borrowed: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    house.commit(message, &borrowed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_kms_opens_files_of_every_format_and_nothing_shows_what_is_in_them() {
    let service = Service::start().await;
    let mut house = service.house().await;
    let hash = commit(&house, "first", &files());
    let folder = house.repository().display().to_string();
    let hidden = |what: &str, text: &str| {
        for value in [
            PASSWORD,
            TOKEN,
            SECRET_KEY,
            &base64(PASSWORD.as_bytes()),
            &base64(&DATA_KEY),
        ] {
            assert!(!text.contains(value), "{what} shows {value}:\n{text}");
        }
    };
    let plan = house.says(2, &["plan", &folder, "--kms-key", ARN]);
    hidden("plan", &plan);
    hidden(
        "render",
        &house.says(0, &["render", &format!("{folder}/one"), "--kms-key", ARN]),
    );
    let asked = service.take();
    assert!(asked.len() >= 10, "{asked:?}");
    for question in asked {
        assert_eq!(
            question,
            value!({"KeyId": ARN, "CiphertextBlob": base64(SEALED), "EncryptionContext": {"app": "shop", "stage": "prod"}})
        );
    }

    // The daemon says everything that it and its libraries can say.
    house.set("MYELIN_LOG", "trace");
    let data = house.file("data", "");
    std::fs::remove_file(&data).unwrap();
    let url = format!("file://{folder}");
    let configuration = format!(
        "sources:\n- name: git\n  url: {url}\n  interval: 1s\n  decryption: {{kms: [{OTHER}, {{key: {ARN}}}]}}\n"
    );
    let configuration = house.file("myelin.yaml", &configuration);
    let _reconciler = house.reconciler_of(&["--config", &configuration, "--data", &data]);
    let status = house.reaches("ready", &hash).await;
    // As kustomize writes it, in lines.
    let secret = |name: &str, key: &str| {
        let secret = house.kubectl(&["get", "secret", "-n", "shop", name, "-o", "json"]);
        let secret: Value = serde_json::from_str(&secret).unwrap();
        let data = secret["data"][key].as_str().unwrap().replace('\n', "");
        let data = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
        String::from_utf8(data).unwrap()
    };
    assert_eq!(secret("db", "password"), PASSWORD);
    let text = |key: &str| secret("app", key);
    assert_eq!(text("TOKEN"), TOKEN);
    let expected = format!(
        "; a comment\ntop = {TOKEN}\n\n[database]\nhost     = db.example.com ; where\npassword = {PASSWORD}\nodd:`a;b #c`\n\n[other]\nplain=\"x y\"\n\n"
    );
    assert_eq!(text("app.ini"), expected);
    assert_eq!(
        serde_json::from_str::<Value>(&text("app.json")).unwrap(),
        value!({"list": [TOKEN], "n": 1})
    );
    assert_eq!(text("app.bin"), format!("binary {PASSWORD}"));
    // One request for each file, however often it is read.
    assert_eq!(service.take().len(), 5);
    assert!(house.log().contains("TRACE"), "the log says less than it could");
    hidden("the log", &house.log());
    hidden("the status", &status.to_string());
    let mut found = Vec::new();
    for what in [PASSWORD, TOKEN] {
        search(Path::new(&data), what, &mut found);
    }
    assert!(found.is_empty(), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kms_does_not_open_is_an_error_that_names_the_file_the_key_and_the_answer() {
    let service = Service::start().await;
    let house = service.house().await;
    let folder = house.repository().display().to_string();
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: db}}\nstringData:\n  password: <<stringData:password:|{PASSWORD}>>\n"
    );
    let told = |whose: &For<'_>, key: &str, mood: Mood| {
        service.is(mood);
        let files = [
            ("one.yaml", stack("one", "")),
            ("one/secret.yaml", yaml(&secret, whose)),
        ];
        commit(&house, "try", &files);
        let refused = house.myelin(&["validate", &folder, "--kms-key", key]);
        assert_eq!(refused.status.code(), Some(1));
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            text.contains("one/secret.yaml:6:") && text.contains(ARN) && !text.contains(PASSWORD),
            "{text}"
        );
        (text, service.take().len())
    };
    let wrong = [("app", "another")];
    let (text, requests) = told(&FILE, OTHER, Mood::Answers);
    assert!(
        text.contains("does not allow key") && requests == 0,
        "{requests} {text}"
    );
    let (text, requests) = told(&FILE, ARN, Mood::Denies);
    assert!(
        text.contains("AccessDeniedException: User: ") && requests == 1,
        "{requests} {text}"
    );
    let (text, requests) = told(&For::Kms(ARN, SEALED, &wrong), ARN, Mood::Answers);
    assert!(
        text.contains("InvalidCiphertextException") && requests == 1,
        "{requests} {text}"
    );
    let (text, requests) = told(&For::Kms(ARN, b"another", &CONTEXT), ARN, Mood::Answers);
    assert!(
        text.contains("InvalidCiphertextException") && requests == 1,
        "{requests} {text}"
    );
    // Tried again, with an end.
    let (text, requests) = told(&FILE, ARN, Mood::Fails);
    assert!(
        text.contains("KMSInternalException") && (2..=4).contains(&requests),
        "{requests} {text}"
    );
    let (text, requests) = told(&For::Kms(ARN, b"", &CONTEXT), ARN, Mood::Answers);
    assert!(text.contains("no base64") && requests == 0, "{requests} {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_kms_refused_is_taken_when_kms_opens_it_without_a_new_commit() {
    let service = Service::start().await;
    let house = service.house().await;
    service.is(Mood::Denies);
    let hash = commit(&house, "first", &files());
    let url = format!("file://{}", house.repository().display());
    let _reconciler = house.reconciler_of(&["--url", &url, "--kms-key", ARN]);
    house
        .eventually("refused with what AWS said", async || {
            let status = house.status().await;
            let message = status["message"].as_str()?.to_owned();
            (status["state"] == "rejected" && message.contains("AccessDeniedException") && message.contains(ARN))
                .then_some(())
        })
        .await;
    service.is(Mood::Answers);
    house.reaches("ready", &hash).await;
    service.take();
}
