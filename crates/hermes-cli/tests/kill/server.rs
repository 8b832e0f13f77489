//! A server that can be killed: the real binary, and what it said.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hermes_discovery::client::{Answer, Client, ClientError, Method, Path as Route};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long anything may take that should happen at once.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The command that serves `directory`, in a clean environment.
pub(crate) fn serve(directory: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hermes"));
    serve_with(&mut command, directory, arguments);
    command
}

/// The same behind a command of its own, which has to end by executing its arguments.
pub(crate) fn serve_with(command: &mut Command, directory: &Path, arguments: &str) {
    for name in ["ADDR", "DATA_DIR", "LOG_LEVEL", "NAMESPACE", "TIMEOUT"] {
        command.env_remove(format!("HERMES_{name}"));
    }
    command
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--register-self",
            "false",
        ])
        .arg("--data-dir")
        .arg(directory)
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
}

/// A server process, perhaps not yet ready.
#[derive(Debug)]
pub(crate) struct Starting {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    err: Said,
}

/// A server that is ready.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) client: Arc<Client>,
    err: Said,
}

/// What a process says on stderr.
#[derive(Debug)]
struct Said {
    lines: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

impl Said {
    fn of(pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let reader = tokio::spawn(async move {
            let mut pipe = BufReader::new(pipe).lines();
            while let Ok(Some(line)) = pipe.next_line().await {
                kept.lock().unwrap().push(line);
            }
        });
        Self { lines, reader }
    }

    /// Everything, when the process has ended.
    async fn all(self) -> Vec<String> {
        self.reader.await.unwrap();
        std::mem::take(&mut *self.lines.lock().unwrap())
    }
}

impl Starting {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        let err = Said::of(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    /// Kills it, whatever it is doing; gives back what it said.
    pub(crate) async fn kill(mut self) -> Vec<String> {
        self.child.kill().await.unwrap();
        self.err.all().await
    }

    /// Waits until it serves.
    pub(crate) async fn ready(mut self) -> Result<Server, String> {
        let line = timeout(DEADLINE, self.out.next_line()).await;
        let line = line.ok().and_then(Result::ok).flatten();
        let url = line
            .as_deref()
            .and_then(|l| l.strip_prefix("listening on "));
        let Some(url) = url else {
            let said = self.kill().await.join("\n");
            return Err(format!("the server does not start ({line:?}):\n{said}"));
        };
        let client = Arc::new(Client::new(url).unwrap());
        let Self { child, err, .. } = self;
        Ok(Server { child, client, err })
    }
}

impl Server {
    /// Starts a server, which has to become ready.
    pub(crate) async fn start(directory: &Path, arguments: &str) -> Self {
        let starting = Starting::spawn(serve(directory, arguments));
        starting.ready().await.unwrap()
    }

    /// The number of its process.
    #[cfg(target_os = "linux")]
    pub(crate) fn process(&self) -> i32 {
        i32::try_from(self.child.id().unwrap()).unwrap()
    }

    /// What it has said so far.
    #[cfg(target_os = "linux")]
    pub(crate) fn said(&self) -> Vec<String> {
        self.err.lines.lock().unwrap().clone()
    }

    /// SIGKILL; gives back what it said.
    pub(crate) async fn kill(mut self) -> Vec<String> {
        self.child.kill().await.unwrap();
        self.err.all().await
    }

    /// A request with a JSON body.
    pub(crate) async fn ask(
        &self,
        method: Method,
        route: &Route,
        body: &str,
    ) -> Result<Answer, ClientError> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        self.client.request(method, route, &[], body).await
    }

    /// Registers a static endpoint without checks; `more` goes on inside the JSON object.
    pub(crate) async fn register(
        &self,
        service: &str,
        id: &str,
        more: &str,
    ) -> Result<Answer, ClientError> {
        let body = format!(r#"{{"host": "10.0.0.1", "port": 80, "checks": []{more}}}"#);
        self.ask(Method::PUT, &endpoint(service, id), &body).await
    }

    /// The detail of an endpoint.
    pub(crate) async fn detail(&self, service: &str, id: &str) -> Result<Value, ClientError> {
        let answer = self.client.get(&endpoint(service, id)).await?;
        answer.read(serde_json::from_slice)
    }
}

/// `/api/v1/services/{service}/endpoints/{id}`
pub(crate) fn endpoint(service: &str, id: &str) -> Route {
    service_route(service).segment("endpoints").segment(id)
}

/// `/api/v1/services/{service}`
pub(crate) fn service_route(service: &str) -> Route {
    Route::new("/api/v1/services").segment(service)
}

/// A header that holds a number.
pub(crate) fn number(answer: &Answer, header: &str) -> Option<u64> {
    answer.header(header)?.parse().ok()
}
