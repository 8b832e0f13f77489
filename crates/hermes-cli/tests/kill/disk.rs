//! A disk that refuses, beneath the real binary: full, or not to be written to.
//!
//! Whatever the cause: writes are refused as `log_unavailable`, reads go on and say that they are
//! stale, nothing expires, and when the cause is gone everything works again without a restart. What
//! was refused is not there, neither then nor after a kill.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hermes_discovery::client::{Method, Path as Route};
use rlimit::Resource;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::leases::expires;
use crate::server::{DEADLINE, Server, Starting, endpoint, serve, serve_with};

const STATIC: &str = r#", "ttl": null"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_may_not_grow_stops_writes_until_it_may_again() {
    let directory = tempfile::tempdir().unwrap();
    // A signal that would end the server otherwise; whoever ignores it is told by an error.
    let mut command = Command::new("sh");
    command.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#]);
    command.arg(env!("CARGO_BIN_EXE_hermes"));
    serve_with(&mut command, directory.path(), "");
    let server = Starting::spawn(command).ready().await.unwrap();
    let process = server.process();
    let limit = |bytes| {
        rlimit::prlimit(
            process,
            Resource::FSIZE,
            Some((bytes, rlimit::INFINITY)),
            None,
        )
        .unwrap();
    };
    begin(&server).await;
    limit(0);
    // The expiry meets the disk first. Then the lease that was closed for it is opened again.
    let heartbeat = endpoint("web", "leased").segment("heartbeat");
    let until = Instant::now() + DEADLINE;
    while lost(&server.said()) == 0 || server.ask(Method::PUT, &heartbeat, "").await.is_err() {
        assert!(Instant::now() < until, "{:#?}", server.said());
        sleep(Duration::from_millis(20)).await;
    }
    is_refused(&server).await;
    limit(rlimit::INFINITY);
    works_again(server, directory.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_file_system_stops_writes_until_there_is_room_again() {
    let Some(mount) = Mount::small() else {
        skip("a full file system: only root may mount a small one");
        return;
    };
    let (directory, filler) = (mount.0.join("data"), mount.0.join("filler"));
    let server = Server::start(&directory, "").await;
    begin(&server).await;
    fill(&filler);
    write_until_refused(&server).await;
    is_refused(&server).await;
    fs::remove_file(&filler).unwrap();
    works_again(server, &directory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_takes_no_files_stops_writes_until_it_takes_some() {
    let outer = tempfile::tempdir().unwrap();
    let directory = outer.path().join("data");
    fs::create_dir(&directory).unwrap();
    // A segment ends with every snapshot, so that the change after it needs another file.
    let Some(command) = as_nobody(outer.path(), &directory, "--snapshot-changes 1") else {
        skip(
            "a directory without the right to write: root has every right, and nobody else can run the binary where it is",
        );
        return;
    };
    let server = Starting::spawn(command).ready().await.unwrap();
    begin(&server).await;
    fs::set_permissions(&directory, Permissions::from_mode(0o500)).unwrap();
    write_until_refused(&server).await;
    is_refused(&server).await;
    fs::set_permissions(&directory, Permissions::from_mode(0o700)).unwrap();
    works_again(server, &directory).await;
}

/// Something that stays, and something that would expire soon.
async fn begin(server: &Server) {
    server.register("web", "kept", STATIC).await.unwrap();
    let leased = r#", "ttl": 1"#;
    server.register("web", "leased", leased).await.unwrap();
}

/// What is left of a page, or of a segment, may still take a change or two.
async fn write_until_refused(server: &Server) {
    let until = Instant::now() + DEADLINE;
    while server.register("web", "filler", &unique()).await.is_ok() {
        assert!(Instant::now() < until, "nothing is ever refused");
    }
}

async fn is_refused(server: &Server) {
    let refused = server.register("web", "refused", STATIC).await.unwrap_err();
    assert_eq!(refused.code(), Some("log_unavailable"), "{refused}");
    // The lease runs out meanwhile, twice over.
    sleep(Duration::from_millis(2_500)).await;
    let again = server.register("web", "refused", STATIC).await.unwrap_err();
    assert_eq!(again.code(), Some("log_unavailable"), "{again}");
    for id in ["kept", "leased"] {
        server.detail("web", id).await.unwrap();
    }
    let unknown = server.detail("web", "refused").await.unwrap_err();
    assert_eq!(unknown.code(), Some("endpoint_unknown"), "{unknown}");
    let answer = server
        .client
        .get(&Route::new("/api/v1/services"))
        .await
        .unwrap();
    assert_eq!(answer.header("hermes-source"), Some("stale"));
    assert_ne!(answer.header("hermes-age"), Some("0.000"));
    server.client.get(&Route::new("/readyz")).await.unwrap();
    let said = server.said();
    assert_eq!(lost(&said), 1, "one line says so: {said:#?}");
}

/// How many of the lines say that the log was lost.
fn lost(said: &[String]) -> usize {
    let says_so = |line: &&String| line.contains("the log cannot be written");
    said.iter().filter(says_so).count()
}

async fn works_again(server: Server, directory: &Path) {
    server.register("web", "later", STATIC).await.unwrap();
    let answer = server
        .client
        .get(&Route::new("/api/v1/services"))
        .await
        .unwrap();
    assert_eq!(answer.header("hermes-source"), Some("live"));
    expires(&server, "web", "leased").await;
    server.kill().await;
    let server = Server::start(directory, "").await;
    for id in ["kept", "later"] {
        server.detail("web", id).await.unwrap();
    }
    for (id, code) in [("leased", "endpoint_gone"), ("refused", "endpoint_unknown")] {
        let missing = server.detail("web", id).await.unwrap_err();
        assert_eq!(missing.code(), Some(code), "{id}: {missing}");
    }
}

/// A file system of its own.
struct Mount(PathBuf);

impl Mount {
    fn small() -> Option<Self> {
        let path = tempfile::tempdir().unwrap().keep();
        let mut mount = std::process::Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(&path);
        let is_mounted = mount.output().is_ok_and(|output| output.status.success());
        if is_mounted {
            return Some(Self(path));
        }
        fs::remove_dir(path).unwrap();
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let mut umount = std::process::Command::new("umount");
        // Lazily: a server that was killed a moment ago may still hold a file.
        umount.arg("-l").arg(&self.0).status().ok();
        fs::remove_dir(&self.0).ok();
    }
}

/// Writes until there is no room, in smaller and smaller pieces.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for size in [4_096, 512, 64, 8, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

/// Members of a registration that nobody has sent before.
fn unique() -> String {
    format!(
        r#", "ttl": null, "metadata": {{"n": {}}}"#,
        fastrand::u32(..)
    )
}

/// The server as somebody without the rights of root. Nothing when that cannot be.
fn as_nobody(outer: &Path, directory: &Path, arguments: &str) -> Option<Command> {
    const NOBODY: u32 = 65_534;
    // Only root may give a directory away.
    if std::os::unix::fs::chown(directory, Some(NOBODY), Some(NOBODY)).is_err() {
        return Some(serve(directory, arguments));
    }
    fs::set_permissions(outer, Permissions::from_mode(0o755)).unwrap();
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let binary = env!("CARGO_BIN_EXE_hermes");
    let mut probe = std::process::Command::new("setpriv");
    probe.args(nobody).args([binary, "--version"]);
    let can_run = probe.output().is_ok_and(|output| output.status.success());
    let mut command = Command::new("setpriv");
    command.args(nobody).arg(binary);
    serve_with(&mut command, directory, arguments);
    can_run.then_some(command)
}

/// Says so even where the output of a test is kept back.
fn skip(what: &str) {
    writeln!(std::io::stderr(), "SKIPPED {what}").ok();
}
