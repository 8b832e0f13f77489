//! Requests: what a client sends, read strictly into domain types.
//!
//! Each function reads one body and either gives back something right or a problem document that
//! says which member is wrong and what was expected.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

pub use super::check::check_json;
use super::check::{check_ports_exist, read_checks};
use super::fields::{
    Fields, duration_of, expected, integer_of, invalid, is_between, pointer_to, read_object,
    read_object_under, strings_of, too_many,
};
use super::problem::{Problem, code};
use super::tree::{Json, kept};
use super::writer::write_object;
use crate::address::{Address, AddressError, Host, Scheme};
use crate::change::Revision;
use crate::check::{Check, EVIDENCE_LENGTH_MAX};
use crate::command::{DrainWish, OverridePatch};
use crate::endpoint::{InitialHealth, Platform, Registration, WEIGHT_DEFAULT};
use crate::health::Health;
use crate::limits::{BodyRules, JSON_INTEGER_MAX, TTL_DEFAULT, TTL_MAX, TTL_MIN};
use crate::metadata::Metadata;
use crate::name::Name;
use crate::policy::{CACHE_TTL_MAX, ServicePolicy};
use crate::port::{MAIN_PORT, Port, Ports};
use crate::select::{Criteria, Policy};

/// A heartbeat's body.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Heartbeat {
    /// Only if it is this incarnation.
    pub incarnation: Option<Revision>,
    /// What the instance says about itself; counts where a check of type heartbeat asks for it.
    pub health: Option<Health>,
    /// Why, for people.
    pub note: Option<String>,
    /// How busy it is, in any unit that is the same for all endpoints of the service.
    pub load: Option<f64>,
}

/// One heartbeat of many: service, endpoint and maybe incarnation, not yet judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatOf {
    /// The service, as written.
    pub service: String,
    /// The endpoint, as written.
    pub id: String,
    /// Only if it is this incarnation.
    pub incarnation: Option<Revision>,
}

/// Reads a registration (body of PUT and POST).
///
/// # Errors
/// The first thing about it that is wrong.
pub fn read_registration(body: &[u8]) -> Result<Registration, Problem> {
    read_registration_under(body, BodyRules::default())
}

/// The same under the rules of a server.
///
/// # Errors
/// As [`read_registration`].
pub fn read_registration_under(body: &[u8], rules: BodyRules) -> Result<Registration, Problem> {
    let mut fields = read_object_under(body, rules)?;
    let address = read_address(&mut fields)?;
    let checks = fields.list("checks", rules.checks)?;
    let checks = checks.map(|items| read_checks(items, rules)).transpose()?;
    let registration = Registration {
        ports: read_ports(&mut fields, &address)?,
        metadata: read_metadata(&mut fields)?.unwrap_or_default(),
        tags: read_tags(&mut fields)?.unwrap_or_default(),
        zone: read_zone(&mut fields)?,
        weight: read_weight(&mut fields)?.unwrap_or(WEIGHT_DEFAULT),
        platform: read_platform(&mut fields)?.unwrap_or_default(),
        ttl: read_ttl(&mut fields)?,
        checks_by_default: checks.is_none(),
        checks: checks.unwrap_or_else(|| vec![Check::usual(&address.scheme, &rules)]),
        initial_health: fields
            .word(
                "initial_health",
                &["unknown", "healthy"],
                |word| match word {
                    "unknown" => Some(InitialHealth::Unknown),
                    "healthy" => Some(InitialHealth::Healthy),
                    _ => None,
                },
            )?
            .unwrap_or_default(),
        address,
    };
    fields.finish()?;
    check_ports_exist(&registration)?;
    Ok(registration)
}

/// The registration of a URL with every default, static (R153).
///
/// # Errors
/// When it is not a URL that can be registered.
pub fn registration_of_url(url: &str) -> Result<Registration, Problem> {
    registration_of_url_under(url, BodyRules::default())
}

/// The same under the rules of a server.
///
/// # Errors
/// As [`registration_of_url`].
pub fn registration_of_url_under(url: &str, rules: BodyRules) -> Result<Registration, Problem> {
    let body = json!({"url": url}).to_string();
    let mut registration = read_registration_under(body.as_bytes(), rules)
        .map_err(|problem| problem.at("endpoint"))?;
    registration.ttl = None;
    Ok(registration)
}

