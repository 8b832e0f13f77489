//! Which answer means what.

use std::time::Duration;

use hermes_core::check::{Check, CheckKind, HttpCheck, HttpMethod, StatusMatch};
use hermes_core::health::Health;
use tokio::time::Instant;

use super::responder::{Answer, Responder, http, well};
use super::world::{World, at, at_url, http_kind, nobody_listens, often, once};

/// What one probe with `check` finds when it is answered so.
async fn found(check: HttpCheck, answer: Answer) -> (Health, String) {
    let mut world = World::start().await;
    let responder = Responder::start(answer).await;
    let check = once(CheckKind::Http(check));
    world.register("a", at(responder.address, &[check])).await;
    world.verdict("a").await
}

async fn evidence(check: HttpCheck, answer: Answer) -> String {
    found(check, answer).await.1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_the_expected_status_is_healthy() {
    let (health, evidence) = found(HttpCheck::default(), well()).await;
    assert_eq!(health, Health::Healthy);
    let is_timed = evidence.starts_with("GET /health answered 200 in ") && evidence.ends_with("ms");
    assert!(is_timed, "{evidence}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_says_what_it_wants_and_who_asks() {
    let mut world = World::start().await;
    let responder = Responder::start(well()).await;
    let check = once(CheckKind::Http(HttpCheck {
        path: "/a/b?c=d".into(),
        method: HttpMethod::Head,
        ..HttpCheck::default()
    }));
    responder.now(Answer::Raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n".to_vec(),
    ));
    world.register("a", at(responder.address, &[check])).await;
    world.healthy("a").await;
    let request = responder.first_request().to_ascii_lowercase();
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        request.starts_with("head /a/b?c=d http/1.1\r\n"),
        "{request}"
    );
    for header in [
        format!("\r\nhost: {}\r\n", responder.address),
        format!("\r\nuser-agent: hermes-probe/{version}\r\n"),
    ] {
        assert!(request.contains(&header), "{request}");
    }
    assert!(
        !request.contains("cookie") && !request.contains("content-length"),
        "{request}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_status_is_unhealthy_unless_it_is_expected() {
    let unavailable = || Answer::Raw(http(503, "no"));
    let said = evidence(HttpCheck::default(), unavailable()).await;
    assert_eq!(said, "GET /health answered 503, expected 2xx");
    let check = HttpCheck {
        expect_status: vec![StatusMatch::Exact(204), StatusMatch::Class(5)],
        ..HttpCheck::default()
    };
    assert_eq!(found(check.clone(), unavailable()).await.0, Health::Healthy);
    let said = evidence(check, well()).await;
    assert_eq!(said, "GET /health answered 200, expected 204 or 5xx");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let mut world = World::start().await;
    let elsewhere = Responder::start(well()).await;
    let answer = format!(
        "HTTP/1.1 302 Found\r\nLocation: http://{}/health\r\nContent-Length: 0\r\n\r\n",
        elsewhere.address
    );
    let responder = Responder::start(Answer::Raw(answer.into_bytes())).await;
    world
        .register("a", at(responder.address, &[once(http_kind())]))
        .await;
    let said = world.unhealthy("a").await;
    assert_eq!(said, "GET /health answered 302, expected 2xx");
    assert_eq!((responder.request_count(), elsewhere.accepted()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_expected_text_must_stand_in_the_first_4_kib() {
    let check = || HttpCheck {
        expect_body: Some("status: fine".into()),
        ..HttpCheck::default()
    };
    let cases = [
        ("status: fine".to_owned(), Health::Healthy),
        (
            format!("{}status: fine", " ".repeat(4_084)),
            Health::Healthy,
        ),
        (
            format!("{}status: fine", " ".repeat(4_085)),
            Health::Unhealthy,
        ),
        ("status: bad".to_owned(), Health::Unhealthy),
        (String::new(), Health::Unhealthy),
    ];
    for (body, health) in cases {
        let (found, evidence) = found(check(), Answer::Raw(http(200, &body))).await;
        assert_eq!(found, health, "{} bytes: {evidence}", body.len());
        if health == Health::Unhealthy {
            let expected = "GET /health answered 200 without the expected text in its first 4 KiB";
            assert_eq!(evidence, expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_expected_text_may_come_in_pieces() {
    let check = HttpCheck {
        expect_body: Some("all is well".into()),
        ..HttpCheck::default()
    };
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let pieces: String = "all is well"
        .chars()
        .map(|c| format!("1\r\n{c}\r\n"))
        .collect();
    let answer = Answer::Raw(format!("{head}{pieces}0\r\n\r\n").into_bytes());
    assert_eq!(found(check, answer).await.0, Health::Healthy);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_end_is_cut_off() {
    let mut world = World::start().await;
    let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let responder = Responder::start(Answer::Endless(head)).await;
    let plain = often(http_kind());
    let searching = often(CheckKind::Http(HttpCheck {
        expect_body: Some("never".into()),
        ..HttpCheck::default()
    }));
    world
        .register("plain", at(responder.address, &[plain]))
        .await;
    world.healthy("plain").await;
    world
        .register("searching", at(responder.address, &[searching]))
        .await;
    let said = world.unhealthy("searching").await;
    assert!(
        said.ends_with("without the expected text in its first 4 KiB"),
        "{said}"
    );
    // Each is probed on, over a new connection every time.
    responder.asked(10).await;
    assert!(responder.accepted() >= 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_http_is_unhealthy_at_once_and_hides_nobody_else() {
    let mut world = World::start().await;
    let neighbour = Responder::start(well()).await;
    world
        .register("well", at(neighbour.address, &[often(http_kind())]))
        .await;
    world.healthy("well").await;
    let mut headers = b"HTTP/1.1 200 OK\r\nX-Long: ".to_vec();
    headers.extend([b'a'; 64 * 1024]);
    for garbage in [
        b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
        b"\x15\x03\x01\x00\x02\x02\x46".to_vec(),
        b"HTTP/1.1 \xff\xfe\r\n\r\n".to_vec(),
        b"HTTP/1.1 99999 Much\r\n\r\n".to_vec(),
        headers,
    ] {
        let shown = String::from_utf8_lossy(&garbage[..20.min(garbage.len())]).into_owned();
        let mut world = World::start().await;
        let responder = Responder::start(Answer::Raw(garbage)).await;
        world
            .register("a", at(responder.address, &[once(http_kind())]))
            .await;
        let said = world.unhealthy("a").await;
        assert_eq!(
            said, "answered no HTTP, or headers of more than 16 KiB",
            "{shown}"
        );
        assert_eq!(responder.accepted(), 1, "{shown}");
    }
    let asked = neighbour.request_count();
    neighbour.asked(asked + 3).await;
    assert_eq!(world.verdict_count().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_unhealthy_after_the_timeout() {
    let mut world = World::start().await;
    let responder = Responder::start(Answer::Silence).await;
    let check = Check {
        timeout: Duration::from_millis(100),
        attempts: 1,
        ..once(http_kind())
    };
    world.register("a", at(responder.address, &[check])).await;
    assert_eq!(world.unhealthy("a").await, "no answer within 100 ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_is_unhealthy_and_says_how() {
    let mut world = World::start().await;
    let responder = Responder::start(Answer::Reset).await;
    let check = Check {
        attempts: 1,
        ..once(http_kind())
    };
    world.register("a", at(responder.address, &[check])).await;
    assert_eq!(world.unhealthy("a").await, "connection reset");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nothing_answers_it_is_tried_again_after_a_second() {
    let mut world = World::start().await;
    let responder = Responder::start(Answer::Close).await;
    let began = Instant::now();
    world
        .register("a", at(responder.address, &[once(http_kind())]))
        .await;
    let said = world.unhealthy("a").await;
    assert_eq!(
        said,
        "connection closed without a whole answer (3 attempts)"
    );
    assert_eq!(responder.accepted(), 3);
    assert!(began.elapsed() >= Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_is_answered_makes_up_for_those_before() {
    let mut world = World::start().await;
    let responder = Responder::start(Answer::Close).await;
    world
        .register("a", at(responder.address, &[once(http_kind())]))
        .await;
    responder.asked(1).await;
    responder.now(well());
    world.healthy("a").await;
    assert_eq!(responder.accepted(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_says_unhealthy_ends_the_probe() {
    let mut world = World::start().await;
    let responder = Responder::start(Answer::Raw(http(500, ""))).await;
    world
        .register("a", at(responder.address, &[once(http_kind())]))
        .await;
    let said = world.unhealthy("a").await;
    assert_eq!(said, "GET /health answered 500, expected 2xx");
    assert_eq!(responder.request_count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_attempt_begins_after_half_the_interval() {
    let mut world = World::start().await;
    let responder = Responder::start(Answer::Close).await;
    let check = Check {
        interval: Duration::from_millis(1_500),
        attempts: 3,
        ..often(http_kind())
    };
    world.register("a", at(responder.address, &[check])).await;
    let said = world.unhealthy("a").await;
    assert_eq!(said, "connection closed without a whole answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tcp_check_wants_a_connection_and_says_nothing() {
    let mut world = World::start().await;
    let responder = Responder::start(Answer::Silence).await;
    let address = responder.address;
    world
        .register("a", at(address, &[often(CheckKind::Tcp)]))
        .await;
    let said = world.healthy("a").await;
    assert!(
        said.starts_with(&format!("connected to {address} in ")),
        "{said}"
    );
    responder.die().await;
    let said = world.unhealthy("a").await;
    assert!(nobody_listens(&said), "{said}");
    assert_eq!(responder.request_count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_may_be_a_name() {
    let mut world = World::start().await;
    let responder = Responder::start(well()).await;
    let port = responder.address.port();
    let url = format!("http://localhost:{port}");
    world
        .register("a", at_url(&url, &[once(http_kind())]))
        .await;
    world.healthy("a").await;
    let request = responder.first_request().to_ascii_lowercase();
    assert!(
        request.contains(&format!("\r\nhost: localhost:{port}\r\n")),
        "{request}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_without_an_address_is_unhealthy() {
    let mut world = World::start().await;
    let check = Check {
        timeout: Duration::from_secs(2),
        attempts: 1,
        ..once(http_kind())
    };
    world
        .register("a", at_url("http://no-such-host.invalid", &[check]))
        .await;
    let said = world.unhealthy("a").await;
    let words = [
        "its name cannot be resolved",
        "its name was not resolved in time",
    ];
    assert!(words.contains(&said.as_str()), "{said}");
}
