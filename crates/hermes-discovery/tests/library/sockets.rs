//! The stories once more over real sockets, with a probe every 50 ms.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use hermes_core::check::Check;
use hermes_core::health::Health;
use hermes_discovery::{Balanced, Config, InMemory, ServiceDiscovery, wait_for_services};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::make::{alive_tasks, until, within};

/// A service: answers every request on `path` with its status, and others with 404.
struct Responder {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    task: JoinHandle<()>,
}

impl Responder {
    async fn start(path: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, status) = (
            listener.local_addr().unwrap(),
            Arc::new(AtomicU16::new(200)),
        );
        let shared = Arc::clone(&status);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, path, Arc::clone(&shared)));
            }
        });
        Self {
            address,
            status,
            task,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, path: &str, status: Arc<AtomicU16>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.ok()? == 0 {
                return None;
            }
        }
        let status = match head.split(' ').nth(1) {
            Some(asked) if asked == path => status.load(Ordering::SeqCst),
            _ => 404,
        };
        let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

fn often(path: &str) -> Config {
    Config {
        check: Check {
            interval: Duration::from_millis(50),
            attempts: 1,
            ..Check::http(path)
        },
        ..Config::default()
    }
}

#[tokio::test]
async fn services_are_found_healthy_and_when_one_fails_it_stays_registered() {
    let (memory, cognition) =
        tokio::join!(Responder::start("/health"), Responder::start("/health"));
    let discovery = InMemory::with(often("/health"));
    discovery.initialize().await.unwrap();
    discovery
        .register("test-memory", &memory.url())
        .await
        .unwrap();
    discovery
        .register("test-cognition", &cognition.url())
        .await
        .unwrap();
    let names = ["test-memory", "test-cognition"];
    wait_for_services(&discovery, &names, Duration::from_secs(60))
        .await
        .unwrap();
    for (name, responder) in [("test-memory", &memory), ("test-cognition", &cognition)] {
        assert!(discovery.is_healthy(name).await);
        assert_eq!(
            discovery.resolve(name).await.unwrap().url(),
            responder.url()
        );
    }
    memory.status.store(503, Ordering::SeqCst);
    until(&discovery, "test-memory", Health::Unhealthy).await;
    assert_eq!(
        discovery.resolve("test-memory").await.unwrap().url(),
        memory.url()
    );
    assert!(!discovery.is_healthy("test-memory").await);
    memory.status.store(200, Ordering::SeqCst);
    until(&discovery, "test-memory", Health::Healthy).await;
    drop(cognition);
    // Who listens no more is not asked over the connection that is still open for ever.
    discovery.deregister("test-cognition").await.unwrap();
    assert_eq!(discovery.get_all().await.unwrap().len(), 1);
    discovery.shutdown().await;
}

#[tokio::test]
async fn nobody_who_listens_is_unhealthy() {
    let nobody = Responder::start("/health").await;
    let url = nobody.url();
    drop(nobody);
    let discovery = InMemory::with(often("/health"));
    discovery.register("memory", &url).await.unwrap();
    until(&discovery, "memory", Health::Unhealthy).await;
    assert_eq!(discovery.resolve("memory").await.unwrap().url(), url);
    discovery.shutdown().await;
}

#[tokio::test]
async fn a_path_of_its_own_is_asked_for_below_the_path_of_the_url() {
    let responder = Responder::start("/base/status").await;
    let discovery = InMemory::with(often("/status"));
    discovery
        .register("memory", &format!("{}/base", responder.url()))
        .await
        .unwrap();
    until(&discovery, "memory", Health::Healthy).await;
    discovery.shutdown().await;
}

#[tokio::test]
async fn each_that_is_ready_has_its_turn() {
    let (a, b) = tokio::join!(Responder::start("/health"), Responder::start("/health"));
    let inner = InMemory::with(often("/health"));
    let discovery = Balanced::new(inner.clone());
    for responder in [&a, &b] {
        discovery
            .register("memory", &responder.url())
            .await
            .unwrap();
    }
    let ready = async |count| {
        within("so many to be ready", async {
            while inner.peek("memory", |view| view.ready_count()) != Some(count) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    };
    ready(2).await;
    let first = discovery.resolve("memory").await.unwrap().url().to_owned();
    let second = discovery.resolve("memory").await.unwrap().url().to_owned();
    assert_ne!(first, second);
    a.status.store(500, Ordering::SeqCst);
    ready(1).await;
    for _ in 0..4 {
        assert_eq!(discovery.resolve("memory").await.unwrap().url(), b.url());
    }
    discovery.shutdown().await;
}

#[tokio::test]
async fn shutting_down_waits_for_nobody_who_does_not_answer() {
    // It accepts, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let before = alive_tasks();
    let mut config = often("/health");
    config.check.timeout = Duration::from_secs(3_600);
    config.check.interval = config.check.timeout;
    let discovery = InMemory::with(config);
    discovery.register("memory", &url).await.unwrap();
    let (mut probing, _) = within("a probe", silent.accept()).await.unwrap();
    // The probe would go on for an hour.
    let ends = async { tokio::join!(discovery.shutdown(), discovery.shutdown()) };
    within("the end", ends).await;
    assert_eq!(alive_tasks(), before);
    discovery.shutdown().await;
    let mut asked = Vec::new();
    within("the end of the connection", probing.read_to_end(&mut asked))
        .await
        .ok();
    assert_eq!(discovery.resolve("memory").await.unwrap().url(), url);
}

#[tokio::test]
async fn whoever_does_not_answer_in_time_is_unhealthy() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = often("/health");
    config.check.timeout = Duration::from_millis(50);
    let discovery = InMemory::with(config);
    let url = format!("http://{}", silent.local_addr().unwrap());
    discovery.register("memory", &url).await.unwrap();
    until(&discovery, "memory", Health::Unhealthy).await;
    let why = discovery.resolve_ready("memory").await.unwrap_err();
    assert!(why.to_string().contains("no answer within 50 ms"), "{why}");
    discovery.shutdown().await;
}