/// Reads a merge patch (body of PATCH).
///
/// # Errors
/// The first thing about it that is wrong.
pub fn read_patch(body: &[u8]) -> Result<OverridePatch, Problem> {
    read_patch_under(body, BodyRules::default())
}

/// The same under the rules of a server.
///
/// # Errors
/// As [`read_patch`].
pub fn read_patch_under(body: &[u8], rules: BodyRules) -> Result<OverridePatch, Problem> {
    let mut fields = read_object_under(body, rules)?;
    let patch = OverridePatch {
        metadata: nullable(&mut fields, "metadata", read_metadata)?,
        tags: nullable(&mut fields, "tags", read_tags)?,
        weight: nullable(&mut fields, "weight", read_weight)?,
        zone: nullable(&mut fields, "zone", read_zone)?,
    };
    fields.finish()?;
    Ok(patch)
}

/// Reads a policy (body of `PUT …/policy`).
///
/// # Errors
/// The first thing about it that is wrong.
pub fn read_policy(body: &[u8]) -> Result<ServicePolicy, Problem> {
    read_policy_under(body, BodyRules::default())
}

/// The same under the rules of a server.
///
/// # Errors
/// As [`read_policy`].
pub fn read_policy_under(body: &[u8], rules: BodyRules) -> Result<ServicePolicy, Problem> {
    let mut fields = read_object_under(body, rules)?;
    let checks = fields.list("checks", rules.checks)?;
    let checks = checks.map(|items| read_checks(items, rules));
    let words = Policy::ALL.map(Policy::word);
    let policy = ServicePolicy {
        checks: checks.transpose()?,
        cache_ttl: fields.integer("cache_ttl", 0, CACHE_TTL_MAX)?,
        selection: fields.word("selection", &words, Policy::from_word)?,
    };
    fields.finish()?;
    if policy.selection == Some(Policy::Rendezvous) {
        let what = "rendezvous needs a key from each caller, so it cannot hold for all of them";
        return Err(invalid("/selection", what));
    }
    Ok(policy)
}

/// A policy as it would be sent back.
#[must_use]
pub fn policy_json(policy: &ServicePolicy) -> Value {
    let checks = policy.checks.as_deref();
    json!({
        "checks": checks.map(|checks| checks.iter().map(check_json).collect::<Vec<_>>()),
        "cache_ttl": policy.cache_ttl,
        "selection": policy.selection.map(Policy::word),
    })
}

/// Reads the optional body of a heartbeat.
///
/// # Errors
/// The first thing about it that is wrong.
pub fn read_heartbeat(body: &[u8]) -> Result<Heartbeat, Problem> {
    if body.is_empty() {
        return Ok(Heartbeat::default());
    }
    let mut fields = read_object(body)?;
    let words = Health::ALL.map(Health::word);
    let heartbeat = Heartbeat {
        incarnation: fields
            .integer("incarnation", 1, JSON_INTEGER_MAX)?
            .map(Revision),
        health: fields.word("health_status", &words, Health::from_word)?,
        note: bounded_text(&mut fields, "note", EVIDENCE_LENGTH_MAX)?,
        load: match fields.take("load") {
            None => None,
            Some(value) => {
                let load = value
                    .as_f64()
                    .filter(|load| load.is_finite() && *load >= 0.0);
                Some(load.ok_or_else(|| expected("/load", "a number of at least 0", &value))?)
            }
        },
    };
    fields.finish()?;
    Ok(heartbeat)
}

/// Reads many heartbeats at once, under the rules of a server.
///
/// # Errors
/// When the body as a whole is wrong. Single heartbeats are judged one by one later.
pub fn read_heartbeats(body: &[u8], rules: BodyRules) -> Result<Vec<HeartbeatOf>, Problem> {
    let mut fields = read_object_under(body, rules)?;
    let services = fields.object("heartbeats")?;
    fields.finish()?;
    let services = services.ok_or_else(|| {
        invalid(
            "/heartbeats",
            "it is missing; send {\"heartbeats\": {service: [id, ...]}}",
        )
    })?;
    let mut all = Vec::new();
    for (service, ids) in services {
        let pointer = pointer_to("/heartbeats", &service);
        let Json::List(ids) = ids else {
            return Err(expected(&pointer, "a list of ids", &ids));
        };
        for id in ids {
            let (id, incarnation) = read_heartbeat_id(&pointer, id)?;
            all.push(HeartbeatOf {
                service: service.to_string(),
                id,
                incarnation,
            });
        }
    }
    if all.len() > rules.heartbeats {
        return Err(too_many("/heartbeats", all.len(), rules.heartbeats));
    }
    Ok(all)
}

