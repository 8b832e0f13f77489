//! Checks on the wire: read strictly from a registration, and written so that they can be sent back.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::answer::Seconds;
use super::fields::{Fields, expected, invalid, whole};
use super::problem::Problem;
use super::request::{bounded_text, read_port_name};
use super::tree::Json;
use crate::address::{HOST_LENGTH_MAX, Host};
use crate::check::{
    CHECK_NAME_LENGTH_MAX, Check, CheckKind, HttpCheck, HttpMethod, StatusMatch, TlsOptions,
};
use crate::endpoint::Registration;
use crate::limits::{BodyRules, CHECK_PATH_MAX, EXPECT_BODY_MAX, TLS_CA_MAX, TTL_MAX};

/// The checks of a registration, from the items of its list.
pub(super) fn read_checks(items: Vec<Json<'_>>, rules: BodyRules) -> Result<Vec<Check>, Problem> {
    let mut checks: Vec<Check> = Vec::with_capacity(items.len());
    for (at, item) in items.into_iter().enumerate() {
        let pointer = format!("/checks/{at}");
        let check = read_check(Fields::of(item, pointer.clone())?.under(rules))?;
        if checks.iter().any(|other| other.name == check.name) {
            let what = format!(
                "there are two checks named `{}`; give them names",
                check.name
            );
            return Err(invalid(&pointer, &what));
        }
        checks.push(check);
    }
    Ok(checks)
}

fn read_check(mut fields: Fields<'_>) -> Result<Check, Problem> {
    let words = ["http", "tcp", "grpc", "heartbeat"];
    let kind = fields.word("type", &words, |word| {
        words.contains(&word).then(|| word.to_owned())
    })?;
    let at_type = fields.pointer("type");
    let kind = match kind.as_deref() {
        Some("http") => CheckKind::Http(read_http_check(&mut fields)?),
        Some("tcp") => CheckKind::Tcp,
        Some("heartbeat") => CheckKind::Heartbeat,
        Some(_) => {
            let what = "gRPC health checks are not offered by this release; use http or tcp";
            return Err(invalid(&at_type, what));
        }
        None => {
            return Err(invalid(
                &at_type,
                "it is missing; one of http, tcp, heartbeat is needed",
            ));
        }
    };
    let mut check = Check::new(kind);
    if let Some(name) = bounded_text(&mut fields, "name", CHECK_NAME_LENGTH_MAX)? {
        if name.is_empty() {
            let what = "it is empty; leave it out instead";
            return Err(invalid(&fields.pointer("name"), what));
        }
        check.name = name;
    }
    check.port = read_port_name(&mut fields)?;
    let day = (Duration::from_secs(1), TTL_MAX);
    let interval = fields.duration("interval", day, "an interval is from 1 s to 24 h")?;
    check.interval = interval.unwrap_or(fields.rules.check_interval);
    let up_to_interval = (Duration::ZERO, check.interval);
    let wrong = "a timeout is above 0 and at most the interval";
    let timeout = fields.duration("timeout", up_to_interval, wrong)?;
    check.timeout = timeout.unwrap_or(fields.rules.check_timeout.min(check.interval));
    if check.timeout.is_zero() {
        return Err(invalid(&fields.pointer("timeout"), wrong));
    }
    check.attempts = small(&mut fields, "attempts", check.attempts)?;
    check.rise = small(&mut fields, "rise", check.rise)?;
    check.fall = small(&mut fields, "fall", check.fall)?;
    let grace = fields.duration(
        "grace",
        (Duration::ZERO, TTL_MAX),
        "a grace is at most 24 h",
    )?;
    check.grace = grace.unwrap_or_default();
    check.dry_run = fields.boolean("dry_run")?.unwrap_or_default();
    check.tls = read_tls(&mut fields, &check.kind)?;
    fields.finish()?;
    Ok(check)
}

fn read_tls(fields: &mut Fields<'_>, kind: &CheckKind) -> Result<Option<Box<TlsOptions>>, Problem> {
    let Some(value) = fields.take("tls") else {
        return Ok(None);
    };
    let mut tls = Fields::of(value, fields.pointer("tls"))?;
    if *kind == CheckKind::Heartbeat {
        let what = "a heartbeat check opens no connection; leave it out";
        return Err(invalid(&fields.pointer("tls"), what));
    }
    let server_name = bounded_text(&mut tls, "server_name", HOST_LENGTH_MAX)?;
    if server_name
        .as_deref()
        .is_some_and(|name| Host::parse(name).is_err())
    {
        let what = "the name that the certificate is for is expected, such as web.example.org";
        return Err(invalid(&tls.pointer("server_name"), what));
    }
    let ca = bounded_text(&mut tls, "ca", TLS_CA_MAX)?;
    if ca
        .as_deref()
        .is_some_and(|ca| !ca.contains("-----BEGIN CERTIFICATE-----"))
    {
        let what = "certificates in PEM are expected, as text";
        return Err(invalid(&tls.pointer("ca"), what));
    }
    let verify = tls.boolean("verify")?.unwrap_or(true);
    tls.finish()?;
    Ok(Some(Box::new(TlsOptions {
        server_name,
        ca,
        verify,
    })))
}

