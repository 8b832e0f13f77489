//! Hostile requests: hundreds of them, each with the status and code that it must get.
//!
//! The rows are made of what is wrong and of where it may stand, so that each fault is tried on each
//! road into the server. After each request the revision is what it was, and the server is well.
//! [`refusals`](crate::refusals) holds the finer points of single refusals.

use std::collections::BTreeSet;

use serde_json::json;

use crate::client::{Call, Client};
use crate::server::TestServer;

const A: &str = "/api/v1/services/web/endpoints/a";
const BEAT: &str = "/api/v1/services/web/endpoints/a/heartbeat";
const DRAIN: &str = "/api/v1/services/web/endpoints/a/drain";
const SELECT: &str = "/api/v1/services/web/select";
const BEATS: &str = "/api/v1/heartbeats";

/// Names that are none, as they stand in a URL.
const NAMES: &[&str] = &[
    "-",
    "--",
    "_",
    "-web",
    "web-",
    "_web",
    "web_",
    "we.b",
    "web.",
    ".web",
    "we%20b",
    "%20web",
    "web%20",
    "web%09",
    "web%0a",
    "web%0d%0aX:%201",
    "web%00",
    "%00",
    "w%C3%A9b",
    "%F0%9F%92%A5",
    "%EF%BB%BFweb",
    "web%E2%80%8B",
    "w%D0%B5b",
    "%FF%FE",
    "%C0%AF",
    "%ED%A0%80",
    "web%2F",
    "%2Fweb",
    "%2e%2e%2fweb",
    "..%2F..%2Fetc%2Fpasswd",
    "%5C..%5C",
    "web%3Fx",
    "web%23x",
    "web%25",
    "w%2565b",
    "web+",
    "a+b",
    "web;x",
    "web%3Bx",
    "web=1",
    "web,api",
    "web:80",
    "web@host",
    "~web",
    "!web",
    "$%7Bweb%7D",
    "%7B%7Bweb%7D%7D",
    "web'--",
    "%22web%22",
    "%3Cscript%3E",
    "%60id%60",
    "web%7Cid",
    "(web)",
    "[web]",
    "%5Bweb%5D",
    "0123456789012345678901234567890123456789012345678901234567890123",
];

/// Ids that are none, as they stand in a URL.
const IDS: &[&str] = &[
    "-a",
    ".a",
    "_a",
    ":a",
    "..",
    "a%20b",
    "%20",
    "a%00",
    "a%0a",
    "a%0d%0aX:%201",
    "a%2Fb",
    "%2e%2e%2fa",
    "a%5Cb",
    "%C3%A9",
    "a%E2%80%AE",
    "%F0%9F%92%A5",
    "%FF",
    "a%25",
    "a+b",
    "a;b",
    "a,b",
    "a=b",
    "a@b",
    "a~",
    "a!",
    "a*",
    "a'b",
    "a%22b",
    "%3Ca%3E",
    "a%7Cb",
    "%7Ba%7D",
    "a%60",
    "a%5E",
    "a$",
    "a&b",
    "(a)",
    "[a]",
    "a%23",
    "a%3F",
];

