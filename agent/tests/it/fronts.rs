//! What the front promises: nothing is lost that was not sent, nothing is done twice, nobody is let in circles.

use crate::harness::{Agent, FRONT, Node, WORKLOAD, World, front, hits, until};
use crate::pools::pool;
use http::Method;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn name(node: &Node<'_>) -> String {
    node.folder.file_name().expect("a name").to_string_lossy().into_owned()
}

fn sick(node: &Node<'_>) {
    std::fs::write(node.folder.join("sick"), "").expect("room");
}

async fn presence(agent: &Agent, expected: &str) {
    until("the presence changes", agent, async || {
        agent.presence().await == expected
    })
    .await;
}

/// Waits until the workload has been started so many times in all, and is ready. A presence alone may be of the one that died.
async fn ready_again(agent: &Agent, starts: usize) {
    until("the workload is started again", agent, async || {
        agent.hits().iter().filter(|hit| *hit == "started").count() >= starts
    })
    .await;
    presence(agent, "ready").await;
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
    assert_eq!((status, text.trim()), (503, "nobody can take requests now"));
    // One that claims to have been passed here is not passed on, even where somebody could take it.
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
    ready_again(&all[0].1, 2).await;
    // The peer dies of it as well; then there is nobody left.
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
    for starts in 1..=3 {
        ready_again(agent, starts).await;
        let pid = agent.json("/status").await["pid"].as_i64().expect("it runs");
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it runs");
        // A request that still reaches the dying one is rightly not repeated: wait until it takes no more.
        until("the workload is dead", agent, async || {
            let restarted = agent.hits().iter().filter(|hit| *hit == "started").count() > starts;
            restarted || tokio::net::TcpStream::connect(&backend).await.is_err()
        })
        .await;
        let began = Instant::now();
        let (status, text) = agent.front(Method::POST, "/echo", &[], "kept").await;
        assert_eq!((status, text.as_str()), (200, "kept"));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
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
            .write_all(b"GET /events/5/400 HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .expect("sent");
        let (mut text, mut arrivals, began) = (String::new(), Vec::new(), Instant::now());
        let mut buffer = [0; 4096];
        while !text.contains("data: 4") {
            let n = stream.read(&mut buffer).await.expect("it goes on");
            assert!(n > 0, "it broke off: {text}");
            let new = String::from_utf8_lossy(&buffer[..n]).into_owned();
            arrivals.extend(new.matches("data: ").map(|_| began.elapsed()));
            text.push_str(&new);
        }
        assert!(text.contains("text/event-stream"), "{text}");
        assert!(
            arrivals[0] < Duration::from_millis(1_200),
            "the first event did not wait for the others: {arrivals:?}"
        );
        assert!(arrivals[4] - arrivals[0] > Duration::from_millis(1_200), "{arrivals:?}");
    }
    let agent = &all[1].1;
    let mut stream = tokio::net::TcpStream::connect(format!("{}:{FRONT}", all[1].0.address))
        .await
        .expect("it listens");
    stream
        .write_all(b"GET /events/1000/50 HTTP/1.1\r\nhost: x\r\n\r\n")
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
        all[1].1.json("/status").await["drain"]["step"] == "drained"
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
        tokio::spawn(async move { front(&address, method, "/slow/1500", &[], "").await })
    };
    let asked: Vec<_> = (0..8)
        .map(|n| ask(if n % 2 == 0 { Method::GET } else { Method::POST }))
        .collect();
    until("they are spread", &all[0].1, async || {
        let slow = |n: usize| hits(&all[n].0.folder).iter().filter(|h| h.contains("/slow")).count();
        slow(1) == 4 && slow(2) == 4
    })
    .await;
    let posts = hits(&all[2].0.folder)
        .iter()
        .filter(|h| h.starts_with("POST /slow"))
        .count();
    all[2].1.vanish();
    let began = Instant::now();
    let (status, _) = all[0].1.front(Method::POST, "/who", &[], "new").await;
    assert_eq!(status, 200);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let mut lost = 0;
    for one in asked {
        let (status, _) = one.await.expect("it ends").expect("an answer");
        lost += usize::from(status != 200);
    }
    assert_eq!(lost, posts, "only the POSTs that were being worked on");
}

#[tokio::test]
async fn slow_clients_are_put_out_and_others_are_served_meanwhile() {
    let world = World::new().await;
    let all = pool(&world, "prod", 1, "").await;
    let agent = &all[0].1;
    let at = format!("{}:{FRONT}", all[0].0.address);
    let mut slow = Vec::new();
    for n in 0..200 {
        let mut stream = tokio::net::TcpStream::connect(&at).await.expect("it listens");
        let begin: &[u8] = if n % 2 == 0 {
            b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: "
        } else {
            b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nab"
        };
        stream.write_all(begin).await.expect("sent");
        slow.push(stream);
    }
    let began = Instant::now();
    assert_eq!(agent.front(Method::GET, "/who", &[], "").await.0, 200);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    for stream in &mut slow {
        // A byte now and then does not help.
        let _ = stream.write_all(b"x").await;
    }
    let mut rest = Vec::new();
    for mut stream in slow {
        let read = tokio::time::timeout(Duration::from_secs(8), stream.read_to_end(&mut rest)).await;
        assert!(read.is_ok(), "it was put out");
    }
    assert!(agent.metric("front_closed_total").await >= 200);
    assert_eq!(
        agent.hits().iter().filter(|h| h.contains("/echo")).count(),
        0,
        "half a body reaches nobody"
    );
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
    ] {
        let mut stream = tokio::net::TcpStream::connect(format!("{}:{FRONT}", all[0].0.address))
            .await
            .expect("it listens");
        stream.write_all(raw.as_bytes()).await.expect("sent");
        let mut answer = [0; 64];
        let n = stream.read(&mut answer).await.expect("an answer");
        let answer = String::from_utf8_lossy(&answer[..n]).into_owned();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected}")),
            "{raw:?} is answered {answer:?}"
        );
    }
    assert_eq!(all[0].1.hits(), ["started"]);
    // Of two lengths the chunks count, and the other one is not passed on (RFC 9112, 6.3): nobody behind can read it differently.
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
