//! A server with keys: the file, and short names for its keys.

use std::path::PathBuf;
use std::time::Duration;

use hermes_core::name::Name;
use hermes_core::time::Timestamp;
use hermes_discovery::clock::Clock;
use hermes_server::Config;
use hermes_server::auth::{NewKey, Prefix, Rights, Role, Scope, change};
use tempfile::TempDir;

use crate::client::Call;
use crate::server::TestServer;

/// A file of keys in a directory of its own.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) path: PathBuf,
    _directory: TempDir,
}

/// A scope as tests write it: `lab:web-` is a namespace and a prefix, either may be missing.
fn scope(text: &str) -> Scope {
    let (namespace, prefix) = text.split_once(':').unwrap_or(("", ""));
    let some = |text: &str| {
        Some(text)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    Scope {
        namespaces: some(namespace)
            .map(|name| Name::parse(&name).expect("tests write names that are right"))
            .into_iter()
            .collect(),
        prefixes: some(prefix)
            .map(|text| Prefix::parse(&text).expect("tests write prefixes that are right"))
            .into_iter()
            .collect(),
        read_prefixes: Vec::new(),
    }
}

pub(crate) fn now() -> Timestamp {
    Clock::system().now().time
}

impl Keys {
    /// No file yet.
    pub(crate) fn none() -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        Self {
            path: directory.path().join("keys.json"),
            _directory: directory,
        }
    }

    /// Makes a key whose owner is called as it is, and gives its text back.
    pub(crate) fn create(&self, name: &str, role: Role, within: &str) -> String {
        self.create_of(name, name, role, within)
    }

    pub(crate) fn create_of(&self, name: &str, owner: &str, role: Role, within: &str) -> String {
        self.make(name, owner, scope(within), (role, None))
    }

    pub(crate) fn make(
        &self,
        name: &str,
        owner: &str,
        scope: Scope,
        (role, valid_for): (Role, Option<Duration>),
    ) -> String {
        let new = NewKey {
            name: name.into(),
            owner: owner.into(),
            rights: Rights { role, scope },
            valid_for,
        };
        let (_, secret) =
            change(&self.path, |ring| ring.create(new, now())).expect("the keys can be changed");
        secret.expose().to_owned()
    }

    pub(crate) fn revoke(&self, name: &str) {
        change(&self.path, |ring| ring.revoke(name, now())).expect("the keys can be changed");
    }

    pub(crate) fn rotate(&self, name: &str, overlap: Duration) -> String {
        let (_, secret) = change(&self.path, |ring| ring.rotate(name, overlap, now()))
            .expect("the keys can be changed");
        secret.expose().to_owned()
    }

    pub(crate) async fn server(&self) -> TestServer {
        self.server_with(|_| {}).await
    }

    pub(crate) async fn server_with(&self, settle: impl FnOnce(&mut Config)) -> TestServer {
        TestServer::with(|config| {
            config.auth.keys = Some(self.path.clone());
            settle(config);
        })
        .await
    }
}

impl Call {
    pub(crate) fn key(self, text: &str) -> Self {
        self.header("x-api-key", text)
    }
}
