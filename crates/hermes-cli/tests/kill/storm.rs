//! The storm: lives and deaths of one server, with everything verified between them.

use std::collections::HashSet;
use std::fmt;
use std::fs::{DirEntry, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use fastrand::Rng;
use hermes_discovery::client::Client;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::server::{Server, Starting, serve};
use crate::watcher::{Watcher, read_state};
use crate::writer::{Tally, Writer};

/// A seed of an earlier failure; a random one when there is none.
pub(crate) const SEED: Option<u64> = None;

const WRITERS: usize = 8;
/// So small that segments, snapshots and compaction come in every life.
const HORIZON_CHANGES: u64 = 150;
const SNAPSHOT_CHANGES: u64 = 50;
/// In how many lives the idle watcher is there once.
const IDLE: usize = 5;
/// A life goes on until fewer writes than these were acknowledged, but not for longer than this.
const WRITTEN_MAX: usize = 200;
const LIFE_MAX: Duration = Duration::from_millis(1_500);
/// Kills between two lines of the report.
const REPORT: usize = 50;
/// More files than this are not explained by the horizon.
const FILES_MAX: usize = 100;

/// A server that is killed over and over, and everybody who uses it.
#[derive(Debug)]
struct Storm {
    directory: TempDir,
    rng: Rng,
    writers: Vec<Writer>,
    watchers: Vec<Watcher>,
    /// Writes that were acknowledged to anybody.
    written: Arc<AtomicUsize>,
    counts: Counts,
}

/// What happened to the server.
#[derive(Debug, Default)]
struct Counts {
    kills: usize,
    lives: usize,
    /// Kills before the server was ready.
    early: usize,
    /// Writes that were torn, and starts that told of one.
    torn: usize,
    told: usize,
    /// Snapshots that a kill left unfinished.
    cut_snapshots: HashSet<String>,
}

/// Says what to repeat when the test fails.
struct Seed<'a>(u64, &'a Path);

impl Drop for Seed<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!(
                "SEED: Some({:#x}); the directory is kept in {}",
                self.0,
                self.1.display()
            );
        }
    }
}

/// Kills a server so many times, and verifies everything after each.
pub(crate) async fn rage(kills: usize) {
    let seed = SEED.unwrap_or_else(|| fastrand::u64(..));
    let mut directory = tempfile::tempdir().unwrap();
    directory.disable_cleanup(true);
    let path = directory.path().to_owned();
    let _said_when_it_fails = Seed(seed, &path);
    let mut storm = Storm::begin(directory, seed).await;
    let mut reported = 0;
    while storm.counts.kills < kills {
        if let Err(fault) = storm.live_and_die().await {
            panic!("after {} kills: {fault}", storm.counts.kills);
        }
        if storm.counts.kills / REPORT > reported {
            reported = storm.counts.kills / REPORT;
            println!("{storm}");
        }
    }
    let server = Server::start(&path, &arguments()).await;
    storm.verify(&server).await.unwrap();
    println!("{storm}");
    storm.directory.disable_cleanup(false);
}

fn arguments() -> String {
    format!("--horizon-changes {HORIZON_CHANGES} --snapshot-changes {SNAPSHOT_CHANGES}")
}

impl Storm {
    /// An empty directory becomes that of a cluster, by the first life.
    async fn begin(directory: TempDir, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let server = Server::start(directory.path(), &arguments()).await;
        let route = hermes_discovery::client::Path::new("/api/v1/services");
        let answer = server.client.get(&route).await.unwrap();
        let cluster = answer.header("hermes-cluster").unwrap_or_default();
        let writer = |number| Writer::new(number, rng.u64(..), cluster);
        let writers = (0..WRITERS).map(writer).collect();
        let watcher = |name| Watcher::new(name, cluster, HORIZON_CHANGES);
        let watchers = [
            "the first watcher",
            "the second watcher",
            "the idle watcher",
        ]
        .map(watcher)
        .into();
        server.kill().await;
        Self {
            directory,
            rng,
            writers,
            watchers,
            written: Arc::default(),
            counts: Counts::default(),
        }
    }

    /// One life: perhaps a few that end before they begin, then start, verify, write, die.
    async fn live_and_die(&mut self) -> Result<(), String> {
        while self.rng.u8(..10) < 3 {
            self.die_early().await?;
        }
        let starting = Starting::spawn(serve(self.directory.path(), &arguments()));
        let server = starting.ready().await?;
        self.counts.lives += 1;
        let idle = self.counts.lives.is_multiple_of(IDLE);
        let present = if idle { 3 } else { 2 };
        for watcher in &mut self.watchers[..present] {
            watcher.follow(&server.client);
        }
        self.verify(&server).await?;
        let writers = self.write(&server.client);
        self.let_live().await;
        let said = server.kill().await;
        self.counts.kills += 1;
        self.listen(&said)?;
        for written in writers.join_all().await {
            self.writers.push(written?);
        }
        self.writers.sort_by_key(|writer| writer.number);
        for watcher in &mut self.watchers {
            watcher.end().await;
        }
        self.hand_over_acknowledgements();
        self.tear();
        self.look_at_files()
    }