/// URLs that cannot be registered, as a JSON string would hold them.
const URLS: &[&str] = &[
    "",
    " ",
    "a",
    "a:80",
    "//a",
    "/a",
    "http:",
    "http:/a",
    "http:a",
    "http//a",
    "http://",
    "http:///",
    "http:///a",
    "http://:80",
    "http://?",
    "http://#",
    "://a",
    "1http://a",
    "ht tp://a",
    " http://a",
    "http://a ",
    "http://a b",
    "http://a\\t",
    "http://a\\n",
    "http://a\\r\\nX: 1",
    "http://a\\u0000",
    "http://a\\u007f",
    "http://\\u0430",
    "http://caf\\u00e9",
    "http://a\\u3002b",
    "http://a\\uff0eb",
    "http://\\uff41",
    "\\ufeffhttp://a",
    "ftp://a",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "data:text/plain,x",
    "gopher://a",
    "ws://a",
    "tcp://a:1",
    "unix:///run/x",
    "http+unix://a",
    "grpc://a:1",
    "HTTPX://a",
    "http://u@a",
    "http://u:p@a",
    "http://:@a",
    "http://@a",
    "http://a@b@c",
    "http://a%40b@c",
    "http://a?x",
    "http://a/?x=1",
    "http://a#f",
    "http://a/#",
    "http://a\\\\b",
    "http:\\\\\\\\a",
    "http://a/\\\"",
    "http://a/<b>",
    "http://a/{x}",
    "http://a/|",
    "http://a/^",
    "http://a/`",
    "http://a:",
    "http://a:0",
    "http://a:00",
    "http://a:080",
    "http://a:65536",
    "http://a:99999999999",
    "http://a:-1",
    "http://a:+80",
    "http://a:8 0",
    "http://a:80:80",
    "http://a:http",
    "http://a:0x50",
    "http://a:8e1",
    "http://a:80a",
    "http://[",
    "http://]",
    "http://[]",
    "http://[::1",
    "http://::1",
    "http://::1:80",
    "http://[::1]80",
    "http://[::1]x:80",
    "http://[::1%25lo]",
    "http://[fe80::1%lo]",
    "http://[:::1]",
    "http://[1:2:3:4:5:6:7:8:9]",
    "http://[12345::]",
    "http://[127.0.0.1]",
    "http://[::127.0.0.256]",
    "http://[a]",
    "http://[v1.x]",
    "http://[[::1]]",
    "http://127.1",
    "http://127.0.1",
    "http://0x7f.1",
    "http://0X7F.0X1",
    "http://0177.0.0.1",
    "http://2130706433",
    "http://0",
    "http://1.2.3.4.5",
    "http://256.0.0.1",
    "http://1.2.3.256",
    "http://1.2.3.04",
    "http://1..2",
    "http://.1",
    "http://1.",
    "http://a.0x1",
    "http://a.1",
    "http://.",
    "http://..",
    "http://a.",
    "http://.a",
    "http://a..b",
    "http://-a",
    "http://a-",
    "http://a.-b",
    "http://a-.b",
    "http://a_b-",
    "http://a%2eb",
    "http://%61",
    "http://a,b",
    "http://a;b",
    "http://a!b",
    "http://a$b",
    "http://a&b",
    "http://a'b",
    "http://(a)",
    "http://a*b",
    "http://*",
    "http://a+b",
    "http://a=b",
    "http://a~b",
];

/// What no whole number of a request is, as JSON.
const NUMBERS: &[&str] = &[
    "-1",
    "-0.5",
    "0.5",
    "1.5",
    "1e99",
    "-1e99",
    "99999999999999999999",
    "-99999999999999999999",
    "9007199254740993",
    "\"1\"",
    "\"\"",
    "\"one\"",
    "true",
    "false",
    "[]",
    "[1]",
    "{}",
    "1e-7",
];

/// What is no JSON at all.
const BROKEN: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"{]",
    b"{{}}",
    b"{}{}",
    b"{} x",
    b"{},",
    b"{\"a\"}",
    b"{\"a\":}",
    b"{\"a\":1,}",
    b"{,}",
    b"{\"a\":1 \"b\":2}",
    b"{\"a\" 1}",
    b"{a:1}",
    b"{'a':1}",
    b"{\"a\":'x'}",
    b"{\"a\":01}",
    b"{\"a\":+1}",
    b"{\"a\":.5}",
    b"{\"a\":1.}",
    b"{\"a\":1e}",
    b"{\"a\":0x1}",
    b"{\"a\":1e400}",
    b"{\"a\":NaN}",
    b"{\"a\":Infinity}",
    b"{\"a\":undefined}",
    b"{\"a\":True}",
    b"{\"a\":nul}",
    b"{\"a\":\"x}",
    b"{\"a\":\"\\x\"}",
    b"{\"a\":\"\\u12\"}",
    b"{\"a\":\"\\ud800\"}",
    b"{\"a\":\"\\udc00x\"}",
    b"{\"a\":\"\n\"}",
    b"{\"a\":\"\0\"}",
    b"{\"a\":\"\x01\"}",
    b"{\"a\":\"\xff\"}",
    b"{\"a\":\"\xc0\xaf\"}",
    b"{\"a\":\"\xed\xa0\x80\"}",
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\0}\0",
    b"\0",
    b"// x\n{}",
    b"/* x */{}",
    b"{}\0",
    b"#",
    b"<a/>",
    b"a=1&b=2",
    b"--x\r\n",
    b"\x1f\x8b\x08\0",
    b"%7B%7D",
];

