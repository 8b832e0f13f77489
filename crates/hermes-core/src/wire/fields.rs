//! Reading JSON objects strictly, with errors that say where and what was expected.
//!
//! Members are taken out one by one; whatever is left at the end is unknown, and the error names the
//! known member that is nearest to it.

use std::borrow::Cow;
use std::time::Duration;

use super::json::depth_of;
use super::problem::{Problem, code};
use super::tree::{Json, Members, read_tree};
use crate::limits::BodyRules;
use crate::nearest::nearest;
use crate::time::whole_millis;

/// Members that most objects know.
const MEMBERS_TYPICAL: usize = 16;

/// The members of one JSON object, being taken out. Where one stands is only put together when there
/// is something wrong with it.
#[derive(Debug)]
pub struct Fields<'a> {
    members: Members<'a>,
    /// JSON pointer to the object; empty for the body itself.
    path: String,
    known: Vec<&'static str>,
    /// What the body may hold.
    pub(super) rules: BodyRules,
}

/// Reads a body that must be a JSON object.
///
/// # Errors
/// `invalid_body` when it is nested too deeply or is no JSON object, `invalid_field` when a member
/// stands twice.
pub fn read_object(body: &[u8]) -> Result<Fields<'_>, Problem> {
    read_object_under(body, BodyRules::default())
}

/// The same under other rules than the default.
pub(super) fn read_object_under(body: &[u8], rules: BodyRules) -> Result<Fields<'_>, Problem> {
    let max = rules.json_depth;
    // No text is nested more deeply than it has brackets, and most have few.
    let brackets = body.iter().filter(|byte| matches!(byte, b'{' | b'['));
    let depth = if brackets.count() > max {
        depth_of(body)
    } else {
        0
    };
    if depth > max {
        let detail = format!(
            "The JSON is nested {depth} levels deep; at most {max} are read. Send it flatter."
        );
        return Err(Problem::new(code::INVALID_BODY, detail));
    }
    Ok(Fields::of(read_tree(body)?, String::new())?.under(rules))
}

impl<'a> Fields<'a> {
    /// The members of `value`, which stands at `path` in the body.
    ///
    /// # Errors
    /// When it is not an object.
    pub fn of(value: Json<'a>, path: String) -> Result<Self, Problem> {
        match value {
            Json::Object(members) => Ok(Self {
                members,
                path,
                known: Vec::with_capacity(MEMBERS_TYPICAL),
                rules: BodyRules::default(),
            }),
            other if path.is_empty() => {
                let detail = format!(
                    "The body is {}; one JSON object is expected.",
                    kind_of(&other)
                );
                Err(Problem::new(code::INVALID_BODY, detail))
            }
            other => Err(expected(&path, "an object", &other)),
        }
    }

    /// The same members under other rules.
    pub(super) fn under(self, rules: BodyRules) -> Self {
        Self { rules, ..self }
    }

    /// Where a member stands, as a JSON pointer.
    #[must_use]
    pub fn pointer(&self, name: &str) -> String {
        pointer_to(&self.path, name)
    }

    /// Takes a member out; null is the same as absent.
    pub fn take(&mut self, name: &'static str) -> Option<Json<'a>> {
        self.take_or_null(name).filter(|value| *value != Json::Null)
    }

    /// Takes a member out that may be null.
    pub fn take_or_null(&mut self, name: &'static str) -> Option<Json<'a>> {
        self.known.push(name);
        let at = self.members.iter().position(|(found, _)| found == name)?;
        Some(self.members.swap_remove(at).1)
    }

    /// Takes a string out.
    ///
    /// # Errors
    /// When the member is something else.
    pub fn text(&mut self, name: &'static str) -> Result<Option<Cow<'a, str>>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(other) => Err(expected(&self.pointer(name), "a string", &other)),
        }
    }

    /// Takes a boolean out.
    ///
    /// # Errors
    /// When the member is something else.
    pub fn boolean(&mut self, name: &'static str) -> Result<Option<bool>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Json::Bool(value)) => Ok(Some(value)),
            Some(other) => Err(expected(&self.pointer(name), "true or false", &other)),
        }
    }

