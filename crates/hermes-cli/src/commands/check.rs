//! Checks as they are wished for on a command line: `http:/PATH`, `tcp` or `none`.

use std::time::Duration;

use hermes_core::address::Scheme;
use hermes_core::wire::answer::Seconds;
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::failure::Failure;

/// A check as it is wished for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    None,
    Tcp,
    Http { path: String },
}

/// Reads one wish.
pub(crate) fn parse(text: &str) -> Result<Wish, String> {
    match text.split_once(':').unwrap_or((text, "")) {
        ("none", "") => Ok(Wish::None),
        ("tcp", "") => Ok(Wish::Tcp),
        ("http", "") => Ok(Wish::Http {
            path: "/health".into(),
        }),
        ("http", path) if path.starts_with('/') => Ok(Wish::Http { path: path.into() }),
        _ => Err("http:/PATH, tcp or none is expected".into()),
    }
}

/// The checks of a registration; nothing (null) leaves them to the server.
pub(crate) fn wished(
    wishes: &[Wish],
    interval: Option<Duration>,
    scheme: Option<&str>,
) -> Result<Value, Failure> {
    let mut wishes = wishes.to_vec();
    if wishes.is_empty() && interval.is_some() {
        wishes.push(default_wish(scheme));
    }
    if wishes.is_empty() {
        return Ok(Value::Null);
    }
    if wishes.len() > 1 && wishes.contains(&Wish::None) {
        let what = "--check none stands beside another --check";
        return Err(Failure::told(
            Exit::Usage,
            what,
            "say either none or what to probe",
        ));
    }
    let interval = interval.map(Seconds::from);
    let mut checks: Vec<Value> = Vec::new();
    for wish in wishes {
        let mut check = match wish {
            Wish::None => continue,
            Wish::Tcp => json!({"type": "tcp"}),
            Wish::Http { path } => json!({"type": "http", "path": path}),
        };
        if let Some(interval) = interval {
            check["interval"] = json!(interval);
        }
        // Names must differ; the first of a type has the name of its type.
        let alike = checks
            .iter()
            .filter(|other| other["type"] == check["type"])
            .count();
        if alike > 0 {
            let kind = check["type"].as_str().unwrap_or_default();
            check["name"] = json!(format!("{kind}-{}", alike + 1));
        }
        checks.push(check);
    }
    Ok(checks.into())
}

/// The check that the server would choose, for when only its interval is said.
fn default_wish(scheme: Option<&str>) -> Wish {
    let is_http = scheme
        .map(Scheme::parse)
        .is_none_or(|scheme| scheme.is_ok_and(|scheme| scheme.is_http()));
    if is_http {
        Wish::Http {
            path: "/health".into(),
        }
    } else {
        Wish::Tcp
    }
}