/// `id`, or `[id, incarnation]`.
fn read_heartbeat_id(
    pointer: &str,
    value: Json<'_>,
) -> Result<(String, Option<Revision>), Problem> {
    match value {
        Json::Text(id) => Ok((id.into_owned(), None)),
        Json::List(pair) => match <[Json<'_>; 2]>::try_from(pair) {
            Ok([Json::Text(id), incarnation]) => {
                let incarnation = integer_of(pointer, &incarnation, 1, JSON_INTEGER_MAX)?;
                Ok((id.into_owned(), Some(Revision(incarnation))))
            }
            _ => Err(invalid(pointer, "an id or [id, incarnation] is expected")),
        },
        other => Err(expected(pointer, "an id or [id, incarnation]", &other)),
    }
}

/// Reads the optional body of a drain.
///
/// # Errors
/// The first thing about it that is wrong.
pub fn read_drain(body: &[u8]) -> Result<DrainWish, Problem> {
    if body.is_empty() {
        return Ok(DrainWish::default());
    }
    let mut fields = read_object(body)?;
    let reason = bounded_text(&mut fields, "reason", EVIDENCE_LENGTH_MAX)?.unwrap_or_default();
    let sticky = fields.boolean("sticky")?.unwrap_or_default();
    fields.finish()?;
    Ok(DrainWish { reason, sticky })
}

/// Most endpoints that one selection may ask for.
pub const SELECTION_MAX: u64 = 100;

/// Reads selection criteria (body of `/select`, may be empty).
///
/// # Errors
/// The first thing about it that is wrong.
pub fn read_criteria(body: &[u8]) -> Result<Criteria, Problem> {
    let mut fields = read_object(if body.is_empty() { b"{}" } else { body })?;
    let policies = Policy::ALL.map(Policy::word);
    let limit = fields.integer("limit", 1, SELECTION_MAX)?.unwrap_or(1);
    let criteria = Criteria {
        policy: fields.word("policy", &policies, Policy::from_word)?,
        key: fields.text("key")?.map(Cow::into_owned),
        metadata: fields.object("metadata")?.map(kept).unwrap_or_default(),
        tags: read_tags(&mut fields)?.unwrap_or_default(),
        zone: read_zone(&mut fields)?,
        zone_strict: fields.boolean("zone_strict")?.unwrap_or_default(),
        platform: read_platform(&mut fields)?,
        exclude: match fields.list("exclude", SELECTION_LIST_MAX)? {
            None => Vec::new(),
            Some(items) => strings_of("/exclude", items)?,
        },
        port: read_port_name(&mut fields)?,
        fallback_any: fields
            .word("fallback", &["none", "any"], |word| match word {
                "none" => Some(false),
                "any" => Some(true),
                _ => None,
            })?
            .unwrap_or_default(),
        limit: usize::try_from(limit).unwrap_or(1),
    };
    // Reserved: read and allowed, without effect yet.
    fields.boolean("explain")?;
    fields.finish()?;
    if criteria.policy == Some(Policy::Rendezvous) && criteria.key.is_none() {
        return Err(invalid("/key", "the policy `rendezvous` needs a key"));
    }
    if criteria.zone_strict && criteria.zone.is_none() {
        return Err(invalid("/zone", "`zone_strict` needs a zone"));
    }
    Ok(criteria)
}

/// Most ids or URLs that a selection may exclude.
const SELECTION_LIST_MAX: usize = 100;

