//! Bounds on what strangers send: too much, too slowly, or not HTTP at all. Whatever happens to the
//! stranger, the server goes on.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::client::{Call, Client, DEADLINE, GLANCE};
use crate::events::Events;
use crate::server::TestServer;

const WEB: &str = "/api/v1/services/web";
const A: &str = "/api/v1/services/web/endpoints/a";
/// A time that is short for a person and long for a machine, however busy it is.
const SHORT: Duration = Duration::from_millis(400);

/// A server that has little patience in one respect.
async fn impatient(settle: impl FnOnce(&mut hermes_server::Config)) -> TestServer {
    TestServer::with(settle).await
}

/// Asserts that the server still serves everybody else.
async fn assert_serves(server: &TestServer) {
    let mut client = server.client().await;
    client.register("alive", "a").await;
    client.get("/api/v1/services/alive/url").await.must_be(200);
}

/// What the server said before it closed, if it said anything: its status.
async fn last_word(client: Client) -> Option<u16> {
    let said = client.end().await;
    let said = String::from_utf8_lossy(&said);
    said.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// Writes what the server may refuse to read.
async fn write_in_vain(client: &mut Client, bytes: &[u8]) {
    let written = timeout(DEADLINE, client.stream.write_all(bytes)).await;
    // Whether it is refused while or after it is written is a matter of time.
    written.expect("a write is taken or refused in time").ok();
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_and_the_server_lives() {
    let server = TestServer::start().await;
    let long = "x".repeat(20 * 1024);
    let many: String = (0..400).map(|n| format!("x-{n}: {n}\r\n")).collect();
    for head in [
        format!("GET {WEB} HTTP/1.1\r\nhost: test\r\nx-long: {long}\r\n\r\n"),
        format!("GET /{long} HTTP/1.1\r\nhost: test\r\n\r\n"),
        format!("GET {WEB}?{long} HTTP/1.1\r\nhost: test\r\n\r\n"),
        format!("GET {WEB} HTTP/1.1\r\nhost: test\r\n{many}\r\n"),
        // Without an end.
        format!("GET {WEB} HTTP/1.1\r\nx-long: {long}{long}"),
        long.clone(),
    ] {
        let mut client = server.client().await;
        write_in_vain(&mut client, head.as_bytes()).await;
        let status = last_word(client).await;
        assert!(matches!(status, None | Some(400 | 414 | 431)), "{status:?}");
        assert_serves(&server).await;
    }
    // A large head within the limit is read.
    let mut client = server.client().await;
    let call = Call::get("/livez").header("x-long", &"x".repeat(15 * 1024));
    client.send(call).await.must_be(200);
}

#[tokio::test]
async fn a_head_that_trickles_in_is_cut_off_in_time() {
    let server = impatient(|config| config.http.head_within = SHORT).await;
    let mut slow = server.client().await;
    let began = Instant::now();
    slow.write(b"GET /livez HTTP/1.1\r\nhost: test\r\nx-slow: ")
        .await;
    // However much it sends, and however often, the time of a head is from its first byte.
    let cut_off = loop {
        if slow.stream.write_all(b"x").await.is_err() {
            break began.elapsed();
        }
        sleep(SHORT / 20).await;
        assert!(began.elapsed() < DEADLINE, "a slow head is never cut off");
    };
    assert!(cut_off >= SHORT, "cut off after {cut_off:?}");
    let status = last_word(slow).await;
    assert!(matches!(status, None | Some(408)), "{status:?}");
    assert_serves(&server).await;
}

#[tokio::test]
async fn the_head_of_a_later_request_has_no_more_time_than_that_of_the_first() {
    let server = impatient(|config| config.http.head_within = SHORT).await;
    let mut client = server.client().await;
    for _ in 0..3 {
        client.get("/livez").await.must_be(200);
    }
    client.write(b"GET /livez HTTP/1.1\r\n").await;
    let began = Instant::now();
    assert!(matches!(last_word(client).await, None | Some(408)));
    assert!(began.elapsed() < DEADLINE);
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time_and_a_used_one_is_not() {
    let server = impatient(|config| config.http.idle = SHORT).await;
    let (mut idle, mut used, fresh) = (
        server.client().await,
        server.client().await,
        server.client().await,
    );
    idle.get("/livez").await.must_be(200);
    let since = Instant::now();
    let closing = tokio::spawn(async move {
        let said = idle.end().await;
        (said, Instant::now())
    });
    let never_spoke = tokio::spawn(fresh.end());
    let mut last = Instant::now();
    while since.elapsed() < SHORT * 4 {
        // On a machine so busy that this itself was idle for too long, it proves nothing.
        if last.elapsed() < SHORT / 2 {
            used.get("/livez").await.must_be(200);
        } else {
            used = server.client().await;
        }
        last = Instant::now();
        sleep(SHORT / 10).await;
    }
    let (said, closed) = timeout(DEADLINE, closing).await.unwrap().unwrap();
    assert_eq!(said, b"");
    // The server's clock of a connection counts whole milliseconds.
    let idle = closed - since + Duration::from_millis(2);
    assert!(idle >= SHORT, "closed after {idle:?}");
    assert_eq!(timeout(DEADLINE, never_spoke).await.unwrap().unwrap(), b"");
}

#[tokio::test]
async fn a_watch_and_a_long_poll_are_not_idle_while_they_wait() {
    let server = impatient(|config| {
        config.http.idle = SHORT;
        config.http.head_within = SHORT;
        config.engine.progress_interval = SHORT / 4;
    })
    .await;
    let mut events = Events::open(server.address, "").await;
    events.sync().await;
    let mut poller = server.client().await;
    poller
        .write(&Call::get(&format!("{WEB}?wait=20")).to_bytes())
        .await;
    let began = Instant::now();
    while began.elapsed() < SHORT * 4 {
        assert_eq!(events.next().await.name, "progress");
    }
    server.client().await.register("web", "a").await;
    poller.answer("GET").await.unwrap().must_be(200);
    assert_eq!(events.change().await["type"], "registered");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
    let server = impatient(|config| config.http.body_within = SHORT).await;
    let head =
        |length: &str| format!("PUT {A} HTTP/1.1\r\nhost: test\r\n{length}\r\n\r\n{{\"host\": ");
    for length in ["content-length: 50", "transfer-encoding: chunked"] {
        let mut client = server.client().await;
        let began = Instant::now();
        let mut head = head(length);
        if length.starts_with("transfer") {
            head = head.replace("{\"host\": ", "9\r\n{\"host\": \r\n");
        }
        client.write(head.as_bytes()).await;
        let answer = client.answer("PUT").await.expect("it is told so");
        assert!(
            began.elapsed() >= SHORT - Duration::from_millis(2),
            "{:?}",
            began.elapsed()
        );
        let problem = answer.problem(400, "invalid_body");
        assert!(
            problem["detail"].as_str().unwrap().contains("0.4 s"),
            "{problem}"
        );
        assert!(
            client.answer("PUT").await.is_none(),
            "what follows such a body is not read"
        );
    }
    server
        .client()
        .await
        .get(WEB)
        .await
        .problem(404, "service_unknown");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_registration() {
    let server = TestServer::start().await;
    let body = r#"{"host": "a", "port": 80, "checks": []}"#;
    for length in [body.len() + 1, 1_000_000_000_000] {
        let mut client = server.client().await;
        let head =
            format!("PUT {A} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n{body}");
        client.write(head.as_bytes()).await;
        drop(client);
    }
    assert_serves(&server).await;
    server
        .client()
        .await
        .get(WEB)
        .await
        .problem(404, "service_unknown");
}

#[tokio::test]
async fn a_body_in_chunks_is_read_like_any_other() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let head = format!("PUT {A} HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n");
    client.write(head.as_bytes()).await;
    for piece in [r#"{"host": "a","#, r#" "port": 80, "#, r#""checks": []}"#] {
        client
            .write(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes())
            .await;
    }
    client.write(b"0\r\n\r\n").await;
    client.answer("PUT").await.unwrap().must_be(201);
    // Beyond the limit it is refused, although no length was declared.
    client.write(head.as_bytes()).await;
    let piece = " ".repeat(16 * 1024);
    for _ in 0..5 {
        write_in_vain(&mut client, format!("4000\r\n{piece}\r\n").as_bytes()).await;
    }
    client
        .answer("PUT")
        .await
        .unwrap()
        .problem(413, "too_large");
}

#[tokio::test]
async fn requests_may_be_sent_ahead_and_are_answered_in_order() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.register("web", "a").await;
    let targets = [
        "/livez",
        WEB,
        "/nowhere",
        "/api/v1/services/web/url",
        "/readyz",
    ];
    let ahead: Vec<u8> = targets
        .iter()
        .flat_map(|target| Call::get(target).to_bytes())
        .collect();
    client.write(&ahead).await;
    for status in [200, 200, 404, 200, 200] {
        client.answer("GET").await.unwrap().must_be(status);
    }
}

#[tokio::test]
async fn what_is_not_http_ends_its_own_connection_only() {
    let server = TestServer::start().await;
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let zeros = [0_u8; 4096];
    let samples: [&[u8]; 12] = [
        tls,
        &zeros,
        b"\r\n\r\n\r\n\r\nGET",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /livez HTTP/9.9\r\n\r\n",
        b"GET /li vez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n: no name\r\n\r\n",
        b"PUT /livez HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
        b"PUT /livez HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n12345",
        b"SSH-2.0-OpenSSH_9.6\r\n",
    ];
    for bytes in samples {
        let mut client = server.client().await;
        write_in_vain(&mut client, bytes).await;
        client.stream.shutdown().await.ok();
        let status = last_word(client).await;
        assert!(
            matches!(status, None | Some(400..=499)),
            "{status:?} to {bytes:?}"
        );
    }
    // The same noise for every seed, so that a failure can be found again.
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..50 {
        let mut bytes = Vec::new();
        while bytes.len() < 512 {
            noise = noise.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            bytes.extend_from_slice(&noise.to_be_bytes());
        }
        let mut client = server.client().await;
        write_in_vain(&mut client, &bytes).await;
        client.stream.shutdown().await.ok();
        client.end().await;
    }
    assert_serves(&server).await;
}

#[tokio::test]
async fn two_lengths_for_one_body_smuggle_no_second_request() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.register("web", "a").await;
    let smuggled = format!("DELETE {WEB} HTTP/1.1\r\nhost: test\r\n\r\n");
    for framing in [
        format!(
            "content-length: {}\r\ntransfer-encoding: chunked",
            5 + smuggled.len()
        ),
        format!(
            "transfer-encoding: chunked\r\ncontent-length: {}",
            5 + smuggled.len()
        ),
        "transfer-encoding: identity, chunked\r\ncontent-length: 5".to_owned(),
        "content-length: 5\r\ncontent-length: 5, 6".to_owned(),
    ] {
        let mut stranger = server.client().await;
        let bytes = format!(
            "PUT {A}/heartbeat HTTP/1.1\r\nhost: test\r\n{framing}\r\n\r\n0\r\n\r\n{smuggled}"
        );
        write_in_vain(&mut stranger, bytes.as_bytes()).await;
        // Either it is refused, or one of both framings is believed and the connection closed.
        let said = String::from_utf8(stranger.end().await).unwrap();
        assert!(said.matches("HTTP/1.1 ").count() <= 1, "{framing}: {said}");
        client.get(WEB).await.must_be(200);
    }
}

#[tokio::test]
async fn beyond_the_limit_of_connections_the_next_waits_until_one_ends() {
    let server = impatient(|config| config.http.connections = 2).await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    one.get("/livez").await.must_be(200);
    two.get("/livez").await.must_be(200);
    let mut third = server.client().await;
    third.write(&Call::get("/livez").to_bytes()).await;
    assert!(timeout(GLANCE, third.answer("GET")).await.is_err());
    two.get("/livez").await.must_be(200);
    drop(one);
    third.answer("GET").await.unwrap().must_be(200);
}

#[tokio::test]
async fn who_finds_the_inbox_full_is_told_when_to_return_and_nothing_is_half_done() {
    const WRITERS: usize = 64;
    // One thread: the requests that come in together are all read before the writer takes the first.
    // How many are refused is a matter of scheduling, that some are is not; rounds until one is.
    let server = impatient(|config| config.engine.requests_max = 1).await;
    let give_up = Instant::now() + DEADLINE;
    let mut clients = Vec::new();
    for _ in 0..WRITERS {
        clients.push(server.client().await);
    }
    let (mut registered, mut refused, mut round) = (0, 0, 0);
    while refused == 0 {
        assert!(
            Instant::now() < give_up,
            "nobody was refused in {round} rounds"
        );
        let mut writers = JoinSet::new();
        for (n, mut client) in clients.drain(..).enumerate() {
            let target = format!("{WEB}/endpoints/r{round}-w{n}");
            let call = Call::new("PUT", &target)
                .json(&json!({"host": "h", "port": 1, "checks": [], "ttl": null}));
            writers.spawn(async move {
                let answer = client.send(call).await;
                (client, answer)
            });
        }
        for (client, answer) in writers.join_all().await {
            clients.push(client);
            if answer.status == 201 {
                registered += 1;
                continue;
            }
            let seconds: u32 = answer.text("retry-after").parse().unwrap();
            assert!(seconds >= 1);
            answer.problem(503, "overloaded");
            refused += 1;
        }
        round += 1;
    }
    // Who was refused is not there, who was not is, and the next is served.
    let total = clients[0].get(WEB).await.must_be(200).json()["total"].clone();
    assert_eq!(total, registered);
    clients[0].register("web", "next").await;
}

#[tokio::test]
async fn a_body_far_above_its_limit_is_refused_before_it_was_all_sent() {
    let server = TestServer::start().await;
    let body = vec![b' '; 16 * 1024 * 1024];
    let mut client = server.client().await;
    let call = Call::new("PUT", A).body("application/json", body);
    write_in_vain(&mut client, &call.to_bytes()).await;
    client
        .answer("PUT")
        .await
        .expect("it is told so")
        .problem(413, "too_large");
    assert!(client.answer("PUT").await.is_none());
    assert_serves(&server).await;
}

/// Every limit of a body is a setting: set to what one request passes, one more is refused.
#[tokio::test]
async fn what_a_body_may_hold_is_settable_and_reached() {
    let server = TestServer::with(|config| {
        let rules = &mut config.engine.limits.body;
        (rules.metadata_members, rules.metadata_bytes) = (2, 30);
        (rules.tags, rules.tag_length) = (1, 3);
        (rules.ports, rules.checks, rules.heartbeats) = (2, 1, 2);
        rules.json_depth = 4;
        rules.check_interval = Duration::from_secs(7);
        rules.check_timeout = Duration::from_secs(2);
    })
    .await;
    let mut client = server.client().await;
    let check = |name: &str| json!({"type": "tcp", "name": name});
    let fine_and_not = [
        (
            json!({"metadata": {"a": 1, "b": 2}}),
            json!({"metadata": {"a": 1, "b": 2, "c": 3}}),
        ),
        (
            json!({"metadata": {"a": "x"}}),
            json!({"metadata": {"a": "x".repeat(30)}}),
        ),
        (json!({"tags": ["abc"]}), json!({"tags": ["a", "b"]})),
        (json!({"zone": "abc"}), json!({"tags": ["abcd"]})),
        (
            json!({"ports": {"a": 1}}),
            json!({"ports": {"a": 1, "b": 2}}),
        ),
        (
            json!({"checks": [check("a")]}),
            json!({"checks": [check("a"), check("b")]}),
        ),
        (
            json!({"metadata": {"a": [[1]]}}),
            json!({"metadata": {"a": [[[1]]]}}),
        ),
    ];
    for (fine, wrong) in fine_and_not {
        for (extra, status) in [(fine, 200..=201), (wrong, 400..=400)] {
            let mut body = json!({"url": "http://127.0.0.1:9"});
            for (name, value) in extra.as_object().expect("an object") {
                body[name] = value.clone();
            }
            let reply = client.put(A, &body).await;
            assert!(status.contains(&reply.status), "{body}: {}", reply.status);
        }
    }
    for (ids, status) in [(json!(["a", "a"]), 200), (json!(["a", "a", "a"]), 400)] {
        let body = json!({"heartbeats": {"web": ids}});
        let reply = client.post("/api/v1/heartbeats", &body).await;
        assert_eq!(reply.status, status, "{body}");
    }
}
