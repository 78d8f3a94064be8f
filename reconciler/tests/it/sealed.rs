//! Files encrypted by SOPS, from a commit to the cluster: what was encrypted is in the Secret and nowhere else.

use crate::house::{House, stack};
use crate::sealing::{For, base64, dotenv, search, yaml};
use age::secrecy::ExposeSecret as _;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use std::path::Path;

const PASSWORD: &str = "correct-horse-battery";
const TOKEN: &str = "wordless-token-4711";

#[tokio::test(flavor = "multi_thread")]
async fn what_sops_encrypted_reaches_the_secret_and_nothing_else() {
    let house = House::new().await;
    let identity = age::x25519::Identity::generate();
    let key = house.file(
        "keys.txt",
        &format!("# made by a test\n{}\n", identity.to_string().expose_secret()),
    );
    let to = identity.to_public();
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n    name: db\nstringData:\n    password: <<stringData:password:|{PASSWORD}>>\n"
    );
    // A value that somebody put where no Secret is.
    let map = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n    name: settings\ndata:\n    url: <<data:url:|https://user:{PASSWORD}@db>>\n"
    );
    let env = format!("TOKEN=<<TOKEN:|{TOKEN}>>\nPLAIN=yes\n");
    let kustomization = "resources: [secret.yaml, map.yaml]\nsecretGenerator:\n- name: app\n  envs: [app.env]\n";
    let files = [
        ("one.yaml", stack("one", "")),
        ("one/kustomization.yaml", kustomization.to_owned()),
        ("one/secret.yaml", yaml(&secret, &For::Age(&to))),
        ("one/map.yaml", yaml(&map, &For::Age(&to))),
        ("one/app.env", dotenv(&env, &For::Age(&to))),
    ];
    let borrowed: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let commit = house.commit("first", &borrowed);
    let folder = house.repository().display().to_string();
    let hidden = |what: &str, text: &str| {
        for value in [PASSWORD, TOKEN, &base64(PASSWORD.as_bytes()), &base64(TOKEN.as_bytes())] {
            assert!(!text.contains(value), "{what} shows {value}:\n{text}");
        }
    };

    // The commands of people.
    let keyed = ["--age-key-file", key.as_str()];
    let rendered = house.says(0, &["render", &format!("{folder}/one"), keyed[0], keyed[1]]);
    assert!(rendered.contains("(decrypted)"), "{rendered}");
    hidden("render", &rendered);
    let plan = house.says(2, &["plan", &folder, keyed[0], keyed[1]]);
    assert!(plan.contains("Secret"), "{plan}");
    hidden("plan", &plan);
    for command in ["validate", "plan"] {
        let refused = house.myelin(&[command, &folder]);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{told}");
        assert!(
            told.contains("one/secret.yaml:7:") && told.contains("--age-key-file"),
            "{told}"
        );
    }

    // The reconciler, first without the right key: the commit is refused at the line of the file.
    let other = age::x25519::Identity::generate();
    let wrong = house.file("wrong.txt", other.to_string().expose_secret());
    let url = format!("file://{folder}");
    let data = house.file("data", "");
    std::fs::remove_file(&data).unwrap();
    let reconciler = house.reconciler_of(&["--url", &url, "--age-key-file", &wrong]);
    house
        .eventually("refused with whose key it needs", async || {
            let status = house.status().await;
            let message = status["message"].as_str()?.to_owned();
            (message.contains(":7: no key in") && message.contains(&to.to_string())).then_some(())
        })
        .await;
    reconciler.kill();
    let _reconciler = house.reconciler_of(&["--url", &url, "--age-key-file", &key, "--data", &data]);
    let status = house.reaches("ready", &commit).await;
    let api: Api<Secret> = Api::namespaced(house.client.clone(), "shop");
    let db = api.get("db").await.unwrap().data.unwrap();
    assert_eq!(db["password"].0, PASSWORD.as_bytes());
    let made = api.list(&kube::api::ListParams::default()).await.unwrap().items;
    let app = made
        .iter()
        .find(|secret| secret.metadata.name.as_deref().unwrap_or_default().starts_with("app-"))
        .unwrap();
    let app = app.data.clone().unwrap();
    assert_eq!(
        (app["TOKEN"].0.as_slice(), app["PLAIN"].0.as_slice()),
        (TOKEN.as_bytes(), &b"yes"[..])
    );
    assert!(!db.contains_key("sops") && house.value("settings", "url").await.unwrap().contains(PASSWORD));

    // Nowhere else: the log, the status, the plan against what is there, and every file that was written.
    hidden("the log", &house.log());
    hidden("the status", &status.to_string());
    hidden("a second plan", &house.says(0, &["plan", &folder, keyed[0], keyed[1]]));
    let mut found = Vec::new();
    for what in [PASSWORD, TOKEN] {
        search(Path::new(&data), what, &mut found);
        search(&house.repository(), what, &mut found);
    }
    assert!(found.is_empty(), "{found:?}");
}
