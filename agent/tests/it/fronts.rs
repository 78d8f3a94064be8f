//! Guarantees of the front: nothing that was not sent is lost, nothing is done twice, nothing goes in circles.

use crate::harness::{Agent, FRONT, Node, PATIENCE, WORKLOAD, World, front, hits, until};
use crate::pools::{pool, pool_of};
use http::Method;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

pub(crate) fn name(node: &Node<'_>) -> String {
    node.folder.file_name().expect("a name").to_string_lossy().into_owned()
}

/// Requests that reached a workload whole.
pub(crate) fn whole(agent: &Agent) -> Vec<String> {
    agent.hits().into_iter().filter(|h| !h.ends_with("broken")).collect()
}

fn sick(node: &Node<'_>) {
    std::fs::write(node.folder.join("sick"), "").expect("room");
}

/// A pool whose fronts have these limits as well.
pub(crate) async fn pool_with<'w>(world: &'w World, count: usize, limits: &str) -> Vec<(Node<'w>, Agent)> {
    let all = format!("connectTimeout: 20s, {limits}");
    pool_of(world, "prod", count, |node| {
        node.with_peers("").replace("connectTimeout: 20s", &all)
    })
    .await
}

/// Asks for something that is held until there is `release`, beside the test.
pub(crate) fn hold(address: &str, method: Method) -> tokio::task::JoinHandle<Result<(u16, String), String>> {
    let address = address.to_owned();
    tokio::spawn(async move { front(&address, method, "/hold", &[], "").await })
}

async fn presence(agent: &Agent, expected: &str) {
    until("the presence changes", agent, async || {
        agent.presence().await == expected
    })
    .await;
}

/// Waits until the workload was started again so often, and is ready: one answer says both. A presence alone may be of the one that died.
async fn ready_again(agent: &Agent, restarts: u64) {
    until("the workload is started again and ready", agent, async || {
        let status = agent.json("/status").await;
        status["restarts"] == restarts && status["presence"] == "ready"
    })
    .await;
}

/// Waits until this many peers of this node take work, by its own account.
async fn peers(agent: &Agent, count: usize) {
    until("it knows who takes work", agent, async || agent.peers().await == count).await;
}

#[tokio::test]
async fn requests_stay_here_and_go_to_a_peer_while_the_workload_is_sick_starting_or_draining() {
    let world = World::new().await;
    let all = pool(&world, "prod", 2, "").await;
    let ((here, agent), (there, _)) = (&all[0], &all[1]);
    assert_eq!(
        agent.front(Method::POST, "/echo", &[], "text").await,
        (200, "text".into())
    );
    assert_eq!(agent.front(Method::GET, "/who", &[], "").await, (200, name(here)));
    sick(here);
    presence(agent, "sick").await;
    assert_eq!(agent.front(Method::POST, "/who", &[], "x").await, (200, name(there)));
    std::fs::remove_file(here.folder.join("sick")).expect("it is there");
    presence(agent, "ready").await;
    assert_eq!(agent.front(Method::GET, "/who", &[], "").await.1, name(here));
    assert!(agent.command("drain").0);
    assert_eq!(agent.front(Method::POST, "/who", &[], "x").await, (200, name(there)));
    assert_eq!(
        agent.front(Method::GET, "/unwell", &[], "").await,
        (503, "the workload's own 503".into()),
        "it is the workload's to say"
    );
    assert_eq!(agent.metric("front_retries_total").await, 0);
}

#[tokio::test]
async fn a_request_is_passed_once_and_never_in_circles() {
    let world = World::new().await;
    let all = pool(&world, "prod", 2, "").await;
    for (node, agent) in &all {
        sick(node);
        presence(agent, "sick").await;
    }
    let (status, text) = all[0].1.front(Method::GET, "/who", &[], "").await;
    assert_eq!((status, text.trim()), (503, "no node can take requests now"));
    // A request that claims to have been passed here is not passed on, even if another node could take it.
    std::fs::remove_file(all[1].0.folder.join("sick")).expect("it is there");
    until("the other is ready", &all[0].1, async || all[0].1.peers().await == 1).await;
    let (status, _) = all[0]
        .1
        .front(Method::GET, "/who", &[("myelin-passed-by", "i-1")], "")
        .await;
    assert_eq!(status, 503);
    // Nor can a client make the front drop the mark.
    let (status, _) = all[0]
        .1
        .front(
            Method::GET,
            "/who",
            &[("myelin-passed-by", "i-1"), ("connection", "myelin-passed-by")],
            "",
        )
        .await;
    assert_eq!(status, 503);
    assert_eq!(
        all[0].1.front(Method::GET, "/who", &[], "").await,
        (200, name(&all[1].0))
    );
}