    /// Takes a whole number between `min` and `max` out.
    ///
    /// # Errors
    /// When the member is something else.
    pub fn integer(
        &mut self,
        name: &'static str,
        min: u64,
        max: u64,
    ) -> Result<Option<u64>, Problem> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        integer_of(&self.pointer(name), &value, min, max).map(Some)
    }

    /// Takes an object out, whatever its members.
    ///
    /// # Errors
    /// When the member is something else.
    pub fn object(&mut self, name: &'static str) -> Result<Option<Members<'a>>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Json::Object(members)) => Ok(Some(members)),
            Some(other) => Err(expected(&self.pointer(name), "an object", &other)),
        }
    }

    /// Takes a list out.
    ///
    /// # Errors
    /// When the member is something else, or has more than `max` items.
    pub fn list(
        &mut self,
        name: &'static str,
        max: usize,
    ) -> Result<Option<Vec<Json<'a>>>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Json::List(items)) if items.len() > max => {
                Err(too_many(&self.pointer(name), items.len(), max))
            }
            Some(Json::List(items)) => Ok(Some(items)),
            Some(other) => Err(expected(&self.pointer(name), "a list", &other)),
        }
    }

    /// Takes a word out that must be one of `words`.
    ///
    /// # Errors
    /// When it is another; the error names the nearest.
    pub fn word<T>(
        &mut self,
        name: &'static str,
        words: &[&str],
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(word) = self.text(name)? else {
            return Ok(None);
        };
        read(&word)
            .map(Some)
            .ok_or_else(|| unknown_word(&self.pointer(name), &word, words))
    }

    /// Takes a duration out that lies between `least` and `most`; `wrong` says so.
    ///
    /// # Errors
    /// When it is neither seconds nor a text such as `10s`, or lies elsewhere.
    pub fn duration(
        &mut self,
        name: &'static str,
        (least, most): (Duration, Duration),
        wrong: &str,
    ) -> Result<Option<Duration>, Problem> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let pointer = self.pointer(name);
        let duration = duration_of(&pointer, &value)?;
        if is_between(&value, duration, least, most) {
            Ok(Some(duration))
        } else {
            Err(invalid(&pointer, wrong))
        }
    }

    /// The end: nothing may be left.
    ///
    /// # Errors
    /// `unknown_field`, with the nearest known names.
    pub fn finish(self) -> Result<(), Problem> {
        // Always the same one, in whatever order they were taken.
        let Some(name) = self.members.iter().map(|(name, _)| &**name).min() else {
            return Ok(());
        };
        let near = nearest(name, self.known.iter().copied());
        let hint = match near.first() {
            Some(near) => format!("Did you mean `{near}`?"),
            None => format!("Known here: {}.", self.known.join(", ")),
        };
        let detail = format!("There is no member `{}` here. {hint}", shown(name));
        let nearest = near.into_iter().map(Into::into).collect();
        let problem = Problem::new(code::UNKNOWN_FIELD, detail).at(self.pointer(name));
        Err(Problem { nearest, ..problem })
    }
}

/// The JSON pointer (RFC 6901) to the member `name` of the object at `path`. A name that a caller
/// made very long is cut: the pointer is shown back.
#[must_use]
pub fn pointer_to(path: &str, name: &str) -> String {
    format!("{path}{}", segment(name))
}

/// One step of a JSON pointer, with its slash.
pub(super) fn segment(name: &str) -> String {
    format!("/{}", shown(name).replace('~', "~0").replace('/', "~1"))
}

/// `invalid_field` at `pointer`, with what is wrong about it.
#[must_use]
pub fn invalid(pointer: &str, what: &str) -> Problem {
    Problem::new(
        code::INVALID_FIELD,
        format!("`{pointer}` is wrong: {what}."),
    )
    .at(pointer)
}

/// `invalid_field`: something else was expected.
#[must_use]
pub fn expected(pointer: &str, what: &str, found: &Json<'_>) -> Problem {
    invalid(
        pointer,
        &format!("{what} is expected, but it is {}", kind_of(found)),
    )
}

/// `invalid_field`: a list or object has too many items.
#[must_use]
pub fn too_many(pointer: &str, found: usize, max: usize) -> Problem {
    let problem = invalid(
        pointer,
        &format!("it has {found} items, at most {max} are allowed"),
    );
    let limit = super::problem::ProblemLimit {
        what: pointer.into(),
        max,
    };
    Problem {
        limit: Some(limit),
        ..problem
    }
}

/// `invalid_field`: a word that is not one of `words`.
#[must_use]
pub fn unknown_word(pointer: &str, word: &str, words: &[&str]) -> Problem {
    let near = nearest(word, words.iter().copied());
    let what = format!("`{}` is not one of {}", shown(word), words.join(", "));
    Problem {
        nearest: near.into_iter().map(Into::into).collect(),
        ..invalid(pointer, &what)
    }
}

/// The items of the list at `pointer` as strings.
///
/// # Errors
/// When one of them is something else.
pub fn strings_of(pointer: &str, items: Vec<Json<'_>>) -> Result<Vec<String>, Problem> {
    let string = |(at, item)| match item {
        Json::Text(text) => Ok(text.into_owned()),
        other => Err(expected(&format!("{pointer}/{at}"), "a string", &other)),
    };
    items.into_iter().enumerate().map(string).collect()
}

/// The whole number `value`.
///
/// # Errors
/// When it is something else, or outside `min` to `max`.
pub fn integer_of(pointer: &str, value: &Json<'_>, min: u64, max: u64) -> Result<u64, Problem> {
    let what = || format!("a whole number from {min} to {max}");
    let number = whole(value).ok_or_else(|| expected(pointer, &what(), value))?;
    let wrong = || {
        invalid(
            pointer,
            &format!("{} is expected, but it is {number}", what()),
        )
    };
    (min..=max)
        .contains(&number)
        .then_some(number)
        .ok_or_else(wrong)
}

