//! A registration, kept: made, renewed by heartbeats, made again where it was lost, and ended.
//!
//! Whatever happens to the server, the command is not touched by it: what cannot be told is told
//! later, each time after a longer wait, and never in step with others.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use hermes_core::name::{EndpointId, Name};
use hermes_core::wire::answer::RegistrationAnswer;
use hermes_core::wire::problem::{Problem, code};
use hermes_discovery::client::{Backoff, Client, ClientError, Method, Path};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::news::{Audience, News};

/// The last words to a server are waited for no longer than this: a program that ends must not hang
/// because a server does.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);

/// What the server knows of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Nothing that it has answered: it was not told, or has forgotten.
    Unknown,
    /// It holds this incarnation.
    Registered(u64),
    /// It holds a newer one, which is somebody else's.
    Replaced,
}

/// One process in the registry.
#[derive(Debug)]
pub(super) struct Registration<'a> {
    pub(super) client: &'a Client,
    pub(super) namespace: Option<&'a Name>,
    pub(super) service: &'a Name,
    pub(super) id: EndpointId,
    pub(super) body: Value,
    pub(super) ttl: Duration,
    pub(super) audience: &'a dyn Audience,
    state: Mutex<Standing>,
}

/// How a round of heartbeats ended.
enum Lost {
    /// The server does not hold it any more.
    Forgotten(Box<Problem>),
    Replaced,
}

impl<'a> Registration<'a> {
    /// A process that is not registered yet.
    pub(super) fn new(
        client: &'a Client,
        (namespace, service): (Option<&'a Name>, &'a Name),
        id: EndpointId,
        (body, ttl): (Value, Duration),
        audience: &'a dyn Audience,
    ) -> Self {
        Self {
            client,
            namespace,
            service,
            id,
            body,
            ttl,
            audience,
            state: Mutex::new(Standing::Unknown),
        }
    }

    /// Registers it as a new process and keeps it registered, for ever.
    ///
    /// # Errors
    /// When the server will not have it, and asking again will not help.
    pub(super) async fn keep(&self) -> Result<Infallible, ClientError> {
        let mut is_new = true;
        loop {
            let interval = self.register(is_new).await?;
            is_new = false;
            match self.renew(interval).await {
                Lost::Forgotten(problem) => {
                    self.stand(Standing::Unknown);
                    let why = problem.detail;
                    self.audience.tell(&News::Forgotten { why });
                }
                Lost::Replaced => {
                    self.replaced();
                    pending::<()>().await;
                }
            }
        }
    }

    /// Registers it as soon as that is possible, and gives the interval of its heartbeats.
    async fn register(&self, is_new: bool) -> Result<Duration, ClientError> {
        let mut path = self.path("");
        if is_new {
            path = path.query("new", "true");
        }
        let body = Bytes::from(self.body.to_string());
        let mut backoff = Backoff::default();
        let mut is_away = false;
        loop {
            let put = self.client.request(Method::PUT, &path, &[], body.clone());
            let answer = match put.await {
                Ok(answer) => answer.read(serde_json::from_slice::<RegistrationAnswer>),
                Err(error) => Err(error),
            };
            match answer {
                Ok(registered) => {
                    let endpoint = registered.endpoint;
                    self.stand(Standing::Registered(endpoint.incarnation));
                    self.audience.tell(&News::Registered {
                        id: endpoint.id,
                        service: endpoint.name,
                        url: endpoint.url,
                    });
                    let interval = registered.heartbeat_interval.map(|seconds| seconds.0);
                    let interval = interval.and_then(|s| Duration::try_from_secs_f64(s).ok());
                    return Ok(interval.unwrap_or(self.ttl / 3));
                }
                Err(error) if is_new && is_final(&error) => return Err(error),
                Err(error) => {
                    if !std::mem::replace(&mut is_away, true) {
                        let why = error.to_string();
                        self.audience.tell(&News::Away { why });
                    }
                    // As long as the lease may still hold, it is tried at least as often.
                    sleep(backoff.wait().min(self.ttl)).await;
                }
            }
        }
    }

