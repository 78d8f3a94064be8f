//! Sources and processes do not interfere with each other.

use crate::house::{House, map, stack};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_with_one_folder_take_turns_without_leases() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let data = house.file("data", "");
    std::fs::remove_file(&data).unwrap();
    let url = house.repository().display().to_string();
    let one = house.replica("one", &["--url", &url, "--data", &data]);
    house.reaches("ready", &first).await;
    let _two = house.replica("two", &["--url", &url, "--data", &data]);
    house
        .eventually("the second one waits", async || {
            house
                .log()
                .contains("another process on this machine works on the source")
                .then_some(())
        })
        .await;
    let second = house.commit("second", &[("one/map.yaml", &map("paint", "blue"))]);
    house.reaches("ready", &second).await;
    // Killed, it gives nothing back by itself.
    one.kill();
    let third = house.commit("third", &[("one/map.yaml", &map("paint", "green"))]);
    house.reaches("ready", &third).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_source_slows_no_other() {
    let house = House::new().await;
    // 150 stacks with 40 objects each, in one source; one object in the other.
    let mut files = vec![
        ("fine/fine.yaml".to_owned(), stack("fine", "")),
        ("fine/fine/map.yaml".to_owned(), map("paint", "red")),
    ];
    for i in 0..150 {
        let name = format!("s{i}");
        files.push((format!("huge/{name}.yaml"), stack(&name, "")));
        let mut maps = String::new();
        for j in 0..40 {
            write!(maps, "---\n{}", map(&format!("{name}-{j}"), "grey")).unwrap();
        }
        files.push((format!("huge/{name}/maps.yaml"), maps));
    }
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    house.commit("much", &files);
    let url = house.repository().display().to_string();
    let config = format!(
        "sources:\n- {{name: git, url: '{url}', path: huge, interval: 1s}}\n- {{name: fine, url: '{url}', path: fine, interval: 1s}}\n"
    );
    let config = house.file("myelin.yaml", &config);
    let _reconciler = house.reconciler_of(&["--config", &config]);
    let has = async |color: &str| (house.value("paint", "color").await.as_deref() == Some(color)).then_some(());
    house
        .eventually("the small source is there", async || has("red").await)
        .await;
    let mut meanwhile = 0;
    for color in ["green", "blue", "gold"] {
        house.commit(color, &[("fine/fine/map.yaml", &map("paint", color))]);
        let began = Instant::now();
        house
            .eventually("the small source goes on", async || has(color).await)
            .await;
        let took = began.elapsed();
        assert!(took < Duration::from_secs(10), "{color} took {took:?}");
        meanwhile += usize::from(house.status().await["state"] != "ready");
    }
    assert!(meanwhile > 0, "the huge source was ready before anything was measured");
}
