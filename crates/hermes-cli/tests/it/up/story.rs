//! The story of a stack: three programs that need each other, a crash, a hang, and a rolling restart
//! that no client notices.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use serde_json::Value;

use super::{Stack, until, until_ready};
use crate::command::Running;
use crate::program::ask;
use crate::server::Server;

const STACK: &str = "\
services:
  web:
    command: PROGRAM
    needs: [cache]
    resolve: {db: DB_URL}
    check_interval: 1s
    drain_time: 3s
    restart: on-failure
  cache:
    command: PROGRAM
    needs: [db]
    check_interval: 1s
    drain_time: 0s
  db:
    command: PROGRAM
    check_interval: 1s
    drain_time: 0s
    restart: on-failure
";

#[test]
fn a_stack_lives_through_a_crash_a_hang_and_a_rolling_restart() {
    let server = Server::start();
    let stack = Stack::of(STACK);
    let mut up = stack.up(&server);

    let [db, cache, web] = until_all_are_ready(&mut up);
    assert_eq!(ask(&web, "/env/db_url").unwrap(), db);

    // One crashes, and comes back.
    ask(&db, "/exit/3").unwrap_err();
    until(&mut up, "db", "restarting");
    assert_eq!(until_ready(&mut up, "db"), db);

    // One hangs: it accepts and never answers, and is handed out no more.
    ask(&cache, "/hang").unwrap();
    let why = until(&mut up, "cache", "not ready");
    assert!(why.starts_with("unhealthy: "), "{why}");
    server.run("resolve cache").exits(7);

    // All are replaced, under load; the one that hangs, too.
    let load: Vec<Load> = (0..4).map(|_| Load::on(&server, "web")).collect();
    let before = ask(&web, "/").unwrap();
    up.signal("USR2");
    up.out.until(|line| line.ends_with("rolling restart: done"));
    let mut answered = BTreeSet::new();
    for load in load {
        let (by, failures) = load.end();
        assert_eq!(failures, [] as [String; 0]);
        answered.extend(by);
    }
    assert_eq!(
        answered.len(),
        2,
        "the old one and the new one have answered"
    );
    assert!(answered.contains(&before));
    server.run("resolve cache").exits(0);
    for service in ["web", "cache", "db"] {
        let shown = server.run(&format!("endpoints {service} -o json")).exits(0);
        assert_eq!(shown.json()[0]["total"], 1, "{service}");
    }

    // Those first that nobody needs.
    up.signal("TERM");
    until(&mut up, "web", "draining");
    until(&mut up, "web", "ended");
    until(&mut up, "cache", "stopping");
    until(&mut up, "cache", "ended");
    until(&mut up, "db", "stopping");
    assert_eq!(up.wait().code(), Some(0));
    server.run("resolve web").exits(7);
}

/// Waits until everything is ready, each started after what it needs, and gives the URLs.
fn until_all_are_ready(up: &mut Running) -> [String; 3] {
    let labels = ["db", "cache", "web"];
    let mut started = Vec::new();
    let mut urls = [const { String::new() }; 3];
    up.out.until(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [label, "starting", ..] => started.push(label.to_owned()),
            [label, "ready", url, ..] => {
                let at = labels.iter().position(|known| *known == label).unwrap();
                urls[at] = url.to_owned();
            }
            _ => {}
        }
        urls.iter().all(|url| !url.is_empty())
    });
    assert_eq!(started, labels);
    urls
}

/// A client that resolves for every request.
struct Load {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<(BTreeSet<String>, Vec<String>)>,
}

impl Load {
    fn on(server: &Server, service: &str) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let (hermes, path) = (
            server.url.clone(),
            format!("/api/v1/services/{service}/url"),
        );
        let thread = thread::spawn(move || {
            let (mut answered, mut failures) = (BTreeSet::new(), Vec::new());
            while !over.load(Ordering::SeqCst) {
                let resolved = ask(&hermes, &path).and_then(|body| {
                    let body: Value = serde_json::from_str(&body).unwrap();
                    ask(body["selected_url"].as_str().unwrap(), "/")
                });
                match resolved {
                    Ok(by) => {
                        answered.insert(by);
                    }
                    Err(failure) => failures.push(failure),
                }
            }
            (answered, failures)
        });
        Self { is_over, thread }
    }

    /// Who has answered, and what has failed.
    fn end(self) -> (BTreeSet<String>, Vec<String>) {
        self.is_over.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}
