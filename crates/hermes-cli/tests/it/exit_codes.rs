//! One situation, one exit code: what a script can rely on.

use crate::command::{hermes, run};
use crate::server::Server;

#[test]
fn the_commands_that_ask() {
    let server = Server::start();
    server.register("web", "a");
    server
        .run("register db http://127.0.0.1:9 --id d")
        .exits(0)
        .says("not ready yet");
    let cases = [
        ("resolve web", 0),
        ("resolve Web", 0),
        ("resolve wbe", 3),
        ("resolve db", 7),
        ("select wbe", 3),
        ("select db", 7),
        ("endpoints wbe", 3),
        ("endpoints db", 0),
        ("endpoints db --ready", 7),
        ("services", 0),
        ("status", 0),
        ("deregister web nobody", 3),
        ("deregister wbe a", 3),
        ("deregister web a", 0),
        // It is still remembered that it was there.
        ("deregister web a", 0),
        ("resolve web", 7),
        ("deregister web --all", 0),
        ("deregister web --all", 3),
        ("resolve web", 3),
    ];
    for (arguments, code) in cases {
        let ran = server.run(arguments);
        assert_eq!(ran.code, Some(code), "{arguments}: {ran:#?}");
        assert_eq!(
            ran.err.is_empty(),
            code == 0 && !ran.out.is_empty(),
            "{arguments}: {ran:#?}"
        );
    }
}

#[test]
fn an_unknown_name_comes_with_the_nearest_known_one() {
    let server = Server::start();
    server.register("memory-store", "a");
    let ran = server.run("resolve memory-stroe").exits(3).prints(&[]);
    ran.says("memory-store")
        .says("hint: ")
        .says("`hermes services`");
}

#[test]
fn wrong_usage_is_told_before_anything_is_sent() {
    let cases = [
        ("", "Usage: hermes"),
        ("resolve", "<NAME>"),
        ("reslove web", "resolve"),
        ("resolve web --output xml", "json"),
        ("resolve not.a.name", "'.' is not allowed in it"),
        ("resolve web --namespace a/b", "'/' is not allowed in it"),
        ("resolve web --addr ftp://127.0.0.1:1", "http"),
        ("resolve web --addr hermes", "no port"),
        ("resolve web --timeout soon", "a duration is expected"),
        ("register web", "--url"),
        ("register web http://a:1 --url http://a:1", "cannot be used"),
        ("register web --host a", "--port"),
        (
            "register web http://a:1 --check ping",
            "http:/PATH, tcp or none",
        ),
        (
            "register web http://a:1 --check none --check tcp",
            "either none or",
        ),
        ("register web http://a:1 --port-name grpc=0", "1 to 65535"),
        ("register web http://a:1 --meta v", "NAME=VALUE"),
        ("register web http://a:1 --id -a", "error"),
        ("deregister web", "--all"),
        ("deregister web a --all", "cannot be used"),
        ("select web --policy rendezvous", "--key"),
        ("select web --policy best", "least_loaded"),
        ("select web --zone-strict", "--zone"),
        ("select web --limit 0", "1..=100"),
        ("watch --since yesterday", "REVISION"),
        ("completions basic", "bash"),
    ];
    for (arguments, part) in cases {
        let ran = run(arguments);
        assert_eq!(ran.code, Some(2), "{arguments}: {ran:#?}");
        assert!(
            ran.err.contains(part),
            "{arguments}: {part:?} is not said: {ran:#?}"
        );
        assert_eq!(ran.out, "", "{arguments}");
    }
}

#[test]
fn what_only_the_server_can_judge_is_usage_too() {
    let server = Server::start();
    let cases = [
        ("register web ftp://a:1", "http"),
        ("register web http://me:secret@a:1", "user-info"),
        ("register web http://a:1 --ttl 100h", "24 h"),
    ];
    for (arguments, part) in cases {
        server.run(arguments).exits(2).prints(&[]).says(part);
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_a_normal_end() {
    let server = Server::start();
    server.register("web", "a");
    for arguments in [
        "services",
        "services -o json",
        "completions bash",
        "watch -o json",
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = hermes(arguments);
        command.env("HERMES_ADDR", &server.url).stdout(writer);
        let ran = command.output().unwrap();
        assert_eq!(ran.status.code(), Some(0), "{arguments}: {ran:?}");
        assert_eq!(String::from_utf8_lossy(&ran.stderr), "", "{arguments}");
    }
}