/// `url`, or `host` with `port` and maybe `scheme`; both only if they agree.
fn read_address(fields: &mut Fields<'_>) -> Result<Address, Problem> {
    let url = fields.text("url")?;
    let host = fields.text("host")?;
    let port = fields
        .integer("port", 1, u64::from(u16::MAX))?
        .and_then(|port| u16::try_from(port).ok());
    let scheme = fields.text("scheme")?;
    let fields = &*fields;
    let wrong = |name: &'static str| {
        move |error: AddressError| invalid(&fields.pointer(name), &error.to_string())
    };
    let host = host
        .map(|host| Host::parse(&host))
        .transpose()
        .map_err(wrong("host"))?;
    let scheme = scheme
        .map(|scheme| Scheme::parse(&scheme))
        .transpose()
        .map_err(wrong("scheme"))?;
    let Some(url) = url else {
        let host =
            host.ok_or_else(|| invalid("/url", "either `url` or `host` and `port` is needed"))?;
        let port = port.ok_or_else(|| invalid("/port", "`host` needs a `port`"))?;
        return Ok(Address::of_parts(
            scheme.unwrap_or_else(Scheme::http),
            host,
            port,
        ));
    };
    let address = Address::parse_url(&url).map_err(wrong("url"))?;
    let agrees = host.is_none_or(|host| host == address.host)
        && port.is_none_or(|port| port == address.port)
        && scheme.is_none_or(|scheme| scheme == address.scheme);
    agrees.then_some(address).ok_or_else(|| {
        invalid(
            "/url",
            "it does not agree with `host`, `port` or `scheme`; send one of both forms",
        )
    })
}

fn read_ports(fields: &mut Fields<'_>, address: &Address) -> Result<Ports, Problem> {
    let main = Port {
        port: address.port,
        scheme: address.scheme.clone(),
    };
    let mut others = BTreeMap::new();
    let written = fields.object("ports")?.unwrap_or_default();
    for (name, value) in written {
        let pointer = pointer_to("/ports", &name);
        let port = read_port(&pointer, value, &address.scheme)?;
        let name = Name::parse(&name).map_err(|error| invalid(&pointer, &error.to_string()))?;
        if name.as_str() == MAIN_PORT {
            if port != main {
                let what = "it does not agree with the port of the endpoint";
                return Err(invalid(&pointer, what));
            }
            continue;
        }
        let before = others.insert(name.clone(), port.clone());
        if before.is_some_and(|before| before != port) {
            let what = format!("another port is named `{name}` too, once names are folded");
            return Err(invalid(&pointer, &what));
        }
    }
    let (ports, max) = (Ports::with(main, others), fields.rules.ports);
    if ports.len() > max {
        return Err(too_many("/ports", ports.len(), max));
    }
    Ok(ports)
}

/// A number, or `{"port", "scheme"}`.
fn read_port(pointer: &str, value: Json<'_>, default: &Scheme) -> Result<Port, Problem> {
    let max = u64::from(u16::MAX);
    let (port, scheme) = match value {
        Json::Object(_) => {
            let mut fields = Fields::of(value, pointer.into())?;
            let port = fields.integer("port", 1, max)?;
            let scheme = fields.text("scheme")?;
            fields.finish()?;
            (
                port.ok_or_else(|| invalid(pointer, "it has no `port`"))?,
                scheme,
            )
        }
        other => (integer_of(pointer, &other, 1, max)?, None),
    };
    let scheme = match scheme {
        None => default.clone(),
        Some(scheme) => {
            let wrong =
                |error: AddressError| invalid(&pointer_to(pointer, "scheme"), &error.to_string());
            Scheme::parse(&scheme).map_err(wrong)?
        }
    };
    Ok(Port {
        port: u16::try_from(port).unwrap_or(u16::MAX),
        scheme,
    })
}

fn read_metadata(fields: &mut Fields<'_>) -> Result<Option<Metadata>, Problem> {
    let Some(metadata) = fields.object("metadata")?.map(kept::<Metadata>) else {
        return Ok(None);
    };
    let (members_max, bytes_max) = (fields.rules.metadata_members, fields.rules.metadata_bytes);
    if metadata.len() > members_max {
        return Err(too_many("/metadata", metadata.len(), members_max));
    }
    let bytes = json_length(&metadata);
    if bytes > bytes_max {
        let what = format!("it has {bytes} bytes, at most {bytes_max} are allowed");
        return Err(invalid("/metadata", &what));
    }
    Ok(Some(metadata))
}