/// JSON that is no object.
const SHAPES: &[&str] = &[
    "null", "true", "1", "-1.5", "\"x\"", "[]", "[{}]", "\"{}\"", "[[[]]]",
];

/// Where a body goes: method, path, and whether an empty object would do.
const ROADS: &[(&str, &str)] = &[
    ("PUT", A),
    ("POST", "/api/v1/services/web/endpoints"),
    ("PATCH", A),
    ("PUT", BEAT),
    ("PUT", DRAIN),
    ("POST", SELECT),
    ("POST", BEATS),
];

/// A request, and what it must get: the status, and the code if it comes as far as the API.
struct Row {
    bytes: Vec<u8>,
    status: u16,
    code: &'static str,
}

fn row(call: &Call, status: u16, code: &'static str) -> Row {
    Row {
        bytes: call.to_bytes(),
        status,
        code,
    }
}

fn with_body(method: &str, target: &str, body: impl Into<Vec<u8>>) -> Call {
    let media_type = if method == "PATCH" {
        "application/merge-patch+json"
    } else {
        "application/json"
    };
    Call::new(method, target).body(media_type, body)
}

fn names(rows: &mut Vec<Row>) {
    let registration = json!({"host": "h", "port": 1}).to_string();
    for name in NAMES {
        for (method, target) in [
            ("GET", format!("/api/v1/services/{name}")),
            ("DELETE", format!("/api/v1/services/{name}")),
            ("GET", format!("/api/v1/services/{name}/url")),
            ("PUT", format!("/api/v1/services/{name}/endpoints/a")),
            (
                "PUT",
                format!("/api/v1/services/{name}/endpoints/a/heartbeat"),
            ),
            ("POST", format!("/services/{name}?endpoint=http://h")),
        ] {
            let call = if target.ends_with("/endpoints/a") {
                with_body(method, &target, registration.clone())
            } else {
                Call::new(method, &target)
            };
            rows.push(row(&call, 400, "invalid_name"));
        }
        // In a query a plus is a space, and some characters have another meaning.
        if !name.contains(['&', '#', ';', '=']) {
            for target in [
                "/api/v1/services/web?namespace=",
                "/api/v1/watch?service=",
                "/api/v1/sd/prometheus?port=",
            ] {
                rows.push(row(
                    &Call::get(&format!("{target}{name}")),
                    400,
                    "invalid_name",
                ));
            }
        }
    }
    for id in IDS {
        let target = format!("/api/v1/services/web/endpoints/{id}");
        rows.push(row(&Call::get(&target), 400, "invalid_name"));
        rows.push(row(&Call::new("DELETE", &target), 400, "invalid_name"));
        rows.push(row(
            &with_body("PUT", &target, registration.clone()),
            400,
            "invalid_name",
        ));
        rows.push(row(
            &Call::new("PUT", &format!("{target}/heartbeat")),
            400,
            "invalid_name",
        ));
    }
}

fn addresses(rows: &mut Vec<Row>) {
    for url in URLS {
        let body = format!("{{\"url\": \"{url}\"}}");
        rows.push(row(
            &with_body("PUT", A, body.clone()),
            400,
            "invalid_field",
        ));
        rows.push(row(
            &with_body("POST", "/api/v1/services/new/endpoints", body),
            400,
            "invalid_field",
        ));
        // What is wrong about a host is wrong where it stands alone, too.
        let host = url
            .strip_prefix("http://")
            .filter(|host| !host.contains(['/', ']', '\\']));
        if let Some(host) = host.filter(|host| !host.starts_with(':')) {
            let body = format!("{{\"host\": \"{host}/\", \"port\": 80}}");
            rows.push(row(&with_body("PUT", A, body), 400, "invalid_field"));
        }
    }
}

