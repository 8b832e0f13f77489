//! A bit that flips on the disk: what it held is missing then, and never something else.

use std::fs;
use std::path::Path;

use crate::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_is_never_served_and_what_is_whole_stays() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), "").await;
    for id in ["a", "b", "c"] {
        let more = format!(r#", "ttl": null, "metadata": {{"word": "jjjj-{id}"}}"#);
        server.register("web", id, &more).await.unwrap();
    }
    server.kill().await;
    // 'j' becomes 'k' by its last bit.
    assert_eq!(flip(directory.path(), b"jjjj-b"), 1);
    let server = Server::start(directory.path(), "").await;
    for id in ["a", "c"] {
        let detail = server.detail("web", id).await.unwrap();
        assert_eq!(detail["metadata"]["word"], format!("jjjj-{id}"));
    }
    let damaged = server.detail("web", "b").await;
    assert_eq!(damaged.unwrap_err().code(), Some("endpoint_unknown"));
    let said = server.kill().await.join("\n");
    assert!(said.contains("damaged"), "nobody is told:\n{said}");
}

/// Flips the last bit of the first byte of `word` wherever the changes hold it.
fn flip(directory: &Path, word: &[u8]) -> usize {
    let mut flips = 0;
    for file in fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        let found = bytes.windows(word.len()).position(|window| window == word);
        if let Some(at) = found {
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            flips += 1;
        }
    }
    flips
}
