//! The API document, held against everything that is answered here.
//!
//! The [`client`](crate::client) gives every answer it gets to [`check`]: its status, its code and its
//! members must be in the document, and nothing else may be. So each test of this crate is a test of
//! the document too. What is kept of JSON Schema is what the document uses, and read more strictly: a
//! member that is not listed is a fault.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use hermes_core::wire::problem::{code, status_and_title};
use serde_json::{Map, Value};

use crate::client::Response;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../src/api/docs/openapi.json");
    serde_json::from_str(text).expect("the document is JSON")
});

/// Asserts that an answer is one that the document speaks of.
pub(crate) fn check(method: &str, target: &str, answer: &Response) {
    let Some(operation) = operation(method, target) else {
        let status = answer.status;
        assert!(
            matches!(status, 404 | 405),
            "{method} {target} is not in the document, but answers {status}"
        );
        return;
    };
    let what = || format!("{method} {target}: {answer:?}");
    let responses = &operation["responses"];
    let response = follow(&responses[answer.status.to_string()]);
    assert!(
        response.is_object(),
        "{} is no documented status: {}",
        answer.status,
        what()
    );
    if method == "HEAD" || matches!(answer.status, 204 | 304) {
        return;
    }
    let content = &response["content"][answer.text("content-type")];
    assert!(content.is_object(), "no documented media type: {}", what());
    if answer.text("content-type").contains("json") {
        let faults = faults(&content["schema"], &answer.json());
        assert!(faults.is_empty(), "{faults:?}: {}", what());
    }
}

/// Asserts that `value` is what the document calls `name`, with no member beyond that.
pub(crate) fn check_named(name: &str, value: &Value) {
    let faults = faults(named(name), value);
    assert!(faults.is_empty(), "{name}: {faults:?}: {value}");
}

/// The members of what the document calls `name`.
pub(crate) fn members_of(name: &str) -> BTreeSet<String> {
    let (members, _) = members(named(name));
    members.keys().cloned().collect()
}

fn named(name: &str) -> &'static Value {
    let schema = &DOCUMENT["components"]["schemas"][name];
    assert!(schema.is_object(), "the document has no {name}");
    schema
}

/// The operation that a request is, if the document has it.
fn operation(method: &str, target: &str) -> Option<&'static Value> {
    let method = match method {
        "HEAD" | "GET" => "get",
        "PUT" => "put",
        "POST" => "post",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => return None,
    };
    let path: Vec<&str> = target.split('?').next()?.split('/').collect();
    let paths = DOCUMENT["paths"].as_object()?;
    let fits = |template: &str| {
        let steps: Vec<&str> = template.split('/').collect();
        let same = |(step, part): (&&str, &&str)| {
            step == part || step.starts_with('{') && !part.is_empty()
        };
        steps.len() == path.len() && steps.iter().zip(&path).all(same)
    };
    let (_, item) = paths.iter().find(|(template, _)| fits(template))?;
    item.get(method)
}

/// What a reference points to.
fn follow(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        None => value,
        Some(pointer) => {
            let found = DOCUMENT.pointer(pointer.trim_start_matches('#'));
            follow(found.expect("a reference points to something"))
        }
    }
}

/// What is wrong about `value`, each with the place where it is.
fn faults(schema: &'static Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    judge(schema, value, "", &mut found);
    found
}

fn judge(schema: &'static Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    let schema = follow(schema);
    if let Some(any) = schema["anyOf"].as_array() {
        let attempts = any.iter().map(|one| self::faults(one, value));
        let best = attempts.min_by_key(Vec::len).unwrap_or_default();
        faults.extend(best.into_iter().map(|fault| format!("{at}{fault}")));
        return;
    }
    let mut wrong = |what: &str| faults.push(format!("{at}: {what}: {value}"));
    if !has_type(&schema["type"], value) {
        wrong("another type is documented");
    }
    if schema.get("const").is_some_and(|only| only != value) {
        wrong("another value is documented");
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        wrong("not one of the documented words");
    }
    let number = value.as_f64().unwrap_or_default();
    let bound = |name: &str| schema[name].as_f64();
    if value.is_number()
        && (bound("minimum").is_some_and(|least| number < least)
            || bound("maximum").is_some_and(|most| number > most))
    {
        wrong("beyond its documented bounds");
    }
    match value {
        Value::Object(object) => judge_members(schema, object, at, faults),
        Value::Array(items) if schema["items"].is_object() => {
            for (n, item) in items.iter().enumerate() {
                judge(&schema["items"], item, &format!("{at}/{n}"), faults);
            }
        }
        _ => {}
    }
}