fn numbers(rows: &mut Vec<Row>) {
    let within = |member: &str, number: &str| {
        format!(
            "{{\"host\": \"h\", \"port\": 1, {}}}",
            member.replace('?', number)
        )
    };
    for number in NUMBERS {
        let is_integer_there = *number == "9007199254740993";
        rows.push(row(
            &with_body("PUT", A, format!("{{\"host\": \"h\", \"port\": {number}}}")),
            400,
            "invalid_field",
        ));
        for member in [
            "\"weight\": ?",
            "\"ports\": {\"p\": ?}",
            "\"ports\": {\"p\": {\"port\": ?}}",
            "\"checks\": [{\"type\": \"tcp\", \"attempts\": ?}]",
            "\"checks\": [{\"type\": \"http\", \"expect_status\": [?]}]",
        ] {
            rows.push(row(
                &with_body("PUT", A, within(member, number)),
                400,
                "invalid_field",
            ));
        }
        rows.push(row(
            &with_body("PATCH", A, format!("{{\"weight\": {number}}}")),
            400,
            "invalid_field",
        ));
        rows.push(row(
            &with_body("POST", SELECT, format!("{{\"limit\": {number}}}")),
            400,
            "invalid_field",
        ));
        rows.push(row(
            &with_body("PUT", BEAT, format!("{{\"incarnation\": {number}}}")),
            400,
            "invalid_field",
        ));
        rows.push(row(
            &with_body(
                "POST",
                BEATS,
                format!("{{\"heartbeats\": {{\"web\": [[\"a\", {number}]]}}}}"),
            ),
            400,
            "invalid_field",
        ));
        let is_duration = matches!(*number, "1.5") || is_integer_there;
        if !is_duration {
            rows.push(row(
                &with_body("PUT", A, within("\"ttl\": ?", number)),
                400,
                "invalid_field",
            ));
        }
    }
}

fn parameters(rows: &mut Vec<Row>) {
    for text in [
        "-1",
        "1.5",
        "1e3",
        "0x10",
        "one",
        "",
        "%00",
        "18446744073709551616",
        "+1",
        "1%20",
        "%201",
        "%D9%A1",
    ] {
        for target in [
            "/api/v1/services?revision=",
            "/api/v1/services?limit=",
            "/api/v1/services/web?revision=",
            "/api/v1/watch?since=",
        ] {
            rows.push(row(
                &Call::get(&format!("{target}{text}")),
                400,
                "invalid_field",
            ));
        }
        rows.push(row(
            &Call::new("DELETE", &format!("{A}?incarnation={text}")),
            400,
            "invalid_field",
        ));
    }
    for text in [
        "-1",
        "301",
        "301s",
        "6m",
        "1h",
        "1d",
        "1e2",
        "nan",
        "inf",
        "",
        "s",
        "1.5s",
        "1%20s",
        "300001ms",
        "99999999999999999999s",
    ] {
        rows.push(row(
            &Call::get(&format!("/api/v1/services/web?wait={text}")),
            400,
            "invalid_field",
        ));
        rows.push(row(
            &Call::get(&format!("/api/v1/services/unknown/url?wait={text}")),
            400,
            "invalid_field",
        ));
    }
}

