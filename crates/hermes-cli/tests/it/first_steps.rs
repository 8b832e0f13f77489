//! The story that every newcomer plays through: two servers, one name, one of them dies.

use serde_json::Value;

use crate::command::Running;
use crate::responder::{Responder, get};
use crate::server::Server;

/// Waits until the watch has told that an endpoint is healthy, or is not.
fn until_health(watch: &mut Running, id: &str, health: &str) {
    watch.out.until_json(|event| {
        let data = &event["data"];
        let is_it = |endpoint: &Value| endpoint["id"] == id && endpoint["health_status"] == health;
        let known = data["endpoints"].as_array();
        is_it(&data["endpoint"]) || known.is_some_and(|all| all.iter().any(is_it))
    });
}

fn register(server: &Server, id: &str, responder: &Responder) {
    let url = responder.url();
    let arguments =
        format!("register web {url} --id {id} --check http:/health --check-interval 1s");
    server.run(&arguments).exits(0).prints(&[id]).says("static");
}

#[test]
fn a_service_is_resolved_while_one_of_its_endpoints_works() {
    let server = Server::start();
    let (first, second) = (Responder::start("first"), Responder::start("second"));
    register(&server, "web-1", &first);
    register(&server, "web-2", &second);
    let mut watch = server.start_command("watch web -o json");
    until_health(&mut watch, "web-1", "healthy");
    let mut watch = server.start_command("watch web -o json");
    until_health(&mut watch, "web-2", "healthy");

    // Both take turns, and what is resolved is what answers.
    let resolve = || server.run("resolve web").exits(0).out.trim_end().to_owned();
    let urls = [resolve(), resolve()];
    let mut names = urls.each_ref().map(|url| get(url));
    names.sort();
    assert_eq!(names, ["first", "second"]);

    drop(first);
    until_health(&mut watch, "web-1", "unhealthy");
    for _ in 0..4 {
        assert_eq!(resolve(), second.url());
    }
    let table = server.run("endpoints web").exits(0).out;
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 3, "{table}");
    assert!(rows[0].starts_with("ID     URL"), "{table}");
    assert!(
        rows[1].contains("unhealthy") && rows[1].contains(" no "),
        "{table}"
    );
    assert!(
        rows[2].contains(" healthy") && rows[2].contains(" yes "),
        "{table}"
    );
    let status = server.run("status").exits(0).out;
    assert!(
        status.contains("endpoints  1 ready of 2, 1 unhealthy"),
        "{status}"
    );
    assert!(status.contains("web        web-1"), "{status}");

    drop(second);
    until_health(&mut watch, "web-2", "unhealthy");
    let failed = server.run("resolve web").exits(7).prints(&[]);
    failed
        .says("web-1  unhealthy")
        .says("web-2  unhealthy")
        .says("hint: ");
    server.run("endpoints web --ready").exits(7).prints(&[]);
    let any = server
        .run("select web --fallback any --limit 5")
        .exits(0)
        .says("handed out all the same");
    assert_eq!(any.out.lines().count(), 2, "{any:?}");

    // A new process in its place, under the same id.
    let third = Responder::start("third");
    register(&server, "web-1", &third);
    until_health(&mut watch, "web-1", "healthy");
    assert_eq!(get(&resolve()), "third");
}

#[test]
fn an_endpoint_with_a_lease_is_gone_when_nobody_renews_it() {
    let server = Server::start();
    let url = "http://127.0.0.1:9";
    let mut watch = server.start_command("watch web");
    watch.err.until(|line| line.contains("this is the state"));
    let registered = server.run(&format!("register web {url} --id a --check none --ttl 1s"));
    registered
        .exits(0)
        .says("/api/v1/services/web/endpoints/a/heartbeat")
        .says("every 0.3 s");
    let line = watch.out.until(|line| line.contains("registered"));
    assert!(
        line.contains("web/a") && line.contains("healthy, ready"),
        "{line}"
    );
    let line = watch.out.until(|line| line.contains("expired"));
    assert!(line.contains("gone"), "{line}");
    server.run("resolve web").exits(7);
    server
        .run("endpoints web")
        .exits(0)
        .prints(&[])
        .says("its last endpoint has expired");
}

#[test]
fn namespaces_do_not_see_each_other() {
    let server = Server::start();
    server.register("web", "a");
    server
        .run("register web http://127.0.0.1:9 --namespace Lab_2 --check none")
        .exits(0);
    server.run("resolve web --namespace lab-2").exits(0);
    server.run("resolve web --namespace lab-3").exits(3);
    let all = server.run("services --namespace *").exits(0).out;
    assert!(all.contains("default") && all.contains("lab-2"), "{all}");
    let home = server.run("services").exits(0).out;
    assert!(!home.contains("lab-2"), "{home}");
}

#[test]
fn a_selection_goes_by_what_was_registered() {
    let server = Server::start();
    let endpoints = [
        "--host 127.0.0.1 --port 8081 --id a --tag eu --meta v=1 --zone east --port-name grpc=9091",
        "--host 127.0.0.1 --port 8082 --id b --tag us --meta v=2 --zone west --weight 0",
    ];
    for endpoint in endpoints {
        server
            .run(&format!("register web {endpoint} --check none"))
            .exits(0);
    }
    let (a, b) = ("http://127.0.0.1:8081", "http://127.0.0.1:8082");
    let cases = [
        ("--tag us", b),
        ("--meta v=1", a),
        ("--zone west --zone-strict", b),
        ("--exclude a", b),
        ("--exclude http://127.0.0.1:8082", a),
        ("--policy weighted", a),
        ("--port grpc", "http://127.0.0.1:9091"),
    ];
    for (arguments, url) in cases {
        let ran = server.run(&format!("select web {arguments}"));
        assert_eq!(ran.out.trim_end(), url, "{arguments}: {ran:?}");
    }
    let select = || {
        server
            .run("select web --policy rendezvous --key user-42")
            .exits(0)
            .out
    };
    assert_eq!(select(), select(), "a key stays where it is");
    let both = server.run("select web --limit 5").exits(0);
    assert_eq!(both.out.lines().count(), 2, "{both:?}");
    server.run("select web --tag nowhere").exits(7);
}