/// How long an object is as JSON.
fn json_length(members: &Metadata) -> usize {
    const TYPICAL: usize = 256;
    let mut json = Vec::with_capacity(TYPICAL);
    write_object(&mut json, members);
    json.len()
}

fn read_tags(fields: &mut Fields<'_>) -> Result<Option<Vec<String>>, Problem> {
    let Some(items) = fields.list("tags", fields.rules.tags)? else {
        return Ok(None);
    };
    let (tags, max) = (strings_of("/tags", items)?, fields.rules.tag_length);
    match tags
        .iter()
        .position(|tag| tag.is_empty() || tag.len() > max)
    {
        Some(at) => {
            let what = format!("a tag has 1 to {max} bytes");
            Err(invalid(&format!("/tags/{at}"), &what))
        }
        None => Ok(Some(tags)),
    }
}

fn read_zone(fields: &mut Fields<'_>) -> Result<Option<String>, Problem> {
    let zone = bounded_text(fields, "zone", fields.rules.tag_length)?;
    if zone.as_deref() == Some("") {
        return Err(invalid("/zone", "it is empty; leave it out instead"));
    }
    Ok(zone)
}

fn read_weight(fields: &mut Fields<'_>) -> Result<Option<u16>, Problem> {
    let weight = fields.integer("weight", 0, u64::from(u16::MAX))?;
    Ok(weight.and_then(|weight| u16::try_from(weight).ok()))
}

fn read_platform(fields: &mut Fields<'_>) -> Result<Option<Platform>, Problem> {
    fields.word(
        "environment",
        &Platform::ALL.map(Platform::word),
        Platform::from_word,
    )
}

/// Absent is 30 s, null is static.
fn read_ttl(fields: &mut Fields<'_>) -> Result<Option<Duration>, Problem> {
    match fields.take_or_null("ttl") {
        None => Ok(Some(TTL_DEFAULT)),
        Some(Json::Null) => Ok(None),
        Some(value) => {
            let ttl = duration_of("/ttl", &value)?;
            let wrong = "a lease is from 1 s to 24 h, or null for a static endpoint";
            is_between(&value, ttl, TTL_MIN, TTL_MAX)
                .then_some(Some(ttl))
                .ok_or_else(|| invalid("/ttl", wrong))
        }
    }
}

/// The name of the port that a selection or check uses.
pub(super) fn read_port_name(fields: &mut Fields<'_>) -> Result<String, Problem> {
    let Some(port) = fields.text("port")? else {
        return Ok(MAIN_PORT.into());
    };
    let wrong =
        |error: crate::name::NameError| invalid(&fields.pointer("port"), &error.to_string());
    Name::parse(&port)
        .map(|name| name.to_string())
        .map_err(wrong)
}

/// A member of a merge patch: absent, null, or a value.
fn nullable<T>(
    fields: &mut Fields<'_>,
    name: &'static str,
    read: impl Fn(&mut Fields<'_>) -> Result<Option<T>, Problem>,
) -> Result<Option<Option<T>>, Problem> {
    match fields.take_or_null(name) {
        None => Ok(None),
        Some(Json::Null) => Ok(Some(None)),
        Some(value) => {
            let mut single = Fields::of(Json::Object(vec![(name.into(), value)]), String::new())?;
            single = single.under(fields.rules);
            Ok(Some(read(&mut single)?))
        }
    }
}

pub(super) fn bounded_text(
    fields: &mut Fields<'_>,
    name: &'static str,
    max: usize,
) -> Result<Option<String>, Problem> {
    let text = fields.text(name)?.map(Cow::into_owned);
    if let Some(text) = &text
        && text.len() > max
    {
        let what = format!("it has {} bytes, at most {max} are allowed", text.len());
        return Err(invalid(&fields.pointer(name), &what));
    }
    Ok(text)
}

/// A problem about a name, with what is wrong about it.
#[must_use]
pub fn invalid_name(what: &str, text: &str, error: &crate::name::NameError) -> Problem {
    let shown: String = text.chars().take(64).collect();
    let detail = format!(
        "{what} {shown:?} cannot be used: {error}. Names are lower-case DNS labels such as \
         `memory-store`; ids may hold letters, digits and . _ : -"
    );
    Problem::new(code::INVALID_NAME, detail).at(what)
}
