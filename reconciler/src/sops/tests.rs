//! Files that the real `sops` wrote (with a key that is published beside them as one for tests), and what happens to them when
//! they are changed.

use super::*;
use std::path::Path;

/// Known to everybody.
const KEY: &str = "AGE-SECRET-KEY-1EQUCGFZH8UZKSZ0Z5N5T234YRNDT4U9H7QNYXWRRNJYDDVXE6FWSCPGNJ7";

const WHOLE: &str = r"hello: ENC[AES256_GCM,data:8qKuCV7HkZSpWQj8YrpeC1bi28WkOcA/De3O6ITe7tFKqj1h1QXN+qTm+hQOqA==,iv:YIKmKtTqVwenr0pZwIBMeIkLhdIUYjylqsYesHY20T4=,tag:F7JDsbStittMNkW67nxxVw==,type:str]
example_key: ENC[AES256_GCM,data:dlBJhoPbBr+/7DUcDA==,iv:NHLG+AGcXdkoUHqG1bnOr6jy+rCu9Dwnqgm78+69W4M=,tag:D8V48sWQNsvJ39n/Dqhxtg==,type:str]
example_array:
- ENC[AES256_GCM,data:SpMMITB9xz3BV9IikVs=,iv:6i59WuNz7HXvKkOEsUvTOAMpUDWt+Yr/7VLZiZpuUQY=,tag:WW75SSkKbnzU+j97OeqtUg==,type:str]
- ENC[AES256_GCM,data:X3v+SseqhnHVUj/coFA=,iv:cH10NnQpN43bsK88B7216JW2ksGzSUdUZBVf6WrG5ZE=,tag:IhIWznMk05PROaR9wBzazw==,type:str]
example_number: ENC[AES256_GCM,data:jJDmeUep5pLyrA==,iv:GShxk0uB8mIIJFyRbMAfvhmvD459q3l5HVLmho+6dPs=,tag:U5pKd0A5xAbGhQjxkJJXKw==,type:float]
example_booleans:
- ENC[AES256_GCM,data:fY3cXA==,iv:WD5F3zC+JSGMrYuDv0mwxIJ5/8IuAr1pTn3Hw3xcNBk=,tag:8sXFUDmSoRi+Hrlo5HxM6g==,type:bool]
- ENC[AES256_GCM,data:QN1RgWA=,iv:Pxpghl71bAX3ZE/gxkCDWSUCf8/KGS9uncoQ598haIM=,tag:Gk++6TuD+eN/m0b8qkiW6Q==,type:bool]
sops:
  age:
  - recipient: age1se5ghfycr4n8kcwc3qwf234ymvmr2lex2a99wh8gpfx97glwt9hqch4569
    enc: |
      -----BEGIN AGE ENCRYPTED FILE-----
      YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBLRldWU0RNM3NQOVBFOFdi
      a0JBd2hRa2dTa1Nuc2NLNjVsNHc4YWJJK3k0ClJPRktvZS91UmtyK3NTV2tycWxO
      Wm4zWURqT3RVYXRTb0FHb1p4UGRrYmcKLS0tIDNFK3ZjUTZVclBaTlhFNSs5TEQ1
      elJ6QmRiMmFzY0dETWRzWFcxck9yTzQKlEuRma1842fqnnveiDqLwjhMXuiICQ/T
      Ededl+gNtC1YBaNBMzEgQnmYvBRiTG/dZToIFHE4Dsru5+yQvh/s4g==
      -----END AGE ENCRYPTED FILE-----
  lastmodified: 2023-12-25T10:31:01Z
  mac: ENC[AES256_GCM,data:71P4QU1+TCVHWmuOUIKP8ZTFkEo1fxJU/N5b7pxM8iKZ5U46vi+cOeDas9HBTfq9QLRnTVWs9M0WLfcksqnq/fTo2111/kDIBsi97G/BtBcS615s6AeEOcukn52F7yuFT+jAY5P5Jbio1dxtfBevbBKnhleXXkCo7z9Dub7k/R8=,iv:Q/SVo4J3ZVlqXAZC+BticPJhXJZTK4DHHuMh8kl82Z4=,tag:fCyM4KEwGG+tWqqw/uqD0Q==,type:str]
";

const PARTLY: &str = r#"a_encrypted: ENC[AES256_GCM,data:IA46,iv:Ap9PrtKlfDVKOh/ExGZoXl8Qh85iQrL3iFtpRRurYv8=,tag:rEnl+xiPY5/v+7G/kQNkdQ==,type:str]
b_unencrypted:
    a: aaa
    b:
        - 123
        - 456
