//! Something that listens on a port of its own and answers, or does not, as a test wants it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::world::within;

/// What becomes of a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// These bytes, and the connection stays open.
    Raw(Vec<u8>),
    /// These bytes, and the connection is closed.
    RawThenClose(Vec<u8>),
    /// These bytes, and then bytes without end.
    Endless(Vec<u8>),
    /// The first request on a connection gets these bytes; the second one is cut off.
    OncePerConnection(Vec<u8>),
    /// Nothing, until [`Responder::release`] lets one request be answered with these bytes.
    WhenReleased(Vec<u8>),
    /// The connection is closed.
    Close,
    /// The connection is reset.
    Reset,
    /// Nothing.
    Silence,
}

/// An answer with this status and body, which says how long it is.
pub(crate) fn http(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} Some Reason\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// One that answers 200 for as long as it is asked.
pub(crate) fn well() -> Answer {
    Answer::Raw(http(200, "well"))
}

#[derive(Debug)]
struct Shared {
    answer: Mutex<Answer>,
    accepted: AtomicUsize,
    open: AtomicUsize,
    answered: AtomicUsize,
    pending_most: AtomicUsize,
    requests: Mutex<Vec<(Instant, String)>>,
    released: Semaphore,
}

#[derive(Debug)]
pub(crate) struct Responder {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Responder {
    pub(crate) async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            answer: Mutex::new(answer),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
            pending_most: AtomicUsize::new(0),
            requests: Mutex::default(),
            released: Semaphore::new(0),
        });
        let task = tokio::spawn(listen(listener, Arc::clone(&shared)));
        Self {
            address,
            shared,
            task: Mutex::new(Some(task)),
        }
    }

    /// From now on it answers this.
    pub(crate) fn now(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap() = answer;
    }

    /// Lets so many requests be answered that wait for it.
    pub(crate) fn release(&self, count: usize) {
        self.shared.released.add_permits(count);
    }

    /// The process dies: nobody listens, and every connection breaks.
    pub(crate) async fn die(&self) {
        let task = self.task.lock().unwrap().take().unwrap();
        task.abort();
        task.await.ok();
    }

    /// It listens on the same port again.
    pub(crate) async fn come_back(&self) {
        let bound = within("the port to be free again", async {
            loop {
                match TcpListener::bind(self.address).await {
                    Ok(listener) => return listener,
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
                }
            }
        });
        let task = tokio::spawn(listen(bound.await, Arc::clone(&self.shared)));
        *self.task.lock().unwrap() = Some(task);
    }

    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// The most requests that ever waited for their answer at the same time.
    pub(crate) fn pending_most(&self) -> usize {
        self.shared.pending_most.load(Ordering::SeqCst)
    }

    pub(crate) fn request_count(&self) -> usize {
        self.shared.requests.lock().unwrap().len()
    }

    /// When each request came, and its head, after the first so many.
    pub(crate) fn requests_after(&self, seen: usize) -> Vec<(Instant, String)> {
        self.shared.requests.lock().unwrap()[seen..].to_vec()
    }

    /// When each request came, and its head.
    pub(crate) fn requests(&self) -> Vec<(Instant, String)> {
        self.requests_after(0)
    }

    /// The head of the first request.
    pub(crate) fn first_request(&self) -> String {
        self.requests()[0].1.clone()
    }

    /// Waits until so many requests have come.
    pub(crate) async fn asked(&self, count: usize) {
        let what = format!(
            "{count} requests, of which {} came at first",
            self.request_count()
        );
        within(&what, async {
            while self.request_count() < count {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        })
        .await;
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().unwrap().take() {
            task.abort();
        }
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        let open = Open::new(&shared);
        connections.spawn(async move {
            serve(stream, &open.0).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Counts a connection for as long as it is open.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Answers requests until the connection is closed by either side.
async fn serve(stream: TcpStream, shared: &Shared) {
    let mut stream = BufReader::new(stream);
    let mut turn = 0;
    while let Some(head) = read_head(&mut stream).await {
        let pending = {
            let mut requests = shared.requests.lock().unwrap();
            requests.push((Instant::now(), head));
            requests.len() - shared.answered.load(Ordering::SeqCst)
        };
        shared.pending_most.fetch_max(pending, Ordering::SeqCst);
        turn += 1;
        let answer = shared.answer.lock().unwrap().clone();
        let is_going_on = match answer {
            Answer::Raw(bytes) => say(&mut stream, shared, &bytes).await,
            Answer::RawThenClose(bytes) => {
                say(&mut stream, shared, &bytes).await;
                false
            }
            Answer::Endless(bytes) => {
                let mut is_open = say(&mut stream, shared, &bytes).await;
                while is_open {
                    is_open = stream.write_all(&[b'x'; 1_024]).await.is_ok();
                }
                false
            }
            Answer::OncePerConnection(bytes) => turn == 1 && say(&mut stream, shared, &bytes).await,
            Answer::WhenReleased(bytes) => {
                tokio::select! {
                    permit = shared.released.acquire() => permit.unwrap().forget(),
                    () = end_of(&mut stream) => return,
                }
                say(&mut stream, shared, &bytes).await
            }
            Answer::Close => false,
            Answer::Reset => {
                stream.get_ref().set_zero_linger().unwrap();
                false
            }
            Answer::Silence => {
                end_of(&mut stream).await;
                false
            }
        };
        if !is_going_on {
            return;
        }
    }
}

async fn say(stream: &mut BufReader<TcpStream>, shared: &Shared, bytes: &[u8]) -> bool {
    shared.answered.fetch_add(1, Ordering::SeqCst);
    stream.write_all(bytes).await.is_ok()
}

/// The head of the next request; nothing when the connection is closed before its end.
async fn read_head(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

/// Waits until the other side closes the connection.
async fn end_of(stream: &mut BufReader<TcpStream>) {
    let mut rest = [0; 64];
    while matches!(stream.read(&mut rest).await, Ok(read) if read > 0) {}
}
