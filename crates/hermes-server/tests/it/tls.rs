//! TLS of the listener: certificates that are renewed while it runs, clients that must show theirs, and
//! those who speak something else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hermes_discovery::client::{Access, ApiKey, Client, ClientError, Config};
use hermes_server::auth::Role;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::client::DEADLINE;
use crate::ring::Keys;
use crate::server::TestServer;

const LIST: &str = "/api/v1/services";

/// Authorities and certificates in a directory of their own.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("certificates can be made"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// An authority, `NAME.pem`, and one certificate of it for 127.0.0.1, `NAME-cert.pem` with its key.
    fn make(&self, name: &str) {
        let mut authority = CertificateParams::new(Vec::new()).expect("certificates can be made");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().expect("certificates can be made");
        let certificate = authority
            .self_signed(&authority_key)
            .expect("certificates can be made");
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().expect("certificates can be made");
        let own =
            CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("certificates can be made");
        let own = own
            .signed_by(&key, &issuer)
            .expect("certificates can be made");
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}-cert.pem"), &own.pem());
        self.write(&format!("{name}-key.pem"), &key.serialize_pem());
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("certificates can be made");
    }

    fn copy(&self, from: &str, to: &str) {
        std::fs::copy(self.path(from), self.path(to)).expect("certificates can be made");
    }

    async fn server(&self, settle: impl FnOnce(&mut hermes_server::Config)) -> TestServer {
        self.copy("one-cert.pem", "cert.pem");
        self.copy("one-key.pem", "key.pem");
        TestServer::with(|config| {
            config.tls.cert = Some(self.path("cert.pem"));
            config.tls.key = Some(self.path("key.pem"));
            settle(config);
        })
        .await
    }

    /// A client that trusts the authority `ca`, with a certificate of `own` if it has one.
    fn client(&self, server: &TestServer, ca: &str, own: Option<&str>) -> Client {
        let of = |name: &str| {
            let path = |end: &str| self.path(&format!("{name}-{end}.pem"));
            (path("cert"), path("key"))
        };
        let config = Config {
            access: Access {
                ca_file: Some(self.path(&format!("{ca}.pem"))),
                certificate: own.map(of),
                ..Access::default()
            },
            ..Config::default()
        };
        Client::with(&format!("https://{}", server.address), config)
            .expect("certificates can be made")
    }
}

async fn list(client: &Client) -> Result<u16, ClientError> {
    let path = hermes_discovery::client::Path::new(LIST);
    client.get(&path).await.map(|answer| answer.status)
}

#[tokio::test]
async fn a_renewed_certificate_counts_for_the_next_connection_and_harms_none() {
    let files = Files::new();
    files.make("one");
    files.make("two");
    let server = files.server(|_| {}).await;
    let old = files.client(&server, "one", None);
    assert_eq!(list(&old).await.unwrap(), 200);
    let stranger = files.client(&server, "two", None);
    let refused = list(&stranger).await.unwrap_err();
    assert!(
        matches!(refused, ClientError::Unreachable { .. }),
        "{refused}"
    );
    // A certificate without its key is not used: the server goes on with what it has.
    files.copy("two-cert.pem", "cert.pem");
    // For longer than it takes until the server looks.
    sleep(Duration::from_millis(1_200)).await;
    assert_eq!(
        list(&files.client(&server, "one", None)).await.unwrap(),
        200
    );
    files.copy("two-key.pem", "key.pem");
    let deadline = Instant::now() + DEADLINE;
    while list(&files.client(&server, "two", None)).await.is_err() {
        assert!(
            Instant::now() < deadline,
            "the certificate is not read again"
        );
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        list(&old).await.unwrap(),
        200,
        "its connection is still open"
    );
    assert!(list(&files.client(&server, "one", None)).await.is_err());
}

#[tokio::test]
async fn a_client_shows_its_certificate_where_it_must() {
    let files = Files::new();
    ["one", "clients", "others"]
        .iter()
        .for_each(|name| files.make(name));
    for (is_optional, own, is_let_in) in [
        (false, Some("clients"), true),
        (false, Some("others"), false),
        (false, None, false),
        (true, Some("clients"), true),
        (true, None, true),
    ] {
        let ca = files.path("clients.pem");
        let server = files
            .server(|config| {
                config.tls.client_ca = Some(ca);
                config.tls.client_optional = is_optional;
            })
            .await;
        let answer = list(&files.client(&server, "one", own)).await;
        assert_eq!(
            answer.is_ok(),
            is_let_in,
            "{is_optional} {own:?} {answer:?}"
        );
    }
}

