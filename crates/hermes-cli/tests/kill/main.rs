//! That nothing acknowledged is lost: the real binary on a real directory, killed with SIGKILL while
//! clients write as fast as they can and watchers follow.
//!
//! `storm` is the main thing. The other files take a guarantee each that a storm meets too rarely:
//! a disk that refuses, a bit that flips, a lease across a kill, a snapshot without the changes before it, many writers of one endpoint.
//!
//! ```text
//! cargo test -p hermes-cli --test kill                                    what every test run does
//! cargo test --release -p hermes-cli --test kill -- --ignored --nocapture    a thousand kills
//! ```
//!
//! A storm prints its seed when it fails, and keeps its directory. [`storm::SEED`] takes one. The
//! seed settles what is written and when the server is killed; how the threads of the machine
//! interleave it does not.
#![cfg(unix)]
#![cfg(test)]

mod crowd;
mod damage;
#[cfg(target_os = "linux")]
mod disk;
mod leases;
mod model;
mod restart;
mod server;
mod storm;
mod walkthrough;
mod watcher;
mod writer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_lose_nothing_that_was_acknowledged() {
    storm::rage(20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes many minutes; scripts/test-long kills"]
async fn a_thousand_kills() {
    storm::rage(1_000).await;
}
