//! The table of all settings: the only place where one is named, described and bounded.
//!
//! A row is a key, where it stands in a [`Config`], its range, and what one should know. Everything
//! else that has to do with a setting is made of it.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::lens::{Lens, Number};
use super::setting::{Group, Setting};
use crate::config::Config;

const fn from_millis_to(min: u64, max_secs: u64) -> RangeInclusive<Duration> {
    RangeInclusive::new(Duration::from_millis(min), Duration::from_secs(max_secs))
}

const fn count(max: u64, at: fn(&mut Config) -> &mut dyn Number) -> Lens {
    Lens::Count(RangeInclusive::new(1, max), at)
}

const fn size(min: u64, max: u64, at: fn(&mut Config) -> &mut dyn Number) -> Lens {
    Lens::Size(RangeInclusive::new(min, max), at)
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const DAY: u64 = 24 * 60 * 60;

/// Every setting. Its default is that of [`Config`].
pub static SETTINGS: &[Setting] = &[
    Setting::new(
        "listen",
        Group::Server,
        Lens::Address(|c| &mut c.listen),
        "Where to listen; port 0 picks a free one",
    )
    .more(
        "Off loopback it needs keys, and TLS or `plain_http`. A socket that systemd hands over is used \
         instead.",
    ),
    Setting::new(
        "data_dir",
        Group::Server,
        Lens::Directory(|c| &mut c.log.directory),
        "Where what is registered is kept; made when it is not there",
    ),
    Setting::new(
        "log",
        Group::Server,
        Lens::Word(|c| &mut c.log.kind),
        "How durable changes are: file (on disk) or memory (gone with the process)",
    ),
    Setting::new(
        "register_self",
        Group::Server,
        Lens::Switch(|c| &mut c.register_self),
        "Whether Hermes is found through itself, as the service `hermes`",
    )
    .at_once()
    .more("It is deregistered when the server stops."),
    Setting::new(
        "health_check.interval",
        Group::Server,
        Lens::Time(from_millis_to(1_000, DAY), |c| {
            &mut c.engine.limits.body.check_interval
        }),
        "How often a check is probed that names no interval",
    )
    .elder("SERVICE_DISCOVERY_HEALTH_CHECK_INTERVAL")
    .more("The services of the configuration take it as soon as the settings are read again."),
    Setting::new(
        "health_check.timeout",
        Group::Server,
        Lens::Time(from_millis_to(1, DAY), |c| {
            &mut c.engine.limits.body.check_timeout
        }),
        "How long one attempt of a probe may take that names no timeout, at most the interval",
    )
    .elder("SERVICE_DISCOVERY_HEALTH_CHECK_TIMEOUT"),
    Setting::new(
        "log_level",
        Group::Server,
        Lens::Filter(|c| &mut c.logging.level),
        "What is told on stderr: off, error, warn, info, debug, trace, or filters by module",
    )
    .at_once()
    .more("Filters are `module=level`, with commas between them: `hermes_server=debug,warn`."),
    Setting::new(
        "log_format",
        Group::Server,
        Lens::Word(|c| &mut c.logging.format),
        "In which form: text, json (an object a line), or auto: text on a terminal, else json",
    ),
    Setting::new(
        "stop_within",
        Group::Server,
        Lens::Time(from_millis_to(0, 3_600), |c| &mut c.stop_within),
        "How long a stopping server waits for what is in flight",
    )
    .at_once(),
    Setting::new(
        "known_for",
        Group::Server,
        Lens::Time(from_millis_to(1_000, 365 * DAY), |c| {
            &mut c.engine.limits.known_for
        }),
        "How long a service stays known after its last endpoint",
    ),
    Setting::new(
        "progress_interval",
        Group::Server,
        Lens::Time(from_millis_to(100, 5), |c| &mut c.engine.progress_interval),
        "The longest time in which a watcher hears nothing",
    )
    .more("Clients take twice its length without a word for a broken stream, so it cannot be longer."),
    Setting::new(
        "keys",
        Group::Access,
        Lens::File(|c| &mut c.auth.keys),
        "The file of the keys, which `hermes key` writes; auto: keys.json in the data directory",
    )
    .more(
        "With `log: memory` auto is none. As soon as there is a key, every request needs one. The file \
         is looked at once a second and on SIGHUP.",
    ),
    Setting::new(
        "anonymous_read",
        Group::Access,
        Lens::Switch(|c| &mut c.auth.anonymous_read),
        "Whether reading needs no key, even where there are keys",
    ),
    Setting::new(
        "plain_http",
        Group::Access,
        Lens::Switch(|c| &mut c.plain_http),
        "Whether plain HTTP is spoken off loopback, where keys can be read on their way",
    )
    .more("For networks that are trusted, and behind a proxy that adds TLS."),
    Setting::new(
        "require_https",
        Group::Access,
        Lens::Switch(|c| &mut c.admission.https_only),
        "Whether only https addresses may be registered",
    )
    .more("The second seed's rule for production (R151)."),
    Setting::new(
        "http_hosts",
        Group::Access,
        Lens::Hosts(|c| &mut c.admission.http_hosts),
        "The hosts that may be registered with plain http all the same",
    )
    .more("`*.domain` is every host below a domain."),
    Setting::new(
        "tls.cert",
        Group::Access,
        Lens::File(|c| &mut c.tls.cert),
        "The certificate of the server with its chain, in PEM; auto: none, which is plain HTTP",
    )
    .more("It is read again when the file changes; connections go on."),
    Setting::new(
        "tls.key",
        Group::Access,
        Lens::File(|c| &mut c.tls.key),
        "The key that goes with it; auto: none",
    ),
    Setting::new(
        "tls.client_ca",
        Group::Access,
        Lens::File(|c| &mut c.tls.client_ca),
        "The authorities of the certificates that clients must show; auto: none is asked for",
    ),
    Setting::new(
        "tls.client_optional",
        Group::Access,
        Lens::Switch(|c| &mut c.tls.client_optional),
        "Whether a client may come without a certificate all the same",
    ),
    Setting::new(
        "horizon",
        Group::History,
        Lens::Time(from_millis_to(1_000, 365 * DAY), |c| {
            &mut c.log.options.horizon
        }),
        "How long changes are kept at most",
    ),
    Setting::new(
        "horizon_changes",
        Group::History,
        count(1_000_000_000, |c| &mut c.log.options.horizon_changes),
        "How many changes are kept, for watchers that come back and for looking back",
    ),
    Setting::new(
        "snapshot_changes",
        Group::History,
        count(1_000_000_000, |c| &mut c.log.options.snapshot_changes),
        "After how many changes the state is written down, which makes starts short",
    ),
    Setting::new(
        "segment_size",
        Group::History,
        size(64 * KIB, 4 * GIB, |c| &mut c.log.options.segment_bytes),
        "After how many bytes another file of the log is begun",
    ),
    Setting::new(
        "limits.requests",
        Group::Requests,
        Lens::Count(RangeInclusive::new(0, 1_000_000), |c| {
            &mut c.auth.requests_per_second
        }),
        "Requests a second of one key, or of one address that shows none; 0 is no limit",
    )
    .more("Not counted from loopback, unless `limits.loopback` says so."),
    Setting::new(
        "limits.loopback",
        Group::Requests,
        Lens::Switch(|c| &mut c.auth.limits_loopback),
        "Whether requests from loopback are counted, too",
    ),
    Setting::new(
        "limits.connections",
        Group::Requests,
        count(1_000_000, |c| &mut c.http.connections),
        "Connections at the same time; more wait to be accepted",
    )
    .more("Each costs about 20 KiB and an open file."),
    Setting::new(
        "limits.head_size",
        Group::Requests,
        size(8 * KIB, MIB, |c| &mut c.http.head_bytes),
        "Bytes of a request's head",
    )
    .at_once(),
    Setting::new(
        "limits.head_within",
        Group::Requests,
        Lens::Time(from_millis_to(10, 3_600), |c| &mut c.http.head_within),
        "Time for a request's head, from its first byte",
    )
    .at_once(),
    Setting::new(
        "limits.body_size",
        Group::Requests,
        size(KIB, 16 * MIB, |c| &mut c.http.body_bytes),
        "Bytes of a request's body",
    )
    .at_once(),
    Setting::new(
        "limits.body_within",
        Group::Requests,
        Lens::Time(from_millis_to(10, 3_600), |c| &mut c.http.body_within),
        "Time for a request's body",
    )
    .at_once(),
    Setting::new(
        "limits.heartbeats_size",
        Group::Requests,
        size(KIB, 64 * MIB, |c| &mut c.http.heartbeats_bytes),
        "Bytes of a body of many heartbeats",
    )
    .at_once(),
    Setting::new(
        "limits.idle",
        Group::Requests,
        Lens::Time(from_millis_to(100, DAY), |c| &mut c.http.idle),
        "Time that a connection may do nothing",
    )
    .at_once(),
    Setting::new(
        "limits.inbox",
        Group::Requests,
        count(1_000_000, |c| &mut c.engine.requests_max),
        "Writing requests that may wait; one more is refused as overloaded",
    )
    .more("Raising it trades memory and waiting time for fewer refusals in a burst."),
    Setting::new(
        "limits.cursors",
        Group::Requests,
        count(100_000, |c| &mut c.http.cursors),
        "Lists of services that are kept for their next page",
    ),
    Setting::new(
        "limits.lists_size",
        Group::Requests,
        size(0, 64 * GIB, |c| &mut c.http.encoded_bytes),
        "Bytes of encoded lists that are kept for the next reader",
    ),
    Setting::new(
        "limits.heartbeats",
        Group::Requests,
        count(1_000_000, |c| &mut c.engine.limits.body.heartbeats),
        "Heartbeats in one body",
    ),
    Setting::new(
        "limits.json_depth",
        Group::Requests,
        count(100, |c| &mut c.engine.limits.body.json_depth),
        "How deeply the JSON of a body may be nested",
    ),
    Setting::new(
        "limits.metadata_members",
        Group::Registrations,
        count(10_000, |c| &mut c.engine.limits.body.metadata_members),
        "Members of an endpoint's metadata",
    ),
    Setting::new(
        "limits.metadata_size",
        Group::Registrations,
        size(0, MIB, |c| &mut c.engine.limits.body.metadata_bytes),
        "Bytes of an endpoint's metadata, encoded",
    )
    .more("A registration is a body, too: raise `limits.body_size` with it."),
    Setting::new(
        "limits.tags",
        Group::Registrations,
        count(1_000, |c| &mut c.engine.limits.body.tags),
        "Tags of an endpoint",
    ),
    Setting::new(
        "limits.tag_length",
        Group::Registrations,
        count(4_096, |c| &mut c.engine.limits.body.tag_length),
        "Bytes of one tag, and of a zone",
    ),
    Setting::new(
        "limits.ports",
        Group::Registrations,
        count(1_000, |c| &mut c.engine.limits.body.ports),
        "Named ports of an endpoint, the main one among them",
    ),
    Setting::new(
        "limits.checks",
        Group::Registrations,
        count(100, |c| &mut c.engine.limits.body.checks),
        "Checks of an endpoint",
    ),
    Setting::new(
        "limits.services",
        Group::Registry,
        count(100_000_000, |c| &mut c.engine.limits.services),
        "Services in all namespaces together",
    ),
    Setting::new(
        "limits.endpoints",
        Group::Registry,
        count(1_000_000, |c| &mut c.engine.limits.endpoints_per_service),
        "Endpoints of one service",
    ),
    Setting::new(
        "limits.gone",
        Group::Registry,
        count(1_000_000, |c| &mut c.engine.limits.gone_per_service),
        "Removed endpoints that a service remembers, to tell a late heartbeat what happened",
    ),
    Setting::new(
        "limits.endpoints_size",
        Group::Registry,
        size(0, 64 * GIB, |c| &mut c.engine.limits.encoded_bytes),
        "Bytes of encoded endpoints that are kept for the next reader",
    )
    .more("Beyond it, endpoints are encoded for each answer."),
    Setting::new(
        "limits.watchers",
        Group::Watchers,
        count(1_000_000, |c| &mut c.engine.watchers_max),
        "Watchers at the same time",
    ),
    Setting::new(
        "limits.watch_services",
        Group::Watchers,
        count(100_000, |c| &mut c.http.watch_services),
        "Services that one watcher may name",
    )
    .at_once(),
    Setting::new(
        "limits.watcher_changes",
        Group::Watchers,
        count(1_000_000, |c| &mut c.engine.watcher_changes_max),
        "Changes that wait for one watcher before it has to catch up",
    ),
    Setting::new(
        "limits.watcher_size",
        Group::Watchers,
        size(KIB, GIB, |c| &mut c.engine.watcher_bytes_max),
        "Bytes of those changes",
    ),
    Setting::new(
        "limits.feed_changes",
        Group::Watchers,
        count(100_000_000, |c| &mut c.engine.feed_changes_max),
        "Changes kept in memory for watchers that resume or fell behind",
    ),
    Setting::new(
        "limits.feed_size",
        Group::Watchers,
        size(KIB, 64 * GIB, |c| &mut c.engine.feed_bytes_max),
        "Bytes of those changes",
    ),
    Setting::new(
        "probe.allow",
        Group::Probes,
        Lens::Networks(|c| &mut c.probe.reach.allow),
        "Networks that are probed although their kind is not",
    )
    .more(
        "Never probed otherwise: link-local, multicast, reserved and unspecified addresses, those of \
         metadata services, and loopback unless Hermes itself listens only there. Hermes's own \
         listener is not probed in any case.",
    ),
    Setting::new(
        "probe.deny",
        Group::Probes,
        Lens::Networks(|c| &mut c.probe.reach.deny),
        "Networks that are not probed",
    ),
    Setting::new(
        "limits.probes",
        Group::Probes,
        count(100_000, |c| &mut c.probe.concurrency),
        "Probes under way at the same time; what is due beyond that waits",
    )
    .more("Each costs an open file and some 40 KiB."),
    Setting::new(
        "limits.probe_connections",
        Group::Probes,
        Lens::Count(RangeInclusive::new(0, 1_000_000), |c| {
            &mut c.probe.kept_connections_max
        }),
        "Connections kept open between two probes of the same endpoint",
    )
    .more("Each costs an open file and some 20 KiB here, and an idle connection at the endpoint."),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::settings::differences;

    #[test]
    fn every_setting_is_one_field_and_reads_what_it_shows() {
        for setting in SETTINGS {
            let mut config = Config::served();
            assert!(
                setting.set(&mut config, &setting.default()).is_some(),
                "{}: its default is refused",
                setting.key
            );
            for sample in setting.samples() {
                setting.set(&mut config, &sample).unwrap();
                assert_eq!(setting.value(&config), sample, "{}", setting.key);
            }
            let changed = differences(&Config::served(), &config);
            let keys: Vec<&str> = changed.iter().map(|change| change.setting.key).collect();
            assert!(keys.iter().all(|key| *key == setting.key), "{keys:?}");
            for nonsense in ["", "a b", "-1", "\u{1f980}"] {
                let kept = setting.value(&config);
                let is_text = matches!(setting.lens, Lens::Directory(_) | Lens::File(_));
                if !is_text || nonsense.is_empty() {
                    assert!(
                        setting.set(&mut config, nonsense).is_none(),
                        "{}",
                        setting.key
                    );
                    assert_eq!(setting.value(&config), kept);
                }
            }
        }
    }

    #[test]
    fn no_two_settings_share_a_key_a_variable_or_a_flag() {
        let mut seen = BTreeSet::new();
        for setting in SETTINGS {
            assert!(seen.insert(setting.variable()), "{}", setting.key);
            let fine = |b: u8| b.is_ascii_lowercase() || b == b'_' || b == b'.';
            assert!(setting.key.bytes().all(fine), "{}", setting.key);
            assert!(setting.key.matches('.').count() <= 1, "{}", setting.key);
            assert!(!setting.what.ends_with('.'), "{}", setting.key);
        }
    }
}