fn judge_members(
    schema: &'static Value,
    object: &Map<String, Value>,
    at: &str,
    faults: &mut Vec<String>,
) {
    let (known, required) = members(schema);
    for name in required.iter().filter(|name| !object.contains_key(**name)) {
        faults.push(format!("{at}/{name}: it is missing"));
    }
    let others = &schema["additionalProperties"];
    for (name, member) in object {
        let place = format!("{at}/{name}");
        for one in known.get(name).into_iter().flatten() {
            judge(one, member, &place, faults);
        }
        if known.contains_key(name) {
            continue;
        }
        if others.is_object() {
            judge(others, member, &place, faults);
        } else if !known.is_empty() {
            faults.push(format!("{place}: it is not in the document"));
        }
    }
}

type Members = std::collections::BTreeMap<String, Vec<&'static Value>>;

/// The members of an object with their schemas, and those that must be there; parts are laid together.
fn members(schema: &'static Value) -> (Members, BTreeSet<&'static str>) {
    let schema = follow(schema);
    let (mut known, mut required) = (Members::new(), BTreeSet::new());
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        known.entry(name.clone()).or_default().push(member);
    }
    let names = schema["required"].as_array().into_iter().flatten();
    required.extend(names.filter_map(Value::as_str));
    for part in schema["allOf"].as_array().into_iter().flatten() {
        let (more, needed) = members(part);
        for (name, schemas) in more {
            known.entry(name).or_default().extend(schemas);
        }
        required.extend(needed);
    }
    (known, required)
}

fn has_type(types: &Value, value: &Value) -> bool {
    let is = |word: &Value| match word.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        _ => false,
    };
    match types {
        Value::Null => true,
        Value::Array(words) => words.iter().any(is),
        word => is(word),
    }
}

/// Calls `look` with every object of the document that has a member `name`.
fn each_with(value: &'static Value, name: &str, look: &mut impl FnMut(&'static Value)) {
    if value.get(name).is_some() {
        look(value);
    }
    match value {
        Value::Object(members) => members
            .values()
            .for_each(|member| each_with(member, name, look)),
        Value::Array(items) => items.iter().for_each(|item| each_with(item, name, look)),
        _ => {}
    }
}

#[test]
fn every_reference_of_the_document_points_to_something() {
    each_with(&DOCUMENT, "$ref", &mut |value| {
        assert!(follow(value).is_object(), "{value}");
    });
}

#[test]
fn the_examples_of_the_document_are_what_they_are_examples_of() {
    let mut seen = 0;
    for (name, schema) in DOCUMENT["components"]["schemas"].as_object().unwrap() {
        for example in schema["examples"].as_array().into_iter().flatten() {
            assert_eq!(faults(schema, example), [""; 0], "{name}");
            seen += 1;
        }
    }
    each_with(
        &DOCUMENT["components"]["responses"],
        "example",
        &mut |content| {
            assert_eq!(faults(&content["schema"], &content["example"]), [""; 0]);
            seen += 1;
        },
    );
    assert!(seen > 30, "{seen} examples");
}

#[test]
fn the_document_knows_every_code_with_its_status_and_no_other() {
    let mut known = BTreeSet::new();
    for (name, response) in DOCUMENT["components"]["responses"].as_object().unwrap() {
        let problem = &response["content"]["application/problem+json"];
        let words = &problem["schema"]["allOf"][1]["properties"]["code"]["enum"];
        for word in words.as_array().into_iter().flatten() {
            let word = word.as_str().unwrap();
            let (status, title) = status_and_title(word);
            if problem["example"]["code"] == word {
                assert_eq!(problem["example"]["status"], status, "{name}");
                assert_eq!(problem["example"]["title"], title, "{name}");
            }
            known.insert((word, status));
        }
    }
    let all = code::ALL
        .iter()
        .map(|code| (*code, status_and_title(code).0));
    assert_eq!(known, all.collect());
}

#[test]
fn every_operation_says_what_it_is_and_which_way_it_may_end() {
    let mut ids = BTreeSet::new();
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if method == "parameters" {
                continue;
            }
            let id = operation["operationId"].as_str().unwrap_or_default();
            assert!(!id.is_empty() && ids.insert(id), "{method} {path}: {id:?}");
            let responses = operation["responses"].as_object().unwrap();
            // 431 is no answer of the API's: the request was never read.
            for (status, response) in responses.iter().filter(|(status, _)| *status != "431") {
                let response = follow(response);
                assert!(
                    response["headers"]["Hermes-Revision"].is_object(),
                    "{path} {status}"
                );
                let problem = &response["content"]["application/problem+json"];
                let words = &problem["schema"]["allOf"][1]["properties"]["code"]["enum"];
                for word in words.as_array().into_iter().flatten() {
                    let word = word.as_str().unwrap();
                    assert_eq!(
                        status_and_title(word).0.to_string(),
                        *status,
                        "{path} {word}"
                    );
                }
            }
            assert!(
                responses.keys().any(|status| status.starts_with('2')),
                "{method} {path}"
            );
            assert!(responses.contains_key("400"), "{method} {path}");
        }
    }
}