#[tokio::test]
async fn a_key_goes_over_tls_and_never_shows_itself() {
    let files = Files::new();
    files.make("one");
    let keys = Keys::none();
    let key = keys.create("ops", Role::Admin, "");
    let server = files
        .server(|config| config.auth.keys = Some(keys.path.clone()))
        .await;
    let mut config = Config {
        access: Access {
            ca_file: Some(files.path("one.pem")),
            ..Access::default()
        },
        ..Config::default()
    };
    let url = format!("https://{}", server.address);
    let without = Client::with(&url, config.clone()).unwrap();
    assert_eq!(
        list(&without).await.unwrap_err().code(),
        Some("key_missing")
    );
    config.access.key = ApiKey::new(&key);
    let with = Client::with(&url, config).unwrap();
    assert_eq!(list(&with).await.unwrap(), 200);
    assert!(!format!("{with:?}").contains(&key));
}

#[tokio::test]
async fn who_speaks_plain_http_is_told_and_who_says_nothing_is_not_waited_for() {
    let files = Files::new();
    files.make("one");
    let server = files
        .server(|config| config.http.head_within = Duration::from_millis(300))
        .await;
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, plain.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("https://"),
        "{answer}"
    );
    for begun in [&b""[..], b"\x16\x03\x01\x02\x00"] {
        let mut silent = TcpStream::connect(server.address).await.unwrap();
        silent.write_all(begun).await.unwrap();
        let mut rest = Vec::new();
        let end = timeout(DEADLINE, silent.read_to_end(&mut rest)).await;
        assert!(end.is_ok(), "the handshake is given up");
    }
    assert_eq!(
        list(&files.client(&server, "one", None)).await.unwrap(),
        200
    );
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_and_not_shown() {
    let files = Files::new();
    files.make("one");
    files.write(
        "odd.pem",
        "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
    );
    let start = async |cert: Option<&Path>, key: Option<&Path>| {
        let mut config = hermes_server::Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            ..hermes_server::Config::default()
        };
        config.tls.cert = cert.map(Path::to_owned);
        config.tls.key = key.map(Path::to_owned);
        hermes_server::Server::bind(config)
            .await
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    let (cert, odd, none) = (
        files.path("one-cert.pem"),
        files.path("odd.pem"),
        files.path("none.pem"),
    );
    for (cert, key, says) in [
        (Some(&*cert), None, "tls.key"),
        (Some(&*cert), Some(&*none), "none.pem"),
        (Some(&*cert), Some(&*odd), "cannot be used"),
        (Some(&*odd), Some(&*odd), "odd.pem"),
    ] {
        let error = start(cert, key).await;
        assert!(
            error.contains(says) && !error.contains("c2VjcmV0"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn off_loopback_it_needs_keys_and_tls() {
    let files = Files::new();
    files.make("one");
    let keys = Keys::none();
    let bind = async |has_tls: bool, has_keys: bool, plain: bool| {
        let mut config = hermes_server::Config {
            listen: "0.0.0.0:0".parse().unwrap(),
            plain_http: plain,
            ..hermes_server::Config::default()
        };
        if has_tls {
            config.tls.cert = Some(files.path("one-cert.pem"));
            config.tls.key = Some(files.path("one-key.pem"));
        }
        if has_keys {
            config.auth.keys = Some(keys.path.clone());
        }
        hermes_server::Server::bind(config)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    };
    let no_keys = bind(true, false, true).await.unwrap_err();
    assert!(no_keys.contains("hermes key create"), "{no_keys}");
    assert!(
        bind(true, true, true).await.is_err(),
        "a file without a key is none"
    );
    keys.create("ops", Role::Admin, "");
    let no_tls = bind(false, true, false).await.unwrap_err();
    assert!(
        no_tls.contains("tls.cert") && no_tls.contains("plain_http"),
        "{no_tls}"
    );
    bind(false, true, true).await.unwrap();
    bind(true, true, false).await.unwrap();
    keys.revoke("ops");
    assert!(
        bind(true, true, false).await.is_err(),
        "no key is valid any more"
    );
}