/// The whole number that `value` is: 12, and 12.0 too, because JSON has only one kind of number and
/// some languages write all of theirs with a point.
pub(super) fn whole(value: &Json<'_>) -> Option<u64> {
    let Json::Number(number) = value else {
        return None;
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked beside it"
    )]
    let of_float = |number: f64| {
        let is_exact = number.fract() == 0.0 && (0.0..=9_007_199_254_740_991.0).contains(&number);
        is_exact.then_some(number as u64)
    };
    number.as_u64().or_else(|| of_float(number.as_f64()?))
}

/// Whether the duration that `value` says lies between both, to the last digit.
#[must_use]
pub fn is_between(value: &Json<'_>, duration: Duration, least: Duration, most: Duration) -> bool {
    let seconds = value.as_f64().unwrap_or(duration.as_secs_f64());
    (least.as_secs_f64()..=most.as_secs_f64()).contains(&seconds)
}

/// The duration `value`: seconds as a number, or a whole number with `ms`, `s`, `m` or `h`.
///
/// # Errors
/// When it is neither.
pub fn duration_of(pointer: &str, value: &Json<'_>) -> Result<Duration, Problem> {
    const WHAT: &str = "a duration (seconds as a number, or a text such as 500ms, 10s, 5m, 24h)";
    let duration = match value {
        Json::Number(number) => number.as_f64().and_then(of_seconds),
        // A text has a unit; a bare number is written as one.
        Json::Text(text) if text.ends_with(|c: char| c.is_ascii_alphabetic()) => {
            parse_duration(text)
        }
        _ => None,
    };
    duration.ok_or_else(|| expected(pointer, WHAT, value))
}

/// Reads a duration: seconds, fractions allowed (`1.5`), or `^[0-9]+(ms|s|m|h)$`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let scaled = |millis: u64| {
        Some(Duration::from_millis(
            number.parse::<u64>().ok()?.checked_mul(millis)?,
        ))
    };
    match unit {
        "ms" => scaled(1),
        "s" => scaled(1_000),
        "m" => scaled(60_000),
        "h" => scaled(3_600_000),
        _ => {
            let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            let seconds = text.parse::<f64>().ok().filter(|_| plain)?;
            of_seconds(seconds)
        }
    }
}

/// A duration in whole milliseconds, which is how it is kept: rounded up, so that what is above zero
/// stays above zero.
fn of_seconds(seconds: f64) -> Option<Duration> {
    let duration = Duration::try_from_secs_f64(seconds).ok()?;
    let least = u64::from(seconds > 0.0);
    Some(Duration::from_millis(whole_millis(duration).max(least)))
}

/// What kind of JSON value it is, for messages.
fn kind_of(value: &Json<'_>) -> String {
    match value {
        Json::Null => "null".into(),
        Json::Bool(value) => value.to_string(),
        Json::Number(number) => number.to_string(),
        Json::Text(text) => format!("the string {:?}", shown(text)),
        Json::List(_) => "a list".into(),
        Json::Object(_) => "an object".into(),
    }
}

/// A text of the caller's, short enough to be shown back.
fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 64;
    if text.chars().count() <= SHOWN_MAX {
        return text.into();
    }
    text.chars().take(SHOWN_MAX).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_member_is_refused_with_the_nearest_known_one() {
        let mut fields = read_object(br#"{"wieght": 5}"#).unwrap();
        assert_eq!(fields.integer("weight", 0, 10).unwrap(), None);
        let problem = fields.finish().unwrap_err();
        assert_eq!(
            (problem.code.as_str(), problem.field.as_deref()),
            ("unknown_field", Some("/wieght"))
        );
        assert_eq!(problem.nearest, ["weight"]);
    }

    #[test]
    fn durations_come_in_two_forms() {
        let cases = [
            ("10", Some(10_000)),
            ("1.5", Some(1_500)),
            ("1.00025", Some(1_001)),
            ("0.0000000000001", Some(1)),
            ("250ms", Some(250)),
            ("2m", Some(120_000)),
            ("24h", Some(86_400_000)),
            ("", None),
            ("s", None),
            ("-1", None),
            ("1e3", None),
            ("1.5s", None),
            ("99999999999999999999h", None),
            ("inf", None),
        ];
        for (text, millis) in cases {
            assert_eq!(
                parse_duration(text),
                millis.map(Duration::from_millis),
                "{text:?}"
            );
        }
    }

    #[test]
    fn depth_is_looked_at_before_parsing() {
        assert_eq!(depth_of(br#"{"a": [{"b": "[[[["}]}"#), 3);
        assert_eq!(depth_of(br#"{"a\"[[": "\\"}"#), 1);
        let deep = "[".repeat(100_000);
        assert_eq!(
            read_object(deep.as_bytes()).unwrap_err().code,
            "invalid_body"
        );
    }
}