fn bodies(rows: &mut Vec<Row>) {
    let nested = |open: &str, close: &str, depth: usize| {
        format!("{}{}", open.repeat(depth), close.repeat(depth))
    };
    for (method, target) in ROADS {
        for body in BROKEN {
            rows.push(row(&with_body(method, target, *body), 400, "invalid_body"));
        }
        for body in SHAPES {
            rows.push(row(&with_body(method, target, *body), 400, "invalid_body"));
        }
        for body in [
            nested("[", "]", 17),
            nested("[", "]", 30_000),
            nested("{\"a\":", "}", 2_000),
            "[".repeat(60_000),
            "{\"a\":".repeat(10_000),
        ] {
            rows.push(row(&with_body(method, target, body), 400, "invalid_body"));
        }
        for body in [
            "{\"constructor\": 1}",
            "{\"__proto__\": {}}",
            "{\"\": 1}",
            "{\"\\u0000\": 1}",
            "{\"HOST\": 1}",
            "{\"$ref\": \"x\"}",
            "{\"a.b\": 1}",
            "{\"~/\": 1}",
        ] {
            // Where something is required, its absence is told first.
            let required = matches!(*target, "/api/v1/services/web/endpoints")
                || (*method, *target) == ("PUT", A);
            let code = if required {
                "invalid_field"
            } else {
                "unknown_field"
            };
            rows.push(row(&with_body(method, target, body), 400, code));
        }
        rows.push(row(
            &with_body(method, target, "{\"x\": 1, \"x\": 2}"),
            400,
            "invalid_field",
        ));
        rows.push(row(
            &with_body(method, target, "{\"x\": {\"y\": [], \"\\u0079\": []}}"),
            400,
            "invalid_field",
        ));
        for media_type in [
            "text/plain",
            "application/xml",
            "application/json, text/plain",
            "application/json+x",
            "*/*",
            "json",
        ] {
            rows.push(row(
                &Call::new(method, target).body(media_type, "{}"),
                415,
                "unsupported_media_type",
            ));
        }
        for encoding in ["gzip", "br", "deflate", "zstd", "x", "gzip, identity"] {
            let call = with_body(method, target, "{}").header("content-encoding", encoding);
            rows.push(row(&call, 415, "unsupported_media_type"));
        }
    }
}

fn targets(rows: &mut Vec<Row>) {
    for target in [
        "/",
        "//",
        "/.",
        "/..",
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v1/service",
        "/api/v1/services/",
        "/api/v1/services//",
        "/api/v1//services",
        "/api/v0/services",
        "/api/v1/services/web/",
        "/api/v1/services/web//url",
        "/api/v1/services/web/url/",
        "/api/v1/services/web/Url",
        "/api/v1/services/web/url;x",
        "/api/v1/services/web/url%00",
        "/api/v1/services/web/endpoints//heartbeat",
        "/api/v1/services/web/endpoints/a/heartbeat/",
        "/api/v1/services/web/endpoints/a/drain/x",
        "/api/v1/services/../../health/x/y/z",
        "/api/v1/watch/",
        "/api/v1/watch/x",
        "/api/v1/sd",
        "/api/v1/sd/consul",
        "/services/",
        "/services/web/",
        "/docs/../openapi.json",
        "/docs/page.js/",
        "/openapi.yaml",
        "/health/..",
        "/%68ealth",
        "/health%00",
        "/HEALTH",
        "/.git/config",
        "/wp-login.php",
        "/actuator/env",
        "/api/v1/../v1/services",
    ] {
        rows.push(row(&Call::get(target), 404, "route_unknown"));
    }
    for method in [
        "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "Get", "GETT", "PUT", "POST", "PATCH",
        "DELETE", "M-SEARCH", "PURGE", "X",
    ] {
        rows.push(row(
            &Call::new(method, "/health"),
            405,
            "method_not_allowed",
        ));
        rows.push(row(
            &Call::new(method, "/openapi.json"),
            405,
            "method_not_allowed",
        ));
    }
}

fn queries(rows: &mut Vec<Row>) {
    for query in [
        "x",
        "x=",
        "=",
        "=1",
        "%00=1",
        "namespace%20=default",
        "Namespace=default",
        "namespace[]=default",
        "NAMESPACE=x",
        "_=1",
        "callback=x",
        "%EF%BB%BFnamespace=x",
    ] {
        for path in [
            "/api/v1/services",
            "/api/v1/services/web",
            A,
            "/api/v1/watch",
            "/api/v1/sd/prometheus",
        ] {
            rows.push(row(
                &Call::get(&format!("{path}?{query}")),
                400,
                "unknown_field",
            ));
        }
    }
    for query in [
        "namespace=a&namespace=b",
        "namespace=a&namespace=a",
        "revision=1&revision=2",
        "wait=0&wait=1",
    ] {
        for path in ["/api/v1/services", "/api/v1/services/web", A] {
            rows.push(row(
                &Call::get(&format!("{path}?{query}")),
                400,
                "invalid_field",
            ));
        }
    }
    for cursor in [
        "x",
        "1",
        "1.a",
        "1.a.b.c",
        "-1.a.b",
        "1e3.a.b",
        "%00",
        "18446744073709551616.a.b",
        "..",
    ] {
        rows.push(row(
            &Call::get(&format!("/api/v1/services?cursor={cursor}")),
            400,
            "invalid_field",
        ));
    }
}