    /// Leaves what a machine leaves that stops in the middle of a write, which a kill alone hardly
    /// ever does: the beginning of a batch, or space that was never written to.
    fn tear(&mut self) {
        let is_segment = |name: &String| name.ends_with(".log");
        let newest = self.names().into_iter().filter(is_segment).max();
        let Some(name) = newest.filter(|_| self.rng.u8(..4) == 0) else {
            return;
        };
        let mut torn = b"HBAT".to_vec();
        if self.rng.bool() {
            torn.resize(self.rng.usize(1..32), 1);
        } else {
            torn = vec![0; self.rng.usize(1..5_000)];
        }
        let path = self.directory.path().join(name);
        let mut segment = OpenOptions::new().append(true).open(path).unwrap();
        segment.write_all(&torn).unwrap();
        self.counts.torn += 1;
    }

    /// A while, and on a machine that is busy until something was written.
    async fn let_live(&mut self) {
        let life = Duration::from_millis(self.rng.u64(20..400));
        let wanted = self.written.load(Relaxed) + self.rng.usize(..WRITTEN_MAX);
        let until = Instant::now() + LIFE_MAX;
        sleep(life).await;
        while self.written.load(Relaxed) < wanted && Instant::now() < until {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Killed while it starts, or recovers, or has just become ready.
    async fn die_early(&mut self) -> Result<(), String> {
        let starting = Starting::spawn(serve(self.directory.path(), &arguments()));
        sleep(Duration::from_millis(self.rng.u64(..80))).await;
        let said = starting.kill().await;
        self.counts.kills += 1;
        self.counts.early += 1;
        self.listen(&said)?;
        self.look_at_files()
    }

    /// Lets every client write until the server is gone.
    fn write(&mut self, client: &Arc<Client>) -> JoinSet<Result<Writer, String>> {
        let mut writing = JoinSet::new();
        for mut writer in std::mem::take(&mut self.writers) {
            // A connection of its own for each.
            let client = Client::new(client.address()).unwrap();
            let written = Arc::clone(&self.written);
            writing.spawn(async move { writer.write(&client, &written).await.map(|()| writer) });
        }
        writing
    }

    /// While nobody writes: everything that was acknowledged is there, and was heard.
    async fn verify(&mut self, server: &Server) -> Result<(), String> {
        let mut verifying = JoinSet::new();
        for mut writer in std::mem::take(&mut self.writers) {
            let client = Client::new(server.client.address()).unwrap();
            verifying.spawn(async move { writer.verify(&client).await.map(|()| writer) });
        }
        for verified in verifying.join_all().await {
            self.writers.push(verified?);
        }
        self.writers.sort_by_key(|writer| writer.number);
        let revision = self.writers.iter().map(|writer| writer.revision).max();
        let state = read_state(&server.client).await?;
        for watcher in &mut self.watchers {
            watcher.verify(revision.unwrap_or(0), &state).await?;
        }
        Ok(())
    }

    fn hand_over_acknowledgements(&mut self) {
        for writer in &mut self.writers {
            let acknowledged = std::mem::take(&mut writer.acknowledged);
            for watcher in &mut self.watchers {
                watcher.pending.extend(acknowledged.iter().cloned());
            }
        }
    }

    /// Nothing of what the server says may be alarming.
    fn listen(&mut self, said: &[String]) -> Result<(), String> {
        let says = |word: &str| said.iter().any(|line| line.contains(word));
        if says("a write was not finished") {
            self.counts.told += 1;
        }
        if says("ERROR") || says("panicked") {
            return Err(format!("the server says:\n{}", said.join("\n")));
        }
        Ok(())
    }

    /// What is left on the disk by a kill, and that old files go.
    fn look_at_files(&mut self) -> Result<(), String> {
        let names = self.names();
        let unfinished = names.iter().filter(|name| name.ends_with(".being-written"));
        self.counts.cut_snapshots.extend(unfinished.cloned());
        if names.len() > FILES_MAX {
            return Err(format!("too many files: {names:?}"));
        }
        Ok(())
    }
}

impl Storm {
    /// The names of all files.
    fn names(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.directory.path()).unwrap();
        let name = |file: std::io::Result<DirEntry>| file.ok()?.file_name().into_string().ok();
        files.filter_map(name).collect()
    }
}

impl fmt::Display for Storm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            kills,
            early,
            torn,
            told,
            cut_snapshots,
            ..
        } = &self.counts;
        let cut_snapshots = cut_snapshots.len();
        let sum = |of: fn(&Tally) -> usize| -> usize {
            self.writers.iter().map(|writer| of(&writer.tally)).sum()
        };
        let ways = self.watchers.iter().map(Watcher::ways);
        let (resumes, resets) = ways.fold((0, 0), |(resumes, resets), ways| {
            (resumes + ways.resumes, resets + ways.resets)
        });
        write!(
            f,
            "{kills} kills ({early} before it was ready): {} writes acknowledged, all there; in \
             flight {} had happened, {} had not; {torn} writes torn, {told} starts told of one; {cut_snapshots} \
             snapshots cut off; watchers resumed {resumes} times and reset {resets}; entity tags {} good, {} old",
            sum(|tally| tally.acknowledged),
            sum(|tally| tally.happened),
            sum(|tally| tally.lost),
            sum(|tally| tally.tags_good),
            sum(|tally| tally.tags_old),
        )
    }
}
