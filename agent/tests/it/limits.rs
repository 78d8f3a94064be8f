//! The front's limits: slow clients, idle connections, too many of them, too much at once, answers that do not come.

use crate::fronts::{hold, name, pool_with, raw, whole};
use crate::harness::{FRONT, PATIENCE, World, until};
use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn slow_clients_are_put_out_and_others_are_served_meanwhile() {
    let world = World::new().await;
    let all = pool_with(&world, 1, "headTimeout: 8s, bodyTimeout: 8s").await;
    let agent = &all[0].1;
    let at = format!("{}:{FRONT}", all[0].0.address);
    let mut slow = Vec::new();
    for n in 0..200 {
        let mut stream = tokio::net::TcpStream::connect(&at).await.expect("it listens");
        let begin: &[u8] = match n % 4 {
            0 => b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: ",
            1 => b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nab",
            // More than is kept: it is on its way to the workload already.
            2 => b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nab",
            _ => b"",
        };
        stream.write_all(begin).await.expect("sent");
        slow.push(stream);
    }
    assert_eq!(agent.front(Method::GET, "/who", &[], "").await.0, 200);
    for stream in &mut slow {
        // A byte now and then does not help.
        let _ = stream.write_all(b"x").await;
    }
    let mut rest = Vec::new();
    for mut stream in slow {
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(read.is_ok(), "it was put out");
    }
    until("all are counted", agent, async || {
        agent.metric("front_closed_total").await >= 200
    })
    .await;
    assert_eq!(
        whole(agent),
        ["started", "GET /who 0"],
        "half a body is nobody's request"
    );
}

#[tokio::test]
async fn a_connection_stays_open_between_two_requests_for_longer_than_a_head_may_take() {
    let world = World::new().await;
    let all = pool_with(&world, 1, "headTimeout: 8s").await;
    let at = format!("{}:{FRONT}", all[0].0.address);
    let connect = async || tokio::net::TcpStream::connect(&at).await.expect("it listens");
    let mut kept = connect().await;
    let mut buffer = vec![0; 4096];
    for n in 0..2 {
        kept.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc")
            .await
            .expect("it is open");
        let mut answer = String::new();
        while !answer.ends_with("abc") {
            let read = tokio::time::timeout(PATIENCE, kept.read(&mut buffer)).await;
            let length = read.expect("an answer").expect("it is open");
            assert!(length > 0, "request {n}: {answer:?}");
            answer.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        // Meanwhile those that say nothing, or half of a head, are put out: so much time has passed.
        let mut slow = [connect().await, connect().await];
        slow[1].write_all(b"GET / HT").await.expect("sent");
        for one in &mut slow {
            let put_out = tokio::time::timeout(PATIENCE, one.read(&mut buffer)).await;
            let put_out = put_out.expect("it is put out");
            assert!(matches!(put_out, Ok(0) | Err(_)), "{put_out:?}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_nobody_uses_any_more_is_closed() {
    let world = World::new().await;
    let all = pool_with(&world, 1, "idleTimeout: 1s").await;
    let answer = raw(&all[0].0.address, b"GET /who HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(all[0].1.metric("front_closed_total").await, 0, "it was not slow");
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_put_out() {
    let world = World::new().await;
    let all = pool_with(&world, 1, "bodyTimeout: 2s").await;
    let agent = &all[0].1;
    let mut stream = tokio::net::TcpStream::connect(format!("{}:{FRONT}", all[0].0.address))
        .await
        .expect("it listens");
    // More than the buffers of two sockets and of all that is between them hold.
    stream
        .write_all(b"GET /big/64 HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("sent");
    until("it is put out", agent, async || {
        agent.metric("front_closed_total").await == 1 && agent.metric("front_in_flight").await == 0
    })
    .await;
    assert_eq!(agent.hits(), ["started", "GET /big/64 0"]);
}

#[tokio::test]
async fn beyond_its_connections_and_its_requests_a_front_serves_nobody_here() {
    let world = World::new().await;
    let all = pool_with(&world, 2, "maxConnections: 4, maxInFlight: 1, headTimeout: 5m").await;
    let (agent, at) = (&all[0].1, format!("{}:{FRONT}", all[0].0.address));
    // While one is worked on, the next one goes to a peer.
    let held = hold(&agent.address, Method::POST);
    until("it is worked on", agent, async || {
        agent.metric("front_in_flight").await == 1
    })
    .await;
    assert_eq!(agent.front(Method::POST, "/who", &[], "").await, (200, name(&all[1].0)));
    std::fs::write(all[0].0.folder.join("release"), "").expect("room");
    assert_eq!(held.await.expect("it ends").expect("an answer").1, name(&all[0].0));
    // Connections that say nothing take all the places: whoever comes is sent away at once.
    let refused = async || agent.metric("front_closed_total").await;
    let mut silent = Vec::new();
    while refused().await == 0 {
        assert!(silent.len() < 500, "nobody is sent away");
        silent.push(tokio::net::TcpStream::connect(&at).await.expect("it listens"));
    }
    let before = refused().await;
    let (status, why) = agent.front(Method::GET, "/who", &[], "").await;
    assert_eq!(status, 0, "{why}");
    assert!(refused().await > before);
    drop(silent);
    until("there is room again", agent, async || {
        agent.front(Method::GET, "/who", &[], "").await.0 == 200
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_given_up() {
    let world = World::new().await;
    let all = pool_with(&world, 1, "answerTimeout: 1s").await;
    let (status, text) = all[0].1.front(Method::GET, "/hold", &[], "").await;
    assert_eq!((status, text.trim()), (504, "no answer came in time"));
    assert_eq!(all[0].1.metric("front_failed_total").await, 1);
    until("its place is free", &all[0].1, async || {
        all[0].1.metric("front_in_flight").await == 0
    })
    .await;
}