c_encrypted: ENC[AES256_GCM,data:+uP6,iv:wYcY2h8IGCn0CW23ZeqMct6SnGYQgmnW21iQL1rA03U=,tag:yeiq5D6oElI05nPihnWptQ==,type:str]
d_unencrypted: aaa
sops:
    age:
        - recipient: age1se5ghfycr4n8kcwc3qwf234ymvmr2lex2a99wh8gpfx97glwt9hqch4569
          enc: |
            -----BEGIN AGE ENCRYPTED FILE-----
            YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBPTXdHZnZ0SkhGZ3UydzlZ
            RklUWXorWk1Kb3QwR29qWktqVHh1enV0RndvCit0cHQxRVBNTEdZSUxNYWJxT0Qz
            eWRKOVJWcUQ3am1mZGF6UExhT2JqMmcKLS0tIFNZWG5ML1hVSWVVMG1QbGwxQmFh
            UE1nSm01Q2lObzlwMDBmazJtWG9qSVEKdHkhmvoMB4JfSztonfNqUGM4PuQs+T16
            9+A3/jb3bGQIbGcZfC8p7662USXWdAYDagLGYZVSf02xaEsjhlP5TQ==
            -----END AGE ENCRYPTED FILE-----
    lastmodified: "2023-12-27T11:13:48Z"
    mac: ENC[AES256_GCM,data:N/tCLvJawgY4qYPtu2D541yl8+YMRtrTETqAvkQih4EkR2N3YZB0D6XfcFxOHei6kDKEXc4HNPN5vwbaq8U5DeOGfSH00ZLdh85I1Ldh8Jbxnrtd+Kkti8chD2dZrD66c++oZb70z/jaM7+U37tOXM2Zy4SrRbIsUWjJ6LTY5Cs=,iv:NkvFXhw7M0DpksLeRgWdpPAxw1cx64rU+kbayQDMO3A=,tag:7uI8YXb3NPBuWtXIJWv86g==,type:str]
    unencrypted_suffix: _unencrypted
    mac_only_encrypted: true
"#;

fn with(key: Option<&str>) -> (Arc<Decryption>, Option<tempfile::NamedTempFile>) {
    let file = key.map(|key| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("# public key: …\n{key}\n")).unwrap();
        file
    });
    let path = file.as_ref().map(|file| file.path().to_owned());
    let choice = KeyChoice {
        age_key_file: path,
        ..KeyChoice::default()
    };
    (Decryption::with(&choice), file)
}

fn open(decryption: &Decryption, name: &str, text: &str) -> Option<Result<String, Sealed>> {
    let path = TreePath::root().join(name).unwrap();
    let opened = decryption.open(&path, text.as_bytes())?;
    Some(opened.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()))
}