#[tokio::test]
async fn what_died_with_its_workload_is_repeated_only_if_that_does_no_harm() {
    let world = World::new().await;
    let all = pool(&world, "prod", 2, "").await;
    let dies = |agent: &Agent| hits(&agent.folder).iter().filter(|h| h.contains("/die")).count();
    let (status, text) = all[0].1.front(Method::POST, "/die", &[], "x").await;
    assert_eq!(status, 502, "{text}");
    assert_eq!((dies(&all[0].1), dies(&all[1].1)), (1, 0), "a POST is sent once");
    ready_again(&all[0].1, 1).await;
    peers(&all[0].1, 1).await;
    // The peer dies of it as well; then no node is left.
    let (status, _) = all[0].1.front(Method::GET, "/die", &[], "").await;
    assert_eq!(status, 503);
    assert_eq!((dies(&all[0].1), dies(&all[1].1)), (2, 1), "a GET is tried elsewhere");
}

#[tokio::test]
async fn after_kill_9_of_a_workload_requests_go_on_elsewhere_at_once() {
    let world = World::new().await;
    let all = pool(&world, "prod", 3, "").await;
    let (node, agent) = &all[0];
    let backend = format!("{}:{WORKLOAD}", node.address);
    for restarts in 0..3 {
        ready_again(agent, restarts).await;
        peers(agent, 2).await;
        let pid = agent.json("/status").await["pid"].as_i64().expect("it runs");
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it runs");
        // A request that still reaches the dying one is rightly not repeated: wait until it takes no more.
        until("the workload is dead", agent, async || {
            let status = agent.json("/status").await;
            status["restarts"].as_u64().is_some_and(|n| n > restarts)
                || tokio::net::TcpStream::connect(&backend).await.is_err()
        })
        .await;
        let (status, text) = agent.front(Method::POST, "/echo", &[], "kept").await;
        assert_eq!((status, text.as_str()), (200, "kept"));
    }
}

#[tokio::test]
async fn events_pass_as_they_come_and_a_client_that_leaves_ends_them() {
    let world = World::new().await;
    let all = pool(&world, "prod", 2, "").await;
    for through_a_peer in [false, true] {
        if through_a_peer {
            sick(&all[0].0);
            presence(&all[0].1, "sick").await;
        }
        let mut stream = tokio::net::TcpStream::connect(format!("{}:{FRONT}", all[0].0.address))
            .await
            .expect("it listens");
        stream
            .write_all(b"GET /gated/4 HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .expect("sent");
        // The workload sends each event only after the previous one has arrived here.
        let (from, mut text, mut buffer) = (&all[usize::from(through_a_peer)].0.folder, String::new(), [0; 4096]);
        for event in 0..4 {
            std::fs::write(from.join(format!("gate-{event}")), "").expect("room");
            while !text.contains(&format!("data: {event}")) {
                let read = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await;
                let n = read
                    .unwrap_or_else(|_| panic!("event {event} does not come before the next one is sent"))
                    .expect("it goes on");
                assert!(n > 0, "it broke off: {text}");
                text.push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
            assert!(!text.contains(&format!("data: {}", event + 1)), "{text}");
        }
        assert!(text.contains("text/event-stream"), "{text}");
    }
    let agent = &all[1].1;
    let mut stream = tokio::net::TcpStream::connect(format!("{}:{FRONT}", all[1].0.address))
        .await
        .expect("it listens");
    stream
        .write_all(b"GET /events/1000000/50 HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("sent");
    until("it is in flight", agent, async || {
        agent.metric("front_in_flight").await == 1
    })
    .await;
    drop(stream);
    until("its place is free", agent, async || {
        agent.metric("front_in_flight").await == 0
    })
    .await;
}

#[tokio::test]
async fn a_planned_drain_under_load_loses_nothing() {
    let world = World::new().await;
    let all = pool(&world, "prod", 3, "").await;
    let (stop, done, lost) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut clients = Vec::new();
    for n in 0..12 {
        let address = all[n % 2].0.address.clone();
        let (stop, done, lost) = (Arc::clone(&stop), Arc::clone(&done), Arc::clone(&lost));
        clients.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                // Not repeatable, and it takes a while: the kind that a careless drain loses.
                match front(&address, Method::POST, "/slow/40", &[], "work").await {
                    Ok((200, _)) => done.fetch_add(1, Ordering::Relaxed),
                    other => {
                        println!("lost: {other:?}");
                        lost.fetch_add(1, Ordering::Relaxed)
                    }
                };
            }
        }));
    }
    until("there is load", &all[0].1, async || done.load(Ordering::Relaxed) > 50).await;
    assert!(all[1].1.command("drain").0);
    until("the node is drained", &all[1].1, async || {
        all[1].1.step().await == "drained"
    })
    .await;
    let at = done.load(Ordering::Relaxed);
    until("the load goes on", &all[0].1, async || {
        done.load(Ordering::Relaxed) > at + 50
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("it ends");
    }
    assert_eq!(lost.load(Ordering::Relaxed), 0);
    assert_eq!(
        hits(&all[1].0.folder).last().map(String::as_str),
        Some("terminated"),
        "nothing came after its SIGTERM"
    );
}