    /// Sends heartbeats until one is refused.
    async fn renew(&self, interval: Duration) -> Lost {
        let path = self.path("heartbeat");
        let mut backoff = Backoff::default();
        let mut is_away = false;
        loop {
            let wait = if is_away {
                backoff.wait().min(interval)
            } else {
                // Never later than asked for, and not in step with others.
                interval.mul_f64(0.8 + fastrand::f64() / 5.0)
            };
            sleep(wait).await;
            let body = json!({"incarnation": self.incarnation()}).to_string();
            let put = self.client.request(Method::PUT, &path, &[], body.into());
            let answer = timeout(interval.max(Duration::from_millis(200)), put).await;
            let why = match answer {
                Ok(Ok(_)) => {
                    if std::mem::replace(&mut is_away, false) {
                        backoff.reset();
                        self.audience.tell(&News::Back);
                    }
                    continue;
                }
                Ok(Err(ClientError::Problem(problem))) => match problem.code.as_str() {
                    code::INCARNATION_STALE => return Lost::Replaced,
                    code::ENDPOINT_GONE | code::ENDPOINT_UNKNOWN | code::SERVICE_UNKNOWN => {
                        return Lost::Forgotten(problem);
                    }
                    _ => problem.detail,
                },
                Ok(Err(error)) => error.to_string(),
                Err(_elapsed) => format!("{} does not answer", self.client.address()),
            };
            if !std::mem::replace(&mut is_away, true) {
                self.audience.tell(&News::Away { why });
            }
        }
    }

    /// Whether there is something to drain and to deregister.
    pub(super) fn is_registered(&self) -> bool {
        self.incarnation().is_some()
    }

    /// Says that no work is wanted any more; whether that was heard.
    ///
    /// A drain is about whoever holds the id, so it is asked first whether that is still this
    /// process: a newer one must not be drained in its place.
    pub(super) async fn drain(&self) -> bool {
        let body = json!({"incarnation": self.incarnation()}).to_string();
        let path = self.path("heartbeat");
        let mut heard = self.last_words(Method::PUT, &path, body).await;
        if heard.is_ok() {
            let path = self.path("drain");
            let body = json!({"reason": "the process is being stopped"}).to_string();
            heard = self.last_words(Method::PUT, &path, body).await;
        }
        match heard {
            Ok(()) => true,
            Err(error) if error.code() == Some(code::INCARNATION_STALE) => {
                self.replaced();
                false
            }
            Err(error) => {
                let why = error.to_string();
                self.audience.tell(&News::Undrained { why });
                false
            }
        }
    }

    /// Deregisters this process, and never a newer one of the same id. A registration that was not
    /// answered is left to its lease.
    pub(super) async fn leave(&self) {
        let Some(incarnation) = self.incarnation() else {
            return;
        };
        self.stand(Standing::Unknown);
        let path = self.path("").query("incarnation", &incarnation.to_string());
        let told = self.last_words(Method::DELETE, &path, String::new()).await;
        self.audience.tell(&match told {
            Ok(()) => News::Deregistered {
                id: self.id.to_string(),
            },
            Err(error) => News::Left {
                why: error.to_string(),
                ttl: self.ttl,
            },
        });
    }

    async fn last_words(
        &self,
        method: Method,
        path: &Path,
        body: String,
    ) -> Result<(), ClientError> {
        let request = self.client.request(method, path, &[], body.into());
        match timeout(LAST_WORDS_MAX, request).await {
            Ok(answer) => answer.map(|_answer| ()),
            Err(_elapsed) => Err(ClientError::TimedOut {
                address: self.client.address().into(),
                after: LAST_WORDS_MAX,
            }),
        }
    }

    /// A newer process has the id.
    fn replaced(&self) {
        self.stand(Standing::Replaced);
        let id = self.id.to_string();
        self.audience.tell(&News::Replaced { id });
    }

    fn incarnation(&self) -> Option<u64> {
        match *self.state.lock().unwrap() {
            Standing::Registered(incarnation) => Some(incarnation),
            Standing::Unknown | Standing::Replaced => None,
        }
    }

    fn stand(&self, standing: Standing) {
        *self.state.lock().unwrap() = standing;
    }

    /// The path of the endpoint, or of something below it.
    fn path(&self, below: &str) -> Path {
        let service = Path::new("/api/v1/services").segment(self.service.as_str());
        let mut path = service.segment("endpoints").segment(self.id.as_str());
        if !below.is_empty() {
            path = path.segment(below);
        }
        match self.namespace {
            Some(namespace) => path.query("namespace", namespace.as_str()),
            None => path,
        }
    }
}

/// Whether other arguments are needed, and not another try.
fn is_final(error: &ClientError) -> bool {
    match error {
        ClientError::Problem(problem) => matches!(problem.status, 400 | 401 | 403 | 413),
        ClientError::Denied { .. } => true,
        _ => false,
    }
}
