//! Query parameters, read as strictly as bodies: an unknown one is an error with the nearest name.

use std::borrow::Cow;
use std::time::Duration;

use hermes_core::nearest::nearest;
use hermes_core::wire::fields::{invalid, parse_duration};
use hermes_core::wire::problem::{Problem, code};

/// The parameters of one request, being taken out.
#[derive(Debug, Default)]
pub(super) struct Query<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Query<'a> {
    pub(super) fn new(query: Option<&'a str>) -> Self {
        match query {
            None | Some("") => Self::default(),
            Some(query) => Self {
                pairs: form_urlencoded::parse(query.as_bytes()).collect(),
            },
        }
    }

    /// Whether nothing is left, or was ever there.
    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The first value of a parameter, which stays.
    pub(super) fn peek(&self, name: &str) -> Option<&str> {
        let mut pairs = self.pairs.iter();
        pairs
            .find(|(other, _)| other == name)
            .map(|(_, value)| &**value)
    }

    /// Takes every value of a parameter out.
    pub(super) fn all(&mut self, name: &str) -> Vec<Cow<'a, str>> {
        let mut values = Vec::new();
        self.pairs.retain_mut(|(other, value)| {
            let is_it = other == name;
            if is_it {
                values.push(std::mem::take(value));
            }
            !is_it
        });
        values
    }

    /// Takes a parameter out that may be given once.
    pub(super) fn one(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, Problem> {
        let is_it = |(other, _): &(Cow<'a, str>, Cow<'a, str>)| other == name;
        let Some(at) = self.pairs.iter().position(is_it) else {
            return Ok(None);
        };
        let (_, value) = self.pairs.remove(at);
        match self.all(name).len() {
            0 => Ok(Some(value)),
            more => {
                let what = format!("it is given {} times, once is enough", more + 1);
                Err(invalid(name, &what))
            }
        }
    }

    /// Takes a switch out: `true` or `false`; absent is false, and no value is true.
    pub(super) fn switch(&mut self, name: &str) -> Result<bool, Problem> {
        match self.one(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(other) => Err(invalid(
                name,
                &format!("{other:?} is neither true nor false"),
            )),
        }
    }

    /// Takes a whole number between `min` and `max` out.
    pub(super) fn integer(
        &mut self,
        name: &str,
        min: u64,
        max: u64,
    ) -> Result<Option<u64>, Problem> {
        let Some(text) = self.one(name)? else {
            return Ok(None);
        };
        let plain = text.bytes().all(|b| b.is_ascii_digit());
        let number = text
            .parse()
            .ok()
            .filter(|n| plain && (min..=max).contains(n));
        let wrong = || {
            invalid(
                name,
                &format!("{text:?} is not a whole number from {min} to {max}"),
            )
        };
        number.map(Some).ok_or_else(wrong)
    }

    /// Takes a duration of at most `max` out.
    pub(super) fn duration(
        &mut self,
        name: &str,
        max: Duration,
    ) -> Result<Option<Duration>, Problem> {
        let Some(text) = self.one(name)? else {
            return Ok(None);
        };
        let duration = parse_duration(&text).filter(|duration| *duration <= max);
        let wrong = || {
            let max = max.as_secs();
            invalid(
                name,
                &format!("{text:?} is not a duration such as 10 or 500ms, up to {max} s"),
            )
        };
        duration.map(Some).ok_or_else(wrong)
    }

    /// The end: nothing may be left. `known` are the parameters of this route, for the hint.
    pub(super) fn finish(self, known: &[&str]) -> Result<(), Problem> {
        let Some((name, _)) = self.pairs.first() else {
            return Ok(());
        };
        let near = nearest(name, known.iter().copied());
        let hint = match near.first() {
            Some(near) => format!("Did you mean `{near}`?"),
            None if known.is_empty() => "This route has none.".into(),
            None => format!("Known here: {}.", known.join(", ")),
        };
        let shown: String = name.chars().take(64).collect();
        let detail = format!("There is no parameter `{shown}` here. {hint}");
        let nearest = near.into_iter().map(Into::into).collect();
        Err(Problem {
            nearest,
            ..Problem::new(code::UNKNOWN_FIELD, detail).at(shown)
        })
    }
}
