//! Where probes go: nowhere that was not judged, and not where Hermes itself listens.

use std::net::SocketAddr;

use hermes_core::check::CheckKind;
use hermes_discovery::probe::{Config, Reach};

use crate::responder::{Responder, well};
use crate::world::{World, at, at_url, http_kind, often};

#[tokio::test]
async fn a_listener_on_loopback_hears_nothing_of_a_server_that_is_not_there() {
    let responder = Responder::start(well()).await;
    let reach = Reach {
        loopback: false,
        ..Reach::default()
    };
    let config = Config {
        reach,
        ..Config::default()
    };
    let mut world = World::with(config).await;
    let port = responder.address.port();
    let forms = [
        "127.0.0.1",
        "127.0.0.2",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::]",
        "localhost",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
    ];
    for (number, form) in forms.iter().enumerate() {
        let id = format!("e{number}");
        let registration = at_url(&format!("http://{form}:{port}"), &[often(http_kind())]);
        world.register(&id, registration).await;
        let evidence = world.unhealthy(&id).await;
        assert!(evidence.starts_with("not probed: "), "{form}: {evidence}");
    }
    assert_eq!(responder.accepted(), 0);
}

#[tokio::test]
async fn hermes_does_not_probe_itself() {
    let responder = Responder::start(well()).await;
    let everywhere = SocketAddr::from(([0, 0, 0, 0], responder.address.port()));
    let reach = Reach {
        own: vec![everywhere],
        ..Reach::default()
    };
    let config = Config {
        reach,
        ..Config::default()
    };
    let mut world = World::with(config).await;
    let registration = at(responder.address, &[often(CheckKind::Tcp)]);
    world.register("a", registration).await;
    let evidence = world.unhealthy("a").await;
    assert_eq!(evidence, "not probed: Hermes itself listens there");
    assert_eq!(responder.accepted(), 0);
}

#[tokio::test]
async fn a_name_is_judged_by_what_it_resolves_to_and_dialled_there() {
    let responder = Responder::start(well()).await;
    let mut world = World::start().await;
    let url = format!("http://localhost:{}", responder.address.port());
    world
        .register("a", at_url(&url, &[often(http_kind())]))
        .await;
    world.healthy("a").await;
    world.probed(5).await;
    // The connection is kept while the name leads to where it leads.
    assert_eq!(responder.accepted(), 1);
}