#[test]
fn what_sops_wrote_is_opened_in_its_lines_and_its_section_is_gone() {
    let (decryption, _file) = with(Some(KEY));
    let plain = open(&decryption, "a.yaml", WHOLE).unwrap().unwrap();
    let lines: Vec<&str> = plain.lines().collect();
    assert_eq!(lines[0], r#"hello: "Welcome to SOPS! Edit this file as you please!""#);
    assert_eq!(lines[1], r#"example_key: "example_value""#);
    assert_eq!(lines[3], r#"- "example_value1""#);
    assert_eq!(lines[5], "example_number: 1234.56789");
    assert_eq!(lines[7..9], ["- true", "- false"]);
    assert!(lines[9..].iter().all(|line| line.is_empty()), "{plain}");
    assert!(decryption.values().contains(&"example_value1".to_owned()));
    // Values that are in the clear stay as they are, and the code does not cover them where the file says so.
    let partly = open(&decryption, "b.yaml", PARTLY).unwrap().unwrap();
    assert!(partly.contains("    a: aaa\n    b:\n        - 123\n"), "{partly}");
    let changed = PARTLY.replace("- 456", "- 457");
    assert!(open(&decryption, "b.yaml", &changed).unwrap().is_ok());
    // `Debug` is what a careless log line would print.
    assert_eq!(format!("{decryption:?}"), "Decryption");
}

#[test]
fn a_file_that_was_changed_without_sops_is_refused_at_its_line() {
    let (decryption, _file) = with(Some(KEY));
    let [first, second] = [WHOLE.lines().nth(3).unwrap(), WHOLE.lines().nth(4).unwrap()];
    for (what, changed, line, why) in [
        (
            "a value in the clear was added",
            WHOLE.replace("example_booleans:", "more: 1\nexample_booleans:"),
            11,
            "does not fit its values",
        ),
        (
            "a value was taken out",
            WHOLE.replace(&format!("{second}\n"), ""),
            9,
            "does not fit its values",
        ),
        (
            "two values of one list changed places",
            WHOLE.replace(first, "@").replace(second, first).replace('@', second),
            10,
            "does not fit its values",
        ),
        (
            "a value moved to another key",
            WHOLE.replace("example_key:", "other_key:"),
            2,
            "changed or moved",
        ),
        (
            "a bit was flipped",
            WHOLE.replace("data:SpMM", "data:TpMM"),
            4,
            "changed or moved",
        ),
        (
            "the date was changed",
            WHOLE.replace("10:31:01Z", "10:31:02Z"),
            10,
            "does not open",
        ),
        (
            "the code was cut",
            WHOLE.replace("  mac: ENC", "  mac: XNC"),
            10,
            "does not open",
        ),
        (
            "the rule was changed",
            WHOLE.replace("  age:\n", "  mac_only_encrypted: true\n  age:\n"),
            10,
            "does not fit its values",
        ),
        (
            "the type was changed",
            WHOLE.replacen("type:str", "type:int", 1),
            1,
            "not of the type",
        ),
        (
            "a value lies over two lines",
            WHOLE.replacen(",iv:", ",\n  iv:", 1),
            1,
            "",
        ),
    ] {
        let refused = open(&decryption, "a.yaml", &changed).unwrap_err_or(what);
        assert_eq!(refused.line, line, "{what}: {refused:?}");
        assert!(refused.why.contains(why), "{what}: {refused:?}");
        assert!(!refused.why.contains("example_value"), "{what}: {refused:?}");
    }
    assert!(open(&decryption, "a.yaml", WHOLE).unwrap().is_ok());
}

trait UnwrapErrOr {
    fn unwrap_err_or(self, what: &str) -> Sealed;
}

impl UnwrapErrOr for Option<Result<String, Sealed>> {
    fn unwrap_err_or(self, what: &str) -> Sealed {
        match self {
            Some(Err(sealed)) => sealed,
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn without_the_right_key_the_reader_is_told_whose_it_is() {
    let of_kind = |kind: &str| {
        format!(
            "sops:\n  {kind}\n  mac: ENC[x]\n  lastmodified: \"2023\"\nx: {}\n",
            "ENC[AES256_GCM,x]"
        )
    };
    let nobody = of_kind("gcp_kms:\n  - resource_id: projects/x");
    let kms = of_kind("kms:\n  - arn: arn:aws:kms:eu:1:key/2\n    enc: AQ==");
    let other: age::x25519::Identity = age::x25519::Identity::generate();
    let other = age::secrecy::ExposeSecret::expose_secret(&other.to_string()).to_owned();
    for (key, text, line, why) in [
        (None, WHOLE, 10, "--age-key-file"),
        (
            Some(other.as_str()),
            WHOLE,
            10,
            "age1se5ghfycr4n8kcwc3qwf234ymvmr2lex2a99wh8gpfx97glwt9hqch4569",
        ),
        (Some("nonsense"), WHOLE, 10, ":2 is no key of age"),
        (
            Some(KEY),
            nobody.as_str(),
            1,
            "GCP KMS and neither for age nor for AWS KMS",
        ),
        (Some(KEY), kms.as_str(), 1, "does not allow key arn:aws:kms:eu:1:key/2"),
    ] {
        let (decryption, _file) = with(key);
        let refused = open(&decryption, "a.yaml", text).unwrap_err_or(why);
        assert!(refused.why.contains(why) && refused.line == line, "{refused:?}");
        assert!(!refused.why.contains("nonsense"), "{refused:?}");
    }
    assert!(key::AgeKeys::read(Path::new("/nowhere")).is_err());
}

#[test]
fn files_that_sops_did_not_write_are_left_alone() {
    let (decryption, _file) = with(None);
    for (name, text) in [
        ("a.yaml", "kind: ConfigMap\ndata: {sops: yes}\n"),
        (".sops.yaml", "creation_rules:\n- age: age1…\n"),
        ("notes.md", "sops: writes ENC[AES256_GCM,…]\n"),
        ("a.json", "{\"data\": \"ENC[\"}"),
        ("a.env", "A=ENC[\n"),
    ] {
        assert_eq!(open(&decryption, name, text), None, "{name}");
    }
}

#[test]
fn problems_and_printed_objects_hold_no_opened_value() {
    use myelin_engine::diagnostic::Diagnostic;
    let values = ["hunter2".to_owned(), "ab".to_owned()];
    let problem = Diagnostic::error("the field \"hunter2\" is not known").detail("hunter22 is not ab");
    let told = without(&values, problem.into()).to_string();
    assert!(!told.contains("hunter2") && told.contains("(decrypted)"), "{told}");
    let mut secret = serde_json::json!({"kind": "Secret", "stringData": {"a": "plain"}});
    let mut map = serde_json::json!({"kind": "ConfigMap", "data": {"a": "is hunter2", "b": "ab", "c": "about"}});
    let shown = [&mut secret, &mut map].map(|object| {
        hide(&values, object);
        object.to_string()
    });
    assert!(
        shown[0].contains(r#""a":"(decrypted)""#) && !shown[0].contains("plain"),
        "{shown:?}"
    );
    assert!(
        shown[1].contains("about") && !shown[1].contains("hunter2") && !shown[1].contains(r#":"ab""#),
        "{shown:?}"
    );
}
