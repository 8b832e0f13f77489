//! How one setting is read, written and shown: a typed view into the configuration.
//!
//! A lens is the only code that knows which field a setting is. It reads the text of any layer, and
//! writes the text that every layer would read again.

use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use hermes_core::wire::fields::parse_duration;
use hermes_discovery::admission::HttpHost;
use hermes_discovery::probe::IpNet;

use crate::config::{Config, LogFormat, LogKind};

/// A field of the configuration, and what it may hold.
#[derive(Debug, Clone)]
pub(super) enum Lens {
    Address(fn(&mut Config) -> &mut SocketAddr),
    Directory(fn(&mut Config) -> &mut PathBuf),
    Time(RangeInclusive<Duration>, fn(&mut Config) -> &mut Duration),
    Size(RangeInclusive<u64>, fn(&mut Config) -> &mut dyn Number),
    Count(RangeInclusive<u64>, fn(&mut Config) -> &mut dyn Number),
    Switch(fn(&mut Config) -> &mut bool),
    Word(fn(&mut Config) -> &mut dyn Word),
    Filter(fn(&mut Config) -> &mut String),
    Networks(fn(&mut Config) -> &mut Vec<IpNet>),
    /// A file, or `auto`, which stands for what is said about the setting.
    File(fn(&mut Config) -> &mut Option<PathBuf>),
    /// Hosts with commas between them, or `none`.
    Hosts(fn(&mut Config) -> &mut Vec<HttpHost>),
}

/// A whole number of any width.
pub(super) trait Number: Debug {
    fn get(&self) -> u64;
    fn put(&mut self, number: u64);
}

/// One of a few words.
pub(super) trait Word: Debug {
    fn words(&self) -> &'static [&'static str];
    fn get(&self) -> &'static str;
    /// Takes the word; `false` when it is none of them.
    fn put(&mut self, word: &str) -> bool;
}

impl Number for u64 {
    fn get(&self) -> u64 {
        *self
    }

    fn put(&mut self, number: u64) {
        *self = number;
    }
}

impl Number for u32 {
    fn get(&self) -> u64 {
        u64::from(*self)
    }

    fn put(&mut self, number: u64) {
        *self = Self::try_from(number).unwrap_or(Self::MAX);
    }
}

impl Number for usize {
    fn get(&self) -> u64 {
        u64::try_from(*self).unwrap_or(u64::MAX)
    }

    fn put(&mut self, number: u64) {
        *self = Self::try_from(number).unwrap_or(Self::MAX);
    }
}

impl Word for LogKind {
    fn words(&self) -> &'static [&'static str] {
        &["file", "memory"]
    }

    fn get(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::File => "file",
        }
    }

    fn put(&mut self, word: &str) -> bool {
        put_word(self, &[Self::Memory, Self::File], word)
    }
}

impl Word for LogFormat {
    fn words(&self) -> &'static [&'static str] {
        &["auto", "text", "json"]
    }

    fn get(&self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
        }
    }

    fn put(&mut self, word: &str) -> bool {
        put_word(self, &[Self::Auto, Self::Text, Self::Json], word)
    }
}

/// The one of `all` that is written so.
fn put_word<T: Word + Copy>(place: &mut T, all: &[T], word: &str) -> bool {
    let found = all
        .iter()
        .find(|one| one.get() == word.to_ascii_lowercase());
    found.map(|one| *place = *one).is_some()
}