#[tokio::test]
async fn a_peer_that_vanishes_costs_only_what_was_in_flight_and_not_repeatable() {
    let world = World::new().await;
    let mut all = pool(&world, "prod", 3, "").await;
    sick(&all[0].0);
    presence(&all[0].1, "sick").await;
    let address = all[0].0.address.clone();
    let ask = |method: Method| {
        let address = address.clone();
        tokio::spawn(async move { front(&address, method, "/hold", &[], "").await })
    };
    let asked: Vec<_> = (0..8)
        .map(|n| ask(if n % 2 == 0 { Method::GET } else { Method::POST }))
        .collect();
    until("they are spread", &all[0].1, async || {
        let held = |n: usize| hits(&all[n].0.folder).iter().filter(|h| h.contains("/hold")).count();
        held(1) == 4 && held(2) == 4
    })
    .await;
    let posts = hits(&all[2].0.folder)
        .iter()
        .filter(|h| h.starts_with("POST /hold"))
        .count();
    all[2].1.vanish();
    let (status, _) = all[0].1.front(Method::POST, "/who", &[], "new").await;
    assert_eq!(status, 200);
    std::fs::write(all[1].0.folder.join("release"), "").expect("room");
    let mut lost = 0;
    for one in asked {
        let (status, _) = one.await.expect("it ends").expect("an answer");
        lost += usize::from(status != 200);
    }
    assert_eq!(lost, posts, "only the POSTs that were being worked on");
}

#[tokio::test]
async fn what_could_be_smuggled_never_reaches_the_workload() {
    let world = World::new().await;
    let all = pool(&world, "prod", 1, "").await;
    for (raw, expected) in [
        (
            "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
            "400",
        ),
        ("CONNECT x:80 HTTP/1.1\r\nhost: x:80\r\n\r\n", "405"),
        ("GET /who HTTP/1.1\r\n\r\n", "400"),
        ("GET /who HTTP/1.0\r\nhost: x\r\nhost: y\r\n\r\n", "400"),
        (
            "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            &format!("GET /who HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(70_000)),
            "431",
        ),
    ] {
        let mut stream = tokio::net::TcpStream::connect(format!("{}:{FRONT}", all[0].0.address))
            .await
            .expect("it listens");
        stream.write_all(raw.as_bytes()).await.expect("sent");
        let mut answer = [0; 64];
        // A request that is too long is not read to its end: the connection may be closed before its answer is read.
        let n = stream.read(&mut answer).await.unwrap_or(0);
        let answer = String::from_utf8_lossy(&answer[..n]).into_owned();
        let status = answer.split(' ').nth(1);
        assert!(
            status == Some(expected) || (n == 0 && expected == "431"),
            "{raw:?} is answered {answer:?}"
        );
    }
    assert_eq!(all[0].1.hits(), ["started"]);
    // Of two lengths the chunks count, and the other is not passed on (RFC 9112, 6.3): nothing behind can read it
    // differently.
    let mut stream = tokio::net::TcpStream::connect(format!("{}:{FRONT}", all[0].0.address))
        .await
        .expect("it listens");
    let two = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 30\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    stream.write_all(two.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("an answer, and the end of the connection");
    assert!(answer.ends_with("abc") || answer.contains("\r\nabc\r\n"), "{answer}");
    assert_eq!(all[0].1.hits(), ["started", "POST /echo 3"]);
}