fn headers(rows: &mut Vec<Row>) {
    for id in [
        "x",
        "-1",
        "1.0",
        "",
        "18446744073709551616",
        "1, 2",
        "\"1\"",
    ] {
        rows.push(row(
            &Call::get("/api/v1/watch").header("last-event-id", id),
            400,
            "invalid_field",
        ));
    }
    for tag in [
        "*",
        "\"x\"",
        "W/",
        "W/\"",
        "",
        "W/\"0-0\"",
        "x, y",
        "W/\"0123456789abcdef-99999999999999999999\"",
    ] {
        if tag != "*" {
            rows.push(row(
                &with_body("PUT", A, json!({"host": "h", "port": 1}).to_string())
                    .header("if-match", tag),
                412,
                "precondition_failed",
            ));
            rows.push(row(
                &Call::new("DELETE", A).header("if-none-match", tag),
                400,
                "invalid_field",
            ));
        }
        rows.push(row(
            &Call::new("DELETE", "/api/v1/services/unknown").header("if-match", tag),
            412,
            "precondition_failed",
        ));
    }
}

/// A body that would be taken, if only its frame were right.
const BODY: &str = "{\"host\":\"h\",\"port\":1}";

/// Further headers of a PUT, with what follows its head.
const FRAMES: &[(&str, &str)] = &[
    ("content-length: 5\r\ncontent-length: 6", BODY),
    ("content-length: 5, 6", BODY),
    ("content-length: +21", BODY),
    ("content-length: -1", BODY),
    ("content-length: 0x15", BODY),
    ("content-length: 21.0", BODY),
    ("content-length: twenty", BODY),
    ("content-length: 99999999999999999999", BODY),
    ("content-length:", BODY),
    ("transfer-encoding: chunked, identity", BODY),
    ("transfer-encoding: gzip", BODY),
    ("transfer-encoding: xchunked", BODY),
    ("transfer-encoding: \"chunked\"", BODY),
    (
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "15\r\n{\"host\":\"h\",\"port\":1}\r\n0\r\n\r\n",
    ),
    ("transfer-encoding: chunked", "x\r\n{}\r\n0\r\n\r\n"),
    ("transfer-encoding: chunked", "-1\r\n{}\r\n0\r\n\r\n"),
    (
        "transfer-encoding: chunked",
        "0x15\r\n{\"host\":\"h\",\"port\":1}\r\n0\r\n\r\n",
    ),
    ("transfer-encoding: chunked", "ffffffffffffffffff\r\n{}"),
    (
        "transfer-encoding: chunked",
        "15\n{\"host\":\"h\",\"port\":1}\n0\n\n",
    ),
    (
        "transfer-encoding: chunked",
        "15\r\n{\"host\":\"h\",\"port\":1}XX0\r\n\r\n",
    ),
    (
        "transfer-encoding: chunked",
        "15\r\n{\"host\":\"h\",\"port\":1}\r\n",
    ),
    ("transfer-encoding: chunked", "15"),
    ("transfer-encoding : chunked", BODY),
    (" folded: x", BODY),
    ("x: 1\r\n folded", BODY),
    ("no colon", BODY),
    (": empty", BODY),
    ("bad name: 1", BODY),
    ("b\u{e9}d: 1", BODY),
    ("x: \0", BODY),
    ("x: a\rb", BODY),
    ("content-length: 21\nhost: x", "{"),
];

/// First lines that are none of a request.
const LINES: &[&str] = &[
    "GET /health",
    "GET /health HTTP/2.0",
    "GET /health HTTP/1.2",
    "GET /health HTTP/0.9",
    "GET /health http/1.1",
    "GET /health HTTP/1.1 x",
    "GET  /health HTTP/1.1 ",
    "GET\t/health HTTP/1.1",
    " GET /health HTTP/1.1",
    "/health",
    "GET /he alth HTTP/1.1",
    "GET /h\u{e9}alth\0 HTTP/1.1",
    "G\0T /health HTTP/1.1",
    "G(T /health HTTP/1.1",
    "HTTP/1.1 200 OK",
    "PRI * HTTP/2.0",
    "\u{16}\u{3}\u{1}",
    "SSH-2.0-x",
    "*1\r\n$4\r\nPING",
    "EHLO x",
    "{}",
    "GET \\health HTTP/1.1",
];