/// How it is said that a list is empty.
const NOTHING: &str = "none";
/// What stands for no file of one's own.
const AUTO: &str = "auto";
/// Units of sizes, largest first.
const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
/// Levels that a filter may name.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Lens {
    /// The value, as every layer would read it.
    pub(super) fn value(&self, config: &mut Config) -> String {
        match self {
            Self::Address(at) => at(config).to_string(),
            Self::Directory(at) => at(config).display().to_string(),
            Self::Time(_, at) => time(*at(config)),
            Self::Size(_, at) => size(at(config).get()),
            Self::Count(_, at) => at(config).get().to_string(),
            Self::Switch(at) => at(config).to_string(),
            Self::Word(at) => at(config).get().into(),
            Self::Filter(at) => at(config).clone(),
            Self::File(at) => match at(config) {
                Some(path) => path.display().to_string(),
                None => AUTO.into(),
            },
            Self::Hosts(at) => match &at(config)[..] {
                [] => NOTHING.into(),
                hosts => {
                    let hosts: Vec<String> = hosts.iter().map(HttpHost::to_string).collect();
                    hosts.join(",")
                }
            },
            Self::Networks(at) => networks(at(config)),
        }
    }

    /// Takes the value that `text` says; `None` when it is not what is expected.
    pub(super) fn set(&self, config: &mut Config, text: &str) -> Option<()> {
        match self {
            Self::Address(at) => *at(config) = text.parse().ok()?,
            Self::Directory(at) => *at(config) = Some(text).filter(|text| !text.is_empty())?.into(),
            Self::Time(range, at) => {
                *at(config) = parse_duration(text).filter(|time| range.contains(time))?;
            }
            Self::Size(range, at) => {
                at(config).put(parse_size(text).filter(|size| range.contains(size))?);
            }
            Self::Count(range, at) => {
                at(config).put(text.parse().ok().filter(|count| range.contains(count))?);
            }
            Self::Switch(at) => *at(config) = parse_switch(text)?,
            Self::Word(at) => return at(config).put(text).then_some(()),
            Self::Filter(at) => *at(config) = Some(text).filter(|text| is_filter(text))?.to_owned(),
            Self::File(at) => {
                let path = Some(text).filter(|text| !text.is_empty())?;
                *at(config) = (path != AUTO).then(|| path.into());
            }
            Self::Hosts(at) => *at(config) = parse_hosts(text)?,
            Self::Networks(at) => *at(config) = parse_networks(text)?,
        }
        Some(())
    }

    /// What is expected, to stand behind "expected is".
    pub(super) fn expects(&self, config: &mut Config) -> String {
        match self {
            Self::Address(_) => "HOST:PORT, such as 127.0.0.1:8001 or [::1]:8001".into(),
            Self::Directory(_) => "a directory".into(),
            Self::Time(range, _) => format!(
                "a duration from {} to {}, such as 1.5 (seconds), 500ms, 10s, 5m, 24h",
                time(*range.start()),
                time(*range.end())
            ),
            Self::Size(range, _) => format!(
                "a size from {} to {}, such as 65536 (bytes), 64KiB, 4MiB",
                size(*range.start()),
                size(*range.end())
            ),
            Self::Count(range, _) => {
                format!(
                    "a whole number from {} to {}",
                    range.start(),
                    grouped(*range.end())
                )
            }
            Self::File(_) => format!("a file, or {AUTO}"),
            Self::Hosts(_) => format!(
                "hosts with commas between them, such as memory,*.svc.cluster.local, or {NOTHING}"
            ),
            Self::Switch(_) => "true or false".into(),
            Self::Word(at) => format!("one of {}", at(config).words().join(", ")),
            Self::Filter(_) => format!(
                "one of {}, or filters such as hermes_server=debug,warn",
                LEVELS.join(", ")
            ),
            Self::Networks(_) => "networks such as 10.0.0.0/8,fd00::/8, or none".into(),
        }
    }

    /// The word for its values in a help text.
    pub(super) fn placeholder(&self) -> &'static str {
        match self {
            Self::Address(_) => "HOST:PORT",
            Self::Directory(_) => "DIR",
            Self::Time(..) => "DURATION",
            Self::Size(..) => "SIZE",
            Self::Count(..) => "N",
            Self::Switch(_) => "BOOL",
            Self::Word(_) => "WORD",
            Self::Filter(_) => "LEVEL",
            Self::File(_) => "FILE",
            Self::Hosts(_) => "HOSTS",
            Self::Networks(_) => "NETWORKS",
        }
    }

    /// Two values that differ from each other and that may be set, for tests of every setting.
    #[cfg(test)]
    pub(super) fn samples(&self, config: &mut Config) -> [String; 2] {
        let two = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        match self {
            Self::Address(_) => two("127.0.0.1:1", "[::1]:2"),
            Self::Directory(_) => two("a", "/b/c"),
            Self::Time(range, _) => [time(*range.start()), time(*range.end())],
            Self::Size(range, _) => [size(*range.start()), size(*range.end())],
            Self::Count(range, _) => [range.start().to_string(), range.end().to_string()],
            Self::Switch(_) => two("true", "false"),
            Self::Word(at) => {
                let words = at(config).words();
                two(words[0], words[1])
            }
            Self::Filter(_) => two("debug", "hermes_server=trace,warn"),
            Self::File(_) => two("a", "/b/c"),
            Self::Hosts(_) => two("memory", "memory,*.svc.cluster.local,10.0.0.7"),
            Self::Networks(_) => two("10.0.0.0/8", "192.168.7.1/32,fd00::/8"),
        }
    }
}

