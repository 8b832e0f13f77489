//! Checks: how the health of an endpoint is found out.
//!
//! A check is a definition; one execution of it is a probe. The definition is data, so that the
//! seed documents' subclasses (own path, own interval, retries) are fields. Defaults: interval
//! 30 s, timeout 5 s, path `/health`, three attempts one second apart (R108, R111, R169).

use std::time::Duration;

/// Longest name of a check in bytes.
pub const CHECK_NAME_LENGTH_MAX: usize = 63;
/// Longest evidence and reason in bytes.
pub const EVIDENCE_LENGTH_MAX: usize = 256;

/// The definition of one test of health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Distinguishes the checks of one endpoint; the kind unless said otherwise.
    pub name: String,
    /// What is done.
    pub kind: CheckKind,
    /// The named port that is probed; `main` unless said otherwise. Always on the registered host.
    pub port: String,
    /// Time from the start of one probe to the start of the next; at least one second by API.
    pub interval: Duration,
    /// How long one attempt may take, never more than the interval.
    pub timeout: Duration,
    /// How often one probe tries, one second apart, while nothing answers. An answer that says
    /// unhealthy ends the probe at once (R169).
    pub attempts: u32,
    /// Successes in a row that make it healthy.
    pub rise: u32,
    /// Failures in a row that make it unhealthy.
    pub fall: u32,
    /// How long after registration failures do not count.
    pub grace: Duration,
    /// How TLS is spoken. `None`: verified against what the system trusts where the port's scheme is
    /// `https`, and not at all elsewhere.
    pub tls: Option<Box<TlsOptions>>,
    /// Recorded and shown, but without effect on the endpoint's health.
    pub dry_run: bool,
}

/// What a check does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// One HTTP request.
    Http(HttpCheck),
    /// A connection that is accepted.
    Tcp,
    /// Nothing is sent: health comes from the bodies of heartbeats, and silence for the timeout
    /// is unhealthy.
    Heartbeat,
}

/// What is asked, and which answer counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    /// Path, beginning with a slash.
    pub path: String,
    /// Method.
    pub method: HttpMethod,
    /// Statuses that mean healthy.
    pub expect_status: Vec<StatusMatch>,
    /// Text that must occur in the first 4 KiB of the body.
    pub expect_body: Option<String>,
}

/// How a probe speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsOptions {
    /// The name that the certificate must be for; the registered host unless said otherwise.
    pub server_name: Option<String>,
    /// The authority that is trusted instead of the system's: certificates in PEM.
    pub ca: Option<String>,
    /// Whether the certificate is verified at all.
    pub verify: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            server_name: None,
            ca: None,
            verify: true,
        }
    }
}

/// Methods that a probe may use: those that change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMethod {
    /// GET.
    Get,
    /// HEAD.
    Head,
}

/// A status, or a hundred of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusMatch {
    /// Exactly this one.
    Exact(u16),
    /// All that begin with this digit: `2xx`.
    Class(u16),
}

impl StatusMatch {
    /// Whether `status` is meant.
    #[must_use]
    pub fn matches(self, status: u16) -> bool {
        match self {
            Self::Exact(exact) => status == exact,
            Self::Class(class) => status / 100 == class,
        }
    }
}

impl CheckKind {
    /// The word for it in the API, and the default name of such a check.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp => "tcp",
            Self::Heartbeat => "heartbeat",
        }
    }
}

impl Default for HttpCheck {
    fn default() -> Self {
        Self {
            path: "/health".into(),
            method: HttpMethod::Get,
            expect_status: vec![StatusMatch::Class(2)],
            expect_body: None,
        }
    }
}

impl Check {
    /// A check of this kind with every default.
    #[must_use]
    pub fn new(kind: CheckKind) -> Self {
        Self {
            name: kind.word().into(),
            kind,
            port: crate::port::MAIN_PORT.into(),
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            attempts: 3,
            rise: 1,
            fall: 1,
            grace: Duration::ZERO,
            tls: None,
            dry_run: false,
        }
    }

    /// A check over HTTP that asks for this path, with every other default. The fields of a check are
    /// what the second seed document has subclasses for:
    ///
    /// ```
    /// use std::time::Duration;
    /// use hermes_core::check::Check;
    ///
    /// let check = Check {
    ///     interval: Duration::from_secs(60),
    ///     attempts: 1,
    ///     ..Check::http("/system/health")
    /// };
    /// assert_eq!(check.timeout, Duration::from_secs(5));
    /// ```
    #[must_use]
    pub fn http(path: &str) -> Self {
        Self::new(CheckKind::Http(HttpCheck {
            path: path.into(),
            ..HttpCheck::default()
        }))
    }

    /// The check that an endpoint gets when its registration names none: HTTP on `/health` where
    /// HTTP is spoken, else a TCP connection.
    #[must_use]
    pub fn default_for(scheme: &crate::address::Scheme) -> Self {
        let kind = if scheme.is_http() {
            CheckKind::Http(HttpCheck::default())
        } else {
            CheckKind::Tcp
        };
        Self::new(kind)
    }

    /// The same with what the rules of a server say of checks that are silent.
    #[must_use]
    pub fn usual(scheme: &crate::address::Scheme, rules: &crate::limits::BodyRules) -> Self {
        Self {
            interval: rules.check_interval,
            timeout: rules.check_timeout,
            ..Self::default_for(scheme)
        }
    }
}