/// Sends these bytes on one connection, and reads until the other side has closed it.
pub(crate) async fn raw(address: &str, bytes: &[u8]) -> String {
    let mut stream = tokio::net::TcpStream::connect(format!("{address}:{FRONT}"))
        .await
        .expect("it listens");
    stream.write_all(bytes).await.expect("sent");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.expect("it closes").expect("all is read");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn what_is_sent_on_is_what_the_client_meant() {
    let world = World::new().await;
    let all = pool(&world, "prod", 2, "").await;
    let address = &all[0].0.address;
    for through_a_peer in [false, true] {
        if through_a_peer {
            sick(&all[0].0);
            presence(&all[0].1, "sick").await;
        }
        // A client of 1.0 that names no host, and reads until the end.
        let answer = raw(address, b"GET /head/1 HTTP/1.0\r\nx-mine: 1\r\n\r\n").await;
        assert!(
            answer.starts_with("HTTP/1.0 200") && answer.contains("\nx-mine=1\n"),
            "{answer}"
        );
        assert!(answer.contains("\nhost=127."), "{answer}");
        // The host of the target counts; what concerns this connection alone stays here.
        let head = "GET http://meant/head/2?a=b HTTP/1.1\r\nhost: other\r\nconnection: close, x-hop\r\nx-hop: 1\r\nexpect: 100-continue\r\n\r\n";
        let answer = raw(address, head.as_bytes()).await;
        assert!(
            answer.contains("\r\n/head/2\n") && answer.contains("\nhost=meant\n"),
            "{answer}"
        );
        assert!(!answer.contains("x-hop") && !answer.contains("expect="), "{answer}");
        // Two on one connection, one after the other; neither has a body to answer with, and one says how long it would be.
        let two = "HEAD /who HTTP/1.1\r\nhost: x\r\n\r\nGET /empty HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let answer = raw(address, two.as_bytes()).await;
        let (first, second) = answer.split_once("\r\n\r\n").expect("two answers");
        let length = name(&all[usize::from(through_a_peer)].0).len();
        assert!(
            first.starts_with("HTTP/1.1 200") && first.contains(&format!("content-length: {length}")),
            "{answer}"
        );
        assert!(
            second.starts_with("HTTP/1.1 204") && second.ends_with("\r\n\r\n"),
            "{answer}"
        );
        assert!(!second.contains("content-length"), "{answer}");
        // A body that the client waits to be asked for.
        let wait = "POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\nabc";
        let answer = raw(address, wait.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 100") && answer.contains("HTTP/1.1 200") && answer.ends_with("abc"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_body_that_its_client_breaks_off_is_that_clients_fault_alone() {
    let world = World::new().await;
    let all = pool(&world, "prod", 1, "").await;
    let agent = &all[0].1;
    for body in [
        "3\r\nabc\r\nzz\r\n",
        "fffffffffffffffff\r\n",
        "3\r\nabcdef\r\n",
        "-1\r\n\r\n",
    ] {
        let head = "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = raw(&all[0].0.address, format!("{head}{body}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{body:?}: {answer}");
    }
    assert_eq!(agent.metric("front_failed_total").await, 0);
    assert_eq!(agent.metric("front_retries_total").await, 0);
    assert_eq!(whole(agent), ["started"], "half a body is nobody's request");
}

#[tokio::test]
async fn a_request_at_a_machine_that_falls_silent_goes_elsewhere_when_gossip_misses_it() {
    let world = World::new().await;
    let all = pool_with(&world, 3, "answerTimeout: 1h").await;
    sick(&all[0].0);
    presence(&all[0].1, "sick").await;
    peers(&all[0].1, 2).await;
    let held = hold(&all[0].0.address, Method::GET);
    let at = |n: usize| hits(&all[n].0.folder).iter().any(|h| h.contains("/hold"));
    until("somebody works on it", &all[0].1, async || at(1) || at(2)).await;
    let (silent, other) = if at(1) { (1, 2) } else { (2, 1) };
    // Its connections stay open: a machine that is gone closes none.
    all[silent].1.signal(rustix::process::Signal::STOP);
    std::fs::write(all[other].0.folder.join("release"), "").expect("room");
    let (status, text) = held.await.expect("it ends").expect("an answer");
    assert_eq!((status, text), (200, name(&all[other].0)));
}

#[tokio::test]
async fn a_peer_that_refuses_is_asked_once_and_somebody_else_serves() {
    let world = World::new().await;
    let all = pool_with(&world, 3, "maxInFlight: 2").await;
    sick(&all[0].0);
    presence(&all[0].1, "sick").await;
    peers(&all[0].1, 2).await;
    // The third has no room, which its peers do not know.
    let held = [(); 2].map(|()| hold(&all[2].0.address, Method::POST));
    until("the third is full", &all[2].1, async || {
        all[2].1.metric("front_in_flight").await == 2
    })
    .await;
    until("it was asked, and refused", &all[0].1, async || {
        let answer = all[0].1.front(Method::POST, "/who", &[], "x").await;
        assert_eq!(answer, (200, name(&all[1].0)));
        all[0].1.metric("front_retries_total").await > 0
    })
    .await;
    std::fs::write(all[2].0.folder.join("release"), "").expect("room");
    for one in held {
        assert_eq!(one.await.expect("it ends").expect("an answer").0, 200);
    }
}
