//! What an operator does with an endpoint that is registered: drain, patch, heartbeat.

use serde_json::json;

use crate::command::Ran;
use crate::server::Server;

fn endpoint(server: &Server, id: &str) -> serde_json::Value {
    let all = server.run("endpoints web -o json").exits(0).json();
    let endpoints = all[0]["endpoints"].as_array();
    let found = endpoints.and_then(|all| all.iter().find(|endpoint| endpoint["id"] == id));
    found.expect("it is registered").clone()
}

#[test]
fn a_draining_endpoint_is_handed_out_no_more_until_it_is_undrained() {
    let server = Server::start();
    server.register("web", "a");
    server.register("web", "b");
    server
        .run("drain web a --reason maintenance")
        .exits(0)
        .prints(&["a"])
        .says("a in web is draining until `hermes undrain web a`, or until it registers as a new")
        .says("1 other endpoint of web is ready");
    server
        .run("endpoints web a")
        .exits(0)
        .shows("endpoint     a in web")
        .shows("ready        no: draining (maintenance)");
    server.run("endpoints web nobody").exits(3);
    server
        .run("endpoints web -o wide")
        .exits(0)
        .shows("INCARNATION  REASON");
    let drained = endpoint(&server, "a");
    assert_eq!(drained["flags"], json!(["draining"]));
    assert_eq!(drained["ready"], json!(false));
    server
        .run("drain web b --sticky")
        .exits(0)
        .says("until `hermes undrain web b`")
        .says("nothing of web is ready any more");
    server.run("resolve web").exits(7).says("draining");

    server
        .run("undrain web a")
        .exits(0)
        .prints(&["a"])
        .says("is handed out again");
    server.run("undrain web a").exits(0);
    server.run("resolve web").exits(0);
    // A new process ends a drain, but not one that sticks.
    server
        .run("register web http://127.0.0.1:9 --id b --check none --new")
        .exits(0);
    assert_eq!(endpoint(&server, "b")["ready"], json!(false));
    let answer = server.run("undrain web b -o json").exits(0).json();
    assert_eq!(answer[0]["ready"], json!(true));
}

#[test]
fn an_override_wins_until_it_is_reset() {
    let server = Server::start();
    server
        .run("register web http://127.0.0.1:9 --id a --check none --tag x --meta v=1 --zone eu")
        .exits(0);
    server
        .run("patch web a --weight 0 --zone us --no-tags --meta w=2 --hide-meta v")
        .exits(0)
        .prints(&["a"])
        .says("a in web has now ")
        .says("weight 0")
        .says("no tags")
        .says("zone us")
        .says("metadata {\"w\":\"2\"}");
    let patched = endpoint(&server, "a");
    let gist = |e: &serde_json::Value| json!([e["weight"], e["zone"], e["tags"], e["metadata"]]);
    assert_eq!(gist(&patched), json!([0, "us", [], {"w": "2"}]));
    server
        .run("patch web a --reset weight --reset zone --reset tags --reset metadata")
        .exits(0)
        .says("weight 100");
    assert_eq!(
        gist(&endpoint(&server, "a")),
        json!([100, "eu", ["x"], {"v": "1"}])
    );

    let merge = |text: &str| {
        let mut command = crate::command::hermes("patch web a -o json --merge");
        command.arg(text).env("HERMES_ADDR", &server.url);
        crate::command::end(&mut command)
    };
    let answer = merge("{\"metadata\": {\"n\": [1, null]}}").exits(0).json();
    assert_eq!(answer[0]["metadata"]["n"], json!([1, null]));
    merge("[]").exits(2).says("an object of JSON is expected");
    // What only the server knows is told as the server words it.
    merge("{\"wieght\": 1}").exits(2).says("weight");
    server.run("patch web a").exits(2);
    server
        .run("patch web a --weight 1 --reset weight")
        .exits(2)
        .says("reset at once");
}

#[test]
fn a_heartbeat_is_accepted_or_the_reason_is_told() {
    let server = Server::start();
    let register = "register web http://127.0.0.1:9 --id a --check none --ttl 1h";
    server.run(register).exits(0);
    server
        .run("heartbeat web a --load 0.5 --note fine --health healthy")
        .exits(0)
        .prints(&[])
        .says("was accepted");
    let first = endpoint(&server, "a")["incarnation"].clone();
    server.run(&format!("{register} --new")).exits(0);
    server
        .run(&format!("heartbeat web a --incarnation {first}"))
        .exits(1)
        .says("incarnation");
    server.run("deregister web a").exits(0);
    server
        .run("heartbeat web a")
        .exits(3)
        .says("hint: register it again");
    server.run("heartbeat web nobody").exits(3);
    server.run("heartbeat web a --load many").exits(2);
}

#[test]
fn heartbeats_go_on_until_they_are_refused() {
    let server = Server::start();
    let mut watch = server.start_command("watch");
    watch
        .err
        .until(|line| line.starts_with("this is the state"));
    let register = |id: &str, ttl: &str| {
        let place = "http://127.0.0.1:9 --check none";
        server
            .run(&format!("register web {place} --id {id} --ttl {ttl}"))
            .exits(0);
    };
    register("a", "2s");
    let mut beating = server.start_command("heartbeat web a --every 300ms");
    beating
        .err
        .until(|line| line.contains("one every 0.3 s follows"));
    // When the longer lease has run out in silence, the shorter one would have, too.
    register("silent", "3s");
    watch
        .out
        .until(|line| line.contains("web/silent") && line.contains("expired"));
    assert_eq!(endpoint(&server, "a")["ready"], json!(true));
    server.run("deregister web a").exits(0);
    beating.err.until(|line| line.starts_with("error: "));
    assert_eq!(beating.wait().code(), Some(3));
}

#[test]
fn what_is_not_known_comes_with_what_is_near() {
    let server = Server::start();
    server.register("web", "web-1");
    let near = |ran: Ran| ran.exits(3).prints(&[]).says("web");
    for command in ["drain", "undrain", "heartbeat", "patch --weight 1"] {
        near(server.run(&format!("{command} wbe web-1")));
        near(server.run(&format!("{command} web web-2")));
    }
}