/// Networks, comma between them.
fn networks(networks: &[IpNet]) -> String {
    if networks.is_empty() {
        return NOTHING.into();
    }
    let texts: Vec<String> = networks.iter().map(ToString::to_string).collect();
    texts.join(",")
}

/// The same, read. An address alone is a network of its own.
fn parse_networks(text: &str) -> Option<Vec<IpNet>> {
    if text == NOTHING {
        return Some(Vec::new());
    }
    let network = |text: &str| {
        let alone = || text.parse::<IpAddr>().ok().map(IpNet::from);
        text.parse().ok().or_else(alone)
    };
    text.split(',').map(|text| network(text.trim())).collect()
}

/// A duration in the largest unit that shows it whole.
fn time(time: Duration) -> String {
    let millis = time.as_millis();
    match () {
        () if millis == 0 => "0s".into(),
        () if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        () if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        () if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        () => format!("{millis}ms"),
    }
}

/// A size in the largest unit that shows it whole.
fn size(bytes: u64) -> String {
    let whole = |(_, unit): &&(&str, u64)| bytes > 0 && bytes.is_multiple_of(*unit);
    match UNITS.iter().find(whole) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes, or a whole number of KiB, MiB or GiB.
fn parse_size(text: &str) -> Option<u64> {
    let with_unit = UNITS.iter().find_map(|(name, unit)| {
        let number = text.strip_suffix(name)?.trim_end();
        Some((number, *unit))
    });
    let (number, unit) = with_unit.unwrap_or((text, 1));
    let is_plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    number
        .parse::<u64>()
        .ok()
        .filter(|_| is_plain)?
        .checked_mul(unit)
}

/// Hosts with commas between them.
fn parse_hosts(text: &str) -> Option<Vec<HttpHost>> {
    if text == NOTHING {
        return Some(Vec::new());
    }
    let hosts = text.split(',').map(|host| HttpHost::parse(host.trim()));
    hosts.collect::<Result<_, _>>().ok()
}

/// The words that environment variables are given for yes and no.
fn parse_switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// A level, or `target=level`, or several of them.
fn is_filter(text: &str) -> bool {
    let is_level = |text: &str| LEVELS.contains(&text.to_ascii_lowercase().as_str());
    let is_target = |text: &str| {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b':';
        !text.is_empty() && text.bytes().all(fine)
    };
    text.split(',').map(str::trim).all(|directive| {
        // A lone word that is no level would be the name of a module, and silence the rest.
        match directive.split_once('=') {
            None => is_level(directive),
            Some((target, level)) => is_target(target) && is_level(level),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_shown() {
        for (text, bytes) in [
            ("0", 0),
            ("65537", 65_537),
            ("64KiB", 65_536),
            ("3MiB", 3 << 20),
            ("2GiB", 2 << 30),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
            assert_eq!(size(bytes), text);
        }
        assert_eq!(parse_size("64 KiB"), Some(65_536));
        for wrong in [
            "",
            "KiB",
            "-1",
            "+1",
            "1.5MiB",
            "64kb",
            "1 B",
            "99999999999GiB",
        ] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_are_shown_in_the_largest_whole_unit() {
        for (millis, text) in [
            (0, "0s"),
            (1_500, "1500ms"),
            (90_000, "90s"),
            (120_000, "2m"),
        ] {
            assert_eq!(time(Duration::from_millis(millis)), text);
        }
        assert_eq!(time(Duration::from_secs(86_400)), "24h");
    }

    #[test]
    fn a_filter_is_a_level_or_targets_with_levels() {
        for fine in [
            "info",
            "OFF",
            "hermes_server=debug,warn",
            "hermes_server::api=trace",
        ] {
            assert!(is_filter(fine), "{fine}");
        }
        for wrong in [
            "",
            "loud",
            "hermes_server",
            "a=loud",
            "=debug",
            "info,",
            "a b=info",
        ] {
            assert!(!is_filter(wrong), "{wrong}");
        }
    }
}