fn read_http_check(fields: &mut Fields<'_>) -> Result<HttpCheck, Problem> {
    let mut http = HttpCheck::default();
    if let Some(path) = bounded_text(fields, "path", CHECK_PATH_MAX)? {
        let printable = path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        if !path.starts_with('/') || !printable {
            let what = "a path begins with / and holds no spaces, control characters or #";
            return Err(invalid(&fields.pointer("path"), what));
        }
        http.path = path;
    }
    let method = fields.word("method", &["GET", "HEAD"], |word| match word {
        "GET" => Some(HttpMethod::Get),
        "HEAD" => Some(HttpMethod::Head),
        _ => None,
    })?;
    http.method = method.unwrap_or(http.method);
    if let Some(items) = fields.list("expect_status", 32)? {
        let list = fields.pointer("expect_status");
        http.expect_status = items
            .iter()
            .enumerate()
            .map(|(at, item)| read_status(&format!("{list}/{at}"), item))
            .collect::<Result<_, _>>()?;
        if http.expect_status.is_empty() {
            let what = "without a status nothing could ever be healthy; leave it out instead";
            return Err(invalid(&fields.pointer("expect_status"), what));
        }
    }
    http.expect_body = bounded_text(fields, "expect_body", EXPECT_BODY_MAX)?;
    Ok(http)
}

/// `200`, or `"2xx"`.
fn read_status(pointer: &str, value: &Json<'_>) -> Result<StatusMatch, Problem> {
    let exact = whole(value).filter(|status| (100..=599).contains(status));
    let class = match value {
        Json::Text(text) if text.len() == 3 => text.strip_suffix("xx"),
        _ => None,
    };
    let class = class.and_then(|digit| digit.parse().ok());
    let exact = exact
        .and_then(|status| u16::try_from(status).ok())
        .map(StatusMatch::Exact);
    let class = class
        .filter(|class| (1..=5).contains(class))
        .map(StatusMatch::Class);
    exact
        .or(class)
        .ok_or_else(|| expected(pointer, "a status such as 200 or \"2xx\"", value))
}

/// Every check must name a port that the endpoint has.
pub(super) fn check_ports_exist(registration: &Registration) -> Result<(), Problem> {
    let missing = |check: &Check| !registration.ports.contains_key(check.port.as_str());
    match registration.checks.iter().position(missing) {
        None => Ok(()),
        Some(at) => {
            let port = &registration.checks[at].port;
            let names: Vec<&str> = registration.ports.keys().collect();
            let what = format!(
                "there is no port `{port}`; the ports are {}",
                names.join(", ")
            );
            Err(invalid(&format!("/checks/{at}/port"), &what))
        }
    }
}

fn small(fields: &mut Fields<'_>, name: &'static str, default: u32) -> Result<u32, Problem> {
    let number = fields.integer(name, 1, 100)?;
    Ok(number
        .and_then(|number| u32::try_from(number).ok())
        .unwrap_or(default))
}

/// A check as a registration would write it, so that what was read may be sent back.
#[must_use]
pub fn check_json(check: &Check) -> Map<String, Value> {
    let seconds = |duration: Duration| json!(Seconds::from(duration));
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| drop(members.insert(name.into(), value));
    put("type", json!(check.kind.word()));
    put("name", json!(check.name));
    put("port", json!(check.port));
    if let CheckKind::Http(http) = &check.kind {
        let statuses: Vec<Value> = http.expect_status.iter().map(|s| status_json(*s)).collect();
        put("path", json!(http.path));
        put(
            "method",
            json!(if http.method == HttpMethod::Get {
                "GET"
            } else {
                "HEAD"
            }),
        );
        put("expect_status", json!(statuses));
        put("expect_body", json!(http.expect_body));
    }
    put("interval", seconds(check.interval));
    put("timeout", seconds(check.timeout));
    put("attempts", json!(check.attempts));
    put("rise", json!(check.rise));
    put("fall", json!(check.fall));
    put("grace", seconds(check.grace));
    if check.kind != CheckKind::Heartbeat {
        let tls = check
            .tls
            .as_deref()
            .map(|tls| json!({"server_name": tls.server_name, "ca": tls.ca, "verify": tls.verify}));
        put("tls", json!(tls));
    }
    put("dry_run", json!(check.dry_run));
    members
}

fn status_json(status: StatusMatch) -> Value {
    match status {
        StatusMatch::Exact(status) => json!(status),
        StatusMatch::Class(class) => json!(format!("{class}xx")),
    }
}