/// What is no HTTP, or is HTTP in two ways at once. The connection's end is answer enough.
fn framing() -> Vec<Vec<u8>> {
    let put = |(head, rest): &(&str, &str)| {
        format!("PUT {A} HTTP/1.1\r\nhost: h\r\n{head}\r\n\r\n{rest}").into_bytes()
    };
    let mut all: Vec<Vec<u8>> = FRAMES.iter().map(put).collect();
    all.extend(
        LINES
            .iter()
            .map(|line| format!("{line}\r\nhost: h\r\n\r\n").into_bytes()),
    );
    all.push(
        format!(
            "GET /health HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n",
            "x".repeat(20_000)
        )
        .into_bytes(),
    );
    all.push(format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "x".repeat(70_000)).into_bytes());
    all.push(format!("GET /health HTTP/1.1\r\n{}\r\n", "x: 1\r\n".repeat(1_000)).into_bytes());
    all.push(vec![0; 4_096]);
    all.push(vec![0xff; 4_096]);
    all
}

async fn with_web() -> (TestServer, Client, u64) {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.register("web", "a").await;
    let revision = client.revision().await;
    (server, client, revision)
}

#[tokio::test]
async fn hundreds_of_hostile_requests_are_refused_by_name_and_change_nothing() {
    let (server, mut client, revision) = with_web().await;
    let before = client.get(A).await.json();
    let mut rows = Vec::new();
    names(&mut rows);
    addresses(&mut rows);
    numbers(&mut rows);
    parameters(&mut rows);
    bodies(&mut rows);
    targets(&mut rows);
    queries(&mut rows);
    headers(&mut rows);
    let distinct: BTreeSet<&[u8]> = rows.iter().map(|row| &*row.bytes).collect();
    assert!(distinct.len() >= 500, "{} rows", distinct.len());
    let mut wrong = Vec::new();
    for row in &rows {
        let mut stranger = server.client().await;
        stranger.write(&row.bytes).await;
        let shown: String = String::from_utf8_lossy(&row.bytes)
            .chars()
            .take(300)
            .collect();
        let Some(answer) = stranger.answer("PUT").await else {
            wrong.push(format!("{shown}: no answer"));
            continue;
        };
        let code = if answer.body.is_empty() {
            String::new()
        } else {
            answer.json()["code"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        if (answer.status, code.as_str()) != (row.status, row.code) {
            wrong.push(format!(
                "{shown}\n  must be {} {}, but is {answer:?}",
                row.status, row.code
            ));
        }
        if client.revision().await != revision {
            wrong.push(format!("{shown}: it changed something"));
            break;
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
    assert_eq!(client.get(A).await.json(), before);
    assert_eq!(
        client.get("/api/v1/services?namespace=*").await.json()["services"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[tokio::test]
async fn what_is_framed_in_two_ways_is_believed_in_none() {
    let (server, mut client, revision) = with_web().await;
    let smuggled = format!("DELETE {A} HTTP/1.1\r\nhost: h\r\n\r\n");
    for bytes in framing() {
        for tail in ["", smuggled.as_str()] {
            let mut stranger = server.client().await;
            stranger.write(&bytes).await;
            // The server may have closed already, which is its good right.
            let rest =
                tokio::io::AsyncWriteExt::write_all(&mut stranger.stream, tail.as_bytes()).await;
            drop(rest);
            tokio::io::AsyncWriteExt::shutdown(&mut stranger.stream)
                .await
                .ok();
            let said = stranger.end().await;
            let said = String::from_utf8_lossy(&said).into_owned();
            let shown: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
            let statuses: Vec<&str> = said
                .match_indices("HTTP/1.1 ")
                .map(|(at, _)| &said[at + 9..at + 12])
                .collect();
            assert!(
                statuses.iter().all(|status| status.starts_with('4')),
                "{shown}: {statuses:?}"
            );
            assert_eq!(client.revision().await, revision, "{shown}");
        }
    }
    client.get(A).await.must_be(200);
}
