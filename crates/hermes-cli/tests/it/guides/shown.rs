//! Whether what a guide shows is what one sees.
//!
//! As strict as a page can promise to be: the words must be there, in order, line by line. Spaces
//! may differ (the width of a column depends on what is in it), `...` stands for anything within a
//! line, and a time, an age or a long hexadecimal number stands for any other of its kind. Lines
//! may stand between those that are shown.

use serde_json::Value;

/// The first line that is shown and not seen, if there is one.
pub(super) fn missing<'a>(shown: &'a [String], seen: &str) -> Option<&'a str> {
    let mut seen = seen.lines();
    let mut wanted = shown
        .iter()
        .map(|line| line.trim())
        .filter(|line| !line.is_empty());
    wanted.find(|line| !seen.any(|seen| is_line(line, seen)))
}

/// Whether some line that is seen is JSON as it is shown.
pub(super) fn is_json_seen(shown: &[String], seen: &str) -> bool {
    let shown: Value = serde_json::from_str(&shown.join("\n")).expect("a block of JSON is JSON");
    let values = seen.lines().filter_map(|line| {
        let begin = line.find(['{', '['])?;
        serde_json::from_str::<Value>(&line[begin..]).ok()
    });
    values.into_iter().any(|seen| is_value(&shown, &seen))
}

fn is_line(shown: &str, seen: &str) -> bool {
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    are_words(&words(shown), &words(seen))
}

fn are_words(shown: &[String], seen: &[String]) -> bool {
    match shown.split_first() {
        None => seen.is_empty(),
        Some((first, rest)) if first == "..." => {
            (0..=seen.len()).any(|skipped| are_words(rest, &seen[skipped..]))
        }
        // What stands for anything may stand for several words.
        Some((first, rest)) if first.contains("...") => (1..=seen.len()).any(|taken| {
            is_word(first, &seen[..taken].join(" ")) && are_words(rest, &seen[taken..])
        }),
        Some((first, rest)) => seen
            .split_first()
            .is_some_and(|(word, seen)| is_word(first, word) && are_words(rest, seen)),
    }
}

fn is_word(shown: &str, seen: &str) -> bool {
    if let Some((before, after)) = shown.split_once("...") {
        let Some(rest) = seen.strip_prefix(before) else {
            return false;
        };
        let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
        return ends.into_iter().any(|at| is_word(after, &rest[at..]));
    }
    let kind = kind(shown);
    shown == seen || kind.is_some() && kind == self::kind(seen)
}

/// What passes for another of its kind: a shape in which every digit is a `0`.
fn kind(word: &str) -> Option<String> {
    let bare = word.trim_matches(|c: char| "\"'`,;:.()".contains(c));
    let is_hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    if bare.len() >= 16 && bare.chars().all(is_hex) {
        return Some("hex".into());
    }
    let zero = |c: char| if c.is_ascii_digit() { '0' } else { c };
    let shape: String = bare.chars().map(zero).collect();
    let is_age = shape.ends_with(['s', 'm', 'h', 'd'])
        && shape.len() > 1
        && shape[..shape.len() - 1].chars().all(|c| c == '0');
    match shape.as_str() {
        "00:00:00Z" | "0000-00-00T00:00:00.000Z" => Some(shape),
        _ => is_age.then(|| "age".into()),
    }
}

/// Whether everything that is shown is seen; an object may have more members.
fn is_value(shown: &Value, seen: &Value) -> bool {
    match (shown, seen) {
        (Value::Object(shown), Value::Object(seen)) => shown
            .iter()
            .all(|(name, value)| seen.get(name).is_some_and(|seen| is_value(value, seen))),
        (Value::Array(shown), Value::Array(seen)) => {
            shown.len() == seen.len() && shown.iter().zip(seen).all(|(a, b)| is_value(a, b))
        }
        (Value::String(shown), _) if shown == "..." => true,
        (Value::String(shown), Value::String(seen)) => is_line(shown, seen),
        _ => shown == seen,
    }
}

#[test]
fn a_line_is_seen_when_its_words_are() {
    let same = [
        ("a  b", "a b"),
        ("18:05:03Z  web/a", "07:00:00Z web/a"),
        ("since 2s", "since 14s"),
        ("cluster 00000000000000ab", "cluster 1234567890abcdef"),
        (
            "registered ... http://h:1",
            "registered a in web at http://h:1",
        ),
        ("revision ...", "revision 7"),
        ("web-...", "web-1"),
        ("data: ...\"b\":...", "data: {\"a\":1,\"b\":\"c d\"}"),
    ];
    for (shown, seen) in same {
        assert!(is_line(shown, seen), "{shown} / {seen}");
    }
    let different = [
        ("a b", "a"),
        ("a", "a b"),
        ("port 9001", "port 9002"),
        ("18:05:03Z", "soon"),
        ("2s", "2x"),
        ("...\"b\":...", "{\"a\":1}"),
    ];
    for (shown, seen) in different {
        assert!(!is_line(shown, seen), "{shown} / {seen}");
    }
}

#[test]
fn lines_are_seen_in_order_with_others_between_them() {
    let shown = |lines: &[&str]| lines.iter().map(|&line| line.into()).collect::<Vec<_>>();
    let seen = "one\ntwo\nthree\n";
    assert_eq!(missing(&shown(&["one", "...", "three"]), seen), None);
    assert_eq!(missing(&shown(&["three", "one"]), seen), Some("one"));
}

#[test]
fn an_object_is_seen_with_all_that_is_shown_of_it() {
    let shown = vec![r#"{"a": [1, {"b": "..."}], "t": "2026-01-01T00:00:00.000Z"}"#.to_owned()];
    let seen = r#"{"t":"2027-02-03T04:05:06.789Z","a":[1,{"b":2,"c":3}],"d":4}"#;
    assert!(is_json_seen(&shown, &format!("talk\ndata: {seen}\n")));
    assert!(!is_json_seen(&shown, &seen.replace("[1", "[2")));
}
