//! `hermes log`: looking into a data directory, whether a server uses it or not.

use serde_json::Value;

use crate::command::run;
use crate::server::Server;

#[test]
fn a_directory_is_checked_and_its_history_exported() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display().to_string();
    let server = Server::start_with(&format!("--data-dir {path}"));
    server.register("web", "a");
    server.register("web", "b");
    server.run("deregister web a").exits(0);
    let whole = "everything that was acknowledged is whole";
    run(&format!("log check {path}")).exits(0).shows(whole);
    drop(server);
    run(&format!("log check {path}")).exits(0).shows(whole);

    let exported = run(&format!("log export {path}")).exits(0).out;
    let changes: Vec<Value> = exported
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let gist = |change: &Value| {
        (
            change["revision"].as_u64(),
            change["kind"].clone(),
            change["id"].clone(),
        )
    };
    assert_eq!(
        changes.iter().map(gist).collect::<Vec<_>>(),
        [
            (Some(1), "registered".into(), "a".into()),
            (Some(2), "registered".into(), "b".into()),
            (Some(3), "deregistered".into(), "a".into()),
        ]
    );
}

#[test]
fn damage_is_named_and_what_is_whole_is_still_served() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display().to_string();
    let server = Server::start_with(&format!("--data-dir {path}"));
    server.register("web", "a");
    server.register("web", "b");
    drop(server);
    let files = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|file| file.unwrap().path());
    let segment = files
        .into_iter()
        .find(|file| file.extension().is_some_and(|e| e == "log"));
    let segment = segment.unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    // Somewhere in the first change, behind which a sound one follows.
    bytes[200] ^= 1;
    std::fs::write(&segment, bytes).unwrap();

    run(&format!("log check {path}"))
        .exits(1)
        .shows("damage: ")
        .says("is damaged");
    let server = Server::start_with(&format!("--data-dir {path}"));
    assert!(server.run("endpoints web").exits(0).out.contains("b "));
}

#[test]
fn what_is_no_data_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display().to_string();
    run(&format!("log check {path}"))
        .exits(1)
        .says("is not a Hermes data directory");
    run(&format!("log export {path}/none")).exits(1);
}
