//! Refusals: one table of what is not taken, and how each refusal says what is wrong.
//!
//! The form of every problem document is checked by the client. What a row names is what a program
//! goes by: the status, the code, and the member or parameter that is wrong.

use serde_json::{Value, json};

use crate::client::{Call, Client};
use crate::server::TestServer;
use crate::shape::texts;

const A: &str = "/api/v1/services/web/endpoints/a";
const BEAT: &str = "/api/v1/services/web/endpoints/a/heartbeat";
const DRAIN: &str = "/api/v1/services/web/endpoints/a/drain";
const SELECT: &str = "/api/v1/services/web/select";
const BEATS: &str = "/api/v1/heartbeats";

/// One request that is refused.
#[derive(Debug)]
struct Row {
    call: Call,
    status: u16,
    code: &'static str,
    /// What the problem document names as wrong, if anything.
    field: Option<String>,
    nearest: Option<&'static str>,
}

/// A body of a registration: the code, and the member that is wrong.
const REGISTRATIONS: &[(&str, &str, &str)] = &[
    ("", "invalid_body", ""),
    ("{", "invalid_body", ""),
    ("[]", "invalid_body", ""),
    ("null", "invalid_body", ""),
    ("\"http://a\"", "invalid_body", ""),
    ("{\"host\": \"a\", \"port\": 1} {}", "invalid_body", ""),
    ("{\"host\": \"\u{0}\"}", "invalid_body", ""),
    ("{'host': 'a'}", "invalid_body", ""),
    (
        r#"{"host": "a", "port": 1, "host": "b"}"#,
        "invalid_field",
        "/host",
    ),
    (
        r#"{"host": "a", "port": 1, "metadata": {"x": [{"y": 1, "y": 1}]}}"#,
        "invalid_field",
        "/metadata/x/0/y",
    ),
    ("{}", "invalid_field", "/url"),
    (r#"{"port": 80}"#, "invalid_field", "/url"),
    (r#"{"host": "a"}"#, "invalid_field", "/port"),
    (r#"{"host": "a", "port": 0}"#, "invalid_field", "/port"),
    (r#"{"host": "a", "port": 65536}"#, "invalid_field", "/port"),
    (r#"{"host": "a", "port": -1}"#, "invalid_field", "/port"),
    (r#"{"host": "a", "port": 80.5}"#, "invalid_field", "/port"),
    (r#"{"host": "a", "port": "80"}"#, "invalid_field", "/port"),
    (r#"{"host": 7, "port": 80}"#, "invalid_field", "/host"),
    (r#"{"host": "", "port": 80}"#, "invalid_field", "/host"),
    (r#"{"host": "a b", "port": 80}"#, "invalid_field", "/host"),
    (r#"{"host": "a..b", "port": 80}"#, "invalid_field", "/host"),
    (r#"{"host": "-a", "port": 80}"#, "invalid_field", "/host"),
    (r#"{"host": "127.1", "port": 80}"#, "invalid_field", "/host"),
    (
        r#"{"host": "0x7f.0x1", "port": 80}"#,
        "invalid_field",
        "/host",
    ),
    (r#"{"host": "[::1", "port": 80}"#, "invalid_field", "/host"),
    (
        r#"{"host": "fe80::1%eth0", "port": 80}"#,
        "invalid_field",
        "/host",
    ),
    (r#"{"host": "a:80", "port": 80}"#, "invalid_field", "/host"),
    (
        r#"{"host": "a", "port": 80, "scheme": "h t"}"#,
        "invalid_field",
        "/scheme",
    ),
    (
        r#"{"host": "a", "port": 80, "scheme": "1x"}"#,
        "invalid_field",
        "/scheme",
    ),
    (
        r#"{"host": "a", "port": 80, "scheme": true}"#,
        "invalid_field",
        "/scheme",
    ),
    (r#"{"url": 1}"#, "invalid_field", "/url"),
    (r#"{"url": ""}"#, "invalid_field", "/url"),
    (r#"{"url": "a:80"}"#, "invalid_field", "/url"),
    (r#"{"url": "ftp://a"}"#, "invalid_field", "/url"),
    (r#"{"url": "javascript:alert(1)"}"#, "invalid_field", "/url"),
    (r#"{"url": "http://"}"#, "invalid_field", "/url"),
    (r#"{"url": "http://u:p@a"}"#, "invalid_field", "/url"),
    (r#"{"url": "http://a?x=1"}"#, "invalid_field", "/url"),
    (r##"{"url": "http://a#x"}"##, "invalid_field", "/url"),
    (r#"{"url": "http://a:0"}"#, "invalid_field", "/url"),
    (r#"{"url": "http://a:99999"}"#, "invalid_field", "/url"),
    (r#"{"url": "http://a:+80"}"#, "invalid_field", "/url"),
    (r#"{"url": "http://::1:80"}"#, "invalid_field", "/url"),
    (r#"{"url": "http://a\\b"}"#, "invalid_field", "/url"),
    (r#"{"url": "http://a\nb"}"#, "invalid_field", "/url"),
    (r#"{"url": "http://caf\u00e9"}"#, "invalid_field", "/url"),
    (
        r#"{"url": "http://a", "host": "b"}"#,
        "invalid_field",
        "/url",
    ),
    (
        r#"{"url": "http://a", "port": 81}"#,
        "invalid_field",
        "/url",
    ),
    (
        r#"{"url": "http://a", "scheme": "https"}"#,
        "invalid_field",
        "/url",
    ),
];

/// Further members of a registration that is right but for them.
const MEMBERS: &[(&str, &str, &str)] = &[
    (r#""ttl": 0"#, "invalid_field", "/ttl"),
    (r#""ttl": 0.999"#, "invalid_field", "/ttl"),
    (r#""ttl": "999ms""#, "invalid_field", "/ttl"),
    (r#""ttl": -1"#, "invalid_field", "/ttl"),
    (r#""ttl": 86401"#, "invalid_field", "/ttl"),
    (r#""ttl": "25h""#, "invalid_field", "/ttl"),
    (r#""ttl": "1.5s""#, "invalid_field", "/ttl"),
    (r#""ttl": "ten""#, "invalid_field", "/ttl"),
    (r#""ttl": true"#, "invalid_field", "/ttl"),
    (r#""ttl": 1e300"#, "invalid_field", "/ttl"),
    (r#""ports": []"#, "invalid_field", "/ports"),
    (r#""ports": {"x": 0}"#, "invalid_field", "/ports/x"),
    (r#""ports": {"x": "80"}"#, "invalid_field", "/ports/x"),
    (r#""ports": {"x": {}}"#, "invalid_field", "/ports/x"),
    (
        r#""ports": {"x": {"port": 0}}"#,
        "invalid_field",
        "/ports/x/port",
    ),
    (
        r#""ports": {"x": {"port": 1, "scheme": "?"}}"#,
        "invalid_field",
        "/ports/x/scheme",
    ),
    (
        r#""ports": {"x": {"port": 1, "host": "b"}}"#,
        "unknown_field",
        "/ports/x/host",
    ),
    (
        r#""ports": {"no name": 1}"#,
        "invalid_field",
        "/ports/no name",
    ),
    (r#""ports": {"main": 81}"#, "invalid_field", "/ports/main"),
    (r#""metadata": []"#, "invalid_field", "/metadata"),
    (r#""metadata": "x""#, "invalid_field", "/metadata"),
    (r#""tags": {}"#, "invalid_field", "/tags"),
    (r#""tags": "x""#, "invalid_field", "/tags"),
    (r#""tags": ["x", 1]"#, "invalid_field", "/tags/1"),
    (r#""tags": ["x", null]"#, "invalid_field", "/tags/1"),
    (r#""tags": [""]"#, "invalid_field", "/tags/0"),
    (r#""zone": """#, "invalid_field", "/zone"),
    (r#""zone": 1"#, "invalid_field", "/zone"),
    (r#""weight": -1"#, "invalid_field", "/weight"),
    (r#""weight": 65536"#, "invalid_field", "/weight"),
    (r#""weight": 1.5"#, "invalid_field", "/weight"),
    (r#""environment": "mars""#, "invalid_field", "/environment"),
    (r#""environment": 1"#, "invalid_field", "/environment"),
    (
        r#""initial_health": "sick""#,
        "invalid_field",
        "/initial_health",
    ),
    (r#""checks": {}"#, "invalid_field", "/checks"),
    (r#""checks": ["http"]"#, "invalid_field", "/checks/0"),
    (r#""checks": [{}]"#, "invalid_field", "/checks/0/type"),
    (
        r#""checks": [{"type": "script"}]"#,
        "invalid_field",
        "/checks/0/type",
    ),
    (
        r#""checks": [{"type": "grpc"}]"#,
        "invalid_field",
        "/checks/0/type",
    ),
    (
        r#""checks": [{"type": "tcp", "interval": 0.5}]"#,
        "invalid_field",
        "/checks/0/interval",
    ),
    (
        r#""checks": [{"type": "tcp", "timeout": 0}]"#,
        "invalid_field",
        "/checks/0/timeout",
    ),
    (
        r#""checks": [{"type": "tcp", "timeout": 31}]"#,
        "invalid_field",
        "/checks/0/timeout",
    ),
    (
        r#""checks": [{"type": "tcp", "attempts": 0}]"#,
        "invalid_field",
        "/checks/0/attempts",
    ),
    (
        r#""checks": [{"type": "tcp", "rise": 0}]"#,
        "invalid_field",
        "/checks/0/rise",
    ),
    (
        r#""checks": [{"type": "tcp", "fall": "x"}]"#,
        "invalid_field",
        "/checks/0/fall",
    ),
    (
        r#""checks": [{"type": "tcp", "grace": -1}]"#,
        "invalid_field",
        "/checks/0/grace",
    ),
    (
        r#""checks": [{"type": "tcp", "dry_run": 1}]"#,
        "invalid_field",
        "/checks/0/dry_run",
    ),
    (
        r#""checks": [{"type": "tcp", "port": "x"}]"#,
        "invalid_field",
        "/checks/0/port",
    ),
    (
        r#""checks": [{"type": "tcp"}, {"type": "tcp"}]"#,
        "invalid_field",
        "/checks/1",
    ),
    (
        r#""checks": [{"type": "http", "path": "x"}]"#,
        "invalid_field",
        "/checks/0/path",
    ),
    (
        r#""checks": [{"type": "http", "path": "/a b"}]"#,
        "invalid_field",
        "/checks/0/path",
    ),
    (
        r#""checks": [{"type": "http", "method": "PUT"}]"#,
        "invalid_field",
        "/checks/0/method",
    ),
    (
        r#""checks": [{"type": "http", "expect_status": [99]}]"#,
        "invalid_field",
        "/checks/0/expect_status/0",
    ),
    (
        r#""checks": [{"type": "http", "expect_status": ["6xx"]}]"#,
        "invalid_field",
        "/checks/0/expect_status/0",
    ),
    (
        r#""checks": [{"type": "tcp", "path": "/x"}]"#,
        "unknown_field",
        "/checks/0/path",
    ),
    (
        r#""checks": [{"type": "http", "url": "http://x"}]"#,
        "unknown_field",
        "/checks/0/url",
    ),
];

/// Members that are not known, with the one that was meant.
const MISSPELT: &[(&str, &str, &str, &str, &str)] = &[
    (
        "PUT",
        A,
        r#"{"host": "a", "port": 1, "wieght": 1}"#,
        "/wieght",
        "weight",
    ),
    (
        "PUT",
        A,
        r#"{"host": "a", "port": 1, "check": []}"#,
        "/check",
        "checks",
    ),
    (
        "PUT",
        A,
        r#"{"host": "a", "port": 1, "tag": []}"#,
        "/tag",
        "tags",
    ),
    (
        "PUT",
        A,
        r#"{"host": "a", "port": 1, "TTL": 1}"#,
        "/TTL",
        "",
    ),
    (
        "PUT",
        A,
        r#"{"host": "a", "port": 1, "a/b~c": 1}"#,
        "/a~1b~0c",
        "",
    ),
    (
        "PUT",
        A,
        r#"{"host": "a", "port": 1, "checks": [{"type": "tcp", "intervall": 1}]}"#,
        "/checks/0/intervall",
        "interval",
    ),
    ("PATCH", A, r#"{"metdata": {}}"#, "/metdata", "metadata"),
    ("PATCH", A, r#"{"host": "b"}"#, "/host", ""),
    (
        "PUT",
        BEAT,
        r#"{"helth_status": "healthy"}"#,
        "/helth_status",
        "health_status",
    ),
    ("PUT", BEAT, r#"{"lod": 1}"#, "/lod", "load"),
    ("PUT", DRAIN, r#"{"resaon": "x"}"#, "/resaon", "reason"),
    ("POST", SELECT, r#"{"polcy": "random"}"#, "/polcy", "policy"),
    (
        "POST",
        BEATS,
        r#"{"heartbeat": {}}"#,
        "/heartbeat",
        "heartbeats",
    ),
];

/// Other bodies that are wrong.
const BODIES: &[(&str, &str, &str, &str, &str)] = &[
    ("PATCH", A, "", "invalid_body", ""),
    ("PATCH", A, "[]", "invalid_body", ""),
    ("PATCH", A, r#"{"weight": "x"}"#, "invalid_field", "/weight"),
    (
        "PATCH",
        A,
        r#"{"tags": ["x", 1]}"#,
        "invalid_field",
        "/tags/1",
    ),
    ("PATCH", A, r#"{"zone": ""}"#, "invalid_field", "/zone"),
    (
        "PATCH",
        A,
        r#"{"metadata": 1}"#,
        "invalid_field",
        "/metadata",
    ),
    ("PUT", BEAT, "x", "invalid_body", ""),
    ("PUT", BEAT, "[]", "invalid_body", ""),
    (
        "PUT",
        BEAT,
        r#"{"incarnation": 0}"#,
        "invalid_field",
        "/incarnation",
    ),
    (
        "PUT",
        BEAT,
        r#"{"incarnation": "1"}"#,
        "invalid_field",
        "/incarnation",
    ),
    (
        "PUT",
        BEAT,
        r#"{"health_status": "critical"}"#,
        "invalid_field",
        "/health_status",
    ),
    ("PUT", BEAT, r#"{"load": -1}"#, "invalid_field", "/load"),
    ("PUT", BEAT, r#"{"load": "high"}"#, "invalid_field", "/load"),
    ("PUT", BEAT, r#"{"note": 1}"#, "invalid_field", "/note"),
    (
        "PUT",
        DRAIN,
        r#"{"sticky": "yes"}"#,
        "invalid_field",
        "/sticky",
    ),
    ("PUT", DRAIN, r#"{"reason": 5}"#, "invalid_field", "/reason"),
    ("POST", SELECT, "[]", "invalid_body", ""),
    (
        "POST",
        SELECT,
        r#"{"policy": "best"}"#,
        "invalid_field",
        "/policy",
    ),
    (
        "POST",
        SELECT,
        r#"{"policy": "rendezvous"}"#,
        "invalid_field",
        "/key",
    ),
    ("POST", SELECT, r#"{"limit": 0}"#, "invalid_field", "/limit"),
    (
        "POST",
        SELECT,
        r#"{"limit": 101}"#,
        "invalid_field",
        "/limit",
    ),
    ("POST", SELECT, r#"{"tags": "x"}"#, "invalid_field", "/tags"),
    (
        "POST",
        SELECT,
        r#"{"metadata": []}"#,
        "invalid_field",
        "/metadata",
    ),
    (
        "POST",
        SELECT,
        r#"{"zone_strict": true}"#,
        "invalid_field",
        "/zone",
    ),
    (
        "POST",
        SELECT,
        r#"{"environment": "moon"}"#,
        "invalid_field",
        "/environment",
    ),
    (
        "POST",
        SELECT,
        r#"{"exclude": [1]}"#,
        "invalid_field",
        "/exclude/0",
    ),
    (
        "POST",
        SELECT,
        r#"{"port": "a b"}"#,
        "invalid_field",
        "/port",
    ),
    (
        "POST",
        SELECT,
        r#"{"fallback": "all"}"#,
        "invalid_field",
        "/fallback",
    ),
    (
        "POST",
        SELECT,
        r#"{"explain": 1}"#,
        "invalid_field",
        "/explain",
    ),
    ("POST", BEATS, "", "invalid_body", ""),
    ("POST", BEATS, "{}", "invalid_field", "/heartbeats"),
    (
        "POST",
        BEATS,
        r#"{"heartbeats": []}"#,
        "invalid_field",
        "/heartbeats",
    ),
    (
        "POST",
        BEATS,
        r#"{"heartbeats": {"web": "a"}}"#,
        "invalid_field",
        "/heartbeats/web",
    ),
    (
        "POST",
        BEATS,
        r#"{"heartbeats": {"web": [1]}}"#,
        "invalid_field",
        "/heartbeats/web",
    ),
    (
        "POST",
        BEATS,
        r#"{"heartbeats": {"web": [["a"]]}}"#,
        "invalid_field",
        "/heartbeats/web",
    ),
    (
        "POST",
        BEATS,
        r#"{"heartbeats": {"web": [["a", 0]]}}"#,
        "invalid_field",
        "/heartbeats/web",
    ),
    (
        "POST",
        BEATS,
        r#"{"heartbeats": {"web": [["a", 1, 2]]}}"#,
        "invalid_field",
        "/heartbeats/web",
    ),
];

/// Names and ids that break their grammar.
const NAMES: &[(&str, &str, &str)] = &[
    ("GET", "/api/v1/services/-web", "name"),
    ("GET", "/api/v1/services/web-", "name"),
    ("GET", "/api/v1/services/web_", "name"),
    ("GET", "/api/v1/services/we.b", "name"),
    ("GET", "/api/v1/services/we%20b", "name"),
    ("GET", "/api/v1/services/w%C3%A9b", "name"),
    ("GET", "/api/v1/services/web%2Furl", "name"),
    ("GET", "/api/v1/services/..%2Fweb", "name"),
    ("GET", "/api/v1/services/web%00", "name"),
    ("GET", "/api/v1/services/..", "name"),
    ("GET", "/api/v1/services/*", "name"),
    (
        "GET",
        "/api/v1/services/0123456789012345678901234567890123456789012345678901234567890123",
        "name",
    ),
    ("DELETE", "/api/v1/services/a+b", "name"),
    ("GET", "/api/v1/services/we.b/url", "name"),
    ("POST", "/api/v1/services/we.b/select", "name"),
    ("POST", "/api/v1/services/we.b/endpoints", "name"),
    ("POST", "/services/we.b?endpoint=http://a", "name"),
    ("GET", "/api/v1/services/web?namespace=we.b", "namespace"),
    ("GET", "/api/v1/services/web?namespace=", "namespace"),
    ("GET", "/api/v1/services?namespace=**", "namespace"),
    ("GET", "/api/v1/watch?namespace=a/b", "namespace"),
    ("GET", "/api/v1/watch?service=", "service"),
    (
        "GET",
        "/api/v1/watch?service=ok&service=not%20ok",
        "service",
    ),
    ("GET", "/api/v1/services/web/endpoints/.a", "id"),
    ("GET", "/api/v1/services/web/endpoints/:a", "id"),
    ("GET", "/api/v1/services/web/endpoints/a%2Fheartbeat", "id"),
    ("GET", "/api/v1/services/web/endpoints/a%20b", "id"),
    ("DELETE", "/api/v1/services/web/endpoints/a%C3%A9", "id"),
    ("PUT", "/api/v1/services/web/endpoints/%5B::1%5D:80", "id"),
    ("PUT", "/api/v1/services/web/endpoints/a@b/heartbeat", "id"),
    ("DELETE", "/api/v1/services/web/endpoints/a%3Cb/drain", "id"),
];

/// Parameters that are wrong.
const PARAMETERS: &[(&str, &str, &str, &str)] = &[
    ("GET", "/api/v1/services?limit=0", "invalid_field", "limit"),
    (
        "GET",
        "/api/v1/services?limit=10001",
        "invalid_field",
        "limit",
    ),
    (
        "GET",
        "/api/v1/services?limit=%2B5",
        "invalid_field",
        "limit",
    ),
    (
        "GET",
        "/api/v1/services?limit=ten",
        "invalid_field",
        "limit",
    ),
    (
        "GET",
        "/api/v1/services?limit=5&limit=6",
        "invalid_field",
        "limit",
    ),
    ("GET", "/api/v1/services?cursor=", "invalid_field", "cursor"),
    (
        "GET",
        "/api/v1/services?cursor=x",
        "invalid_field",
        "cursor",
    ),
    (
        "GET",
        "/api/v1/services?cursor=1.a.b.c",
        "invalid_field",
        "cursor",
    ),
    ("GET", "/api/v1/services?wait=301", "invalid_field", "wait"),
    (
        "GET",
        "/api/v1/services/web?wait=6m",
        "invalid_field",
        "wait",
    ),
    (
        "GET",
        "/api/v1/services/web?wait=-1",
        "invalid_field",
        "wait",
    ),
    ("GET", "/api/v1/services/web?wait=", "invalid_field", "wait"),
    (
        "GET",
        "/api/v1/services/web?revision=-1&wait=1",
        "invalid_field",
        "revision",
    ),
    (
        "GET",
        "/api/v1/services/web?revision=x",
        "invalid_field",
        "revision",
    ),
    (
        "GET",
        "/api/v1/services/web?revision=18446744073709551616",
        "invalid_field",
        "revision",
    ),
    (
        "GET",
        "/api/v1/services/web?include_unhealthy=yes",
        "invalid_field",
        "include_unhealthy",
    ),
    (
        "GET",
        "/api/v1/services/web?namespace=a&namespace=b",
        "invalid_field",
        "namespace",
    ),
    (
        "GET",
        "/api/v1/services/web?namespace=*",
        "invalid_field",
        "namespace",
    ),
    (
        "PUT",
        "/api/v1/services/web/endpoints/a?namespace=*",
        "invalid_field",
        "namespace",
    ),
    (
        "PUT",
        "/api/v1/services/web/endpoints/a?new=1",
        "invalid_field",
        "new",
    ),
    (
        "DELETE",
        "/api/v1/services/web/endpoints/a?incarnation=x",
        "invalid_field",
        "incarnation",
    ),
    ("GET", "/services?plain=1", "invalid_field", "plain"),
    ("POST", "/services/web", "invalid_field", "endpoint"),
    (
        "POST",
        "/services/web?endpoint=",
        "invalid_field",
        "endpoint",
    ),
    (
        "POST",
        "/services/web?endpoint=web:80",
        "invalid_field",
        "endpoint",
    ),
    (
        "POST",
        "/services/web?endpoint=http://u:p@a",
        "invalid_field",
        "endpoint",
    ),
    ("GET", "/api/v1/watch?since=x", "invalid_field", "since"),
    (
        "GET",
        "/api/v1/watch?since=1&cluster=xyz",
        "invalid_field",
        "cluster",
    ),
    (
        "GET",
        "/api/v1/watch?cluster=0123456789abcde",
        "invalid_field",
        "cluster",
    ),
];

/// Parameters that are not known, with the one that was meant.
const STRANGE: &[(&str, &str, &str, &str)] = &[
    ("GET", "/api/v1/services?perfix=a", "perfix", "prefix"),
    (
        "GET",
        "/api/v1/services?include_unhealthy=true",
        "include_unhealthy",
        "",
    ),
    (
        "GET",
        "/api/v1/services/web?include_unhealty=true",
        "include_unhealty",
        "include_unhealthy",
    ),
    (
        "GET",
        "/api/v1/services/web?Namespace=a",
        "Namespace",
        "namespace",
    ),
    (
        "GET",
        "/api/v1/services/web/url?include_unhealthy=true",
        "include_unhealthy",
        "",
    ),
    (
        "GET",
        "/api/v1/services/web/endpoints/a?verbose",
        "verbose",
        "",
    ),
    (
        "POST",
        "/api/v1/services/web/select?policy=random",
        "policy",
        "",
    ),
    ("POST", "/api/v1/services/web/endpoints?id=a", "id", ""),
    (
        "PUT",
        "/api/v1/services/web/endpoints/a?nwe=true",
        "nwe",
        "new",
    ),
    ("PATCH", "/api/v1/services/web/endpoints/a?x=1", "x", ""),
    (
        "DELETE",
        "/api/v1/services/web/endpoints/a?incarnatoin=1",
        "incarnatoin",
        "incarnation",
    ),
    (
        "PUT",
        "/api/v1/services/web/endpoints/a/heartbeat?incarnation=1",
        "incarnation",
        "",
    ),
    (
        "PUT",
        "/api/v1/services/web/endpoints/a/drain?reason=x",
        "reason",
        "",
    ),
    (
        "DELETE",
        "/api/v1/services/web/endpoints/a/drain?x",
        "x",
        "",
    ),
    ("DELETE", "/api/v1/services/web?force=true", "force", ""),
    ("POST", "/api/v1/heartbeats?service=web", "service", ""),
    ("GET", "/services?namespace=x", "namespace", ""),
    ("POST", "/services/web?endpoint=http://a&ttl=5", "ttl", ""),
    ("GET", "/health?x", "x", ""),
    ("GET", "/readyz?verbose=true", "verbose", ""),
    ("GET", "/api/v1/watch?services=web", "services", "service"),
];

/// Paths that lead nowhere.
const NOWHERE: &[(&str, &str)] = &[
    ("GET", "/"),
    ("GET", "/api"),
    ("GET", "/api/v1"),
    ("GET", "/api/v1/"),
    ("GET", "/api/v2/services"),
    ("GET", "//api/v1/services"),
    ("GET", "/api//v1/services"),
    ("GET", "/api/v1/services/"),
    ("GET", "/api/v1/services//url"),
    ("GET", "/api/v1/services/web/"),
    ("GET", "/api/v1/services/web/url/"),
    ("GET", "/api/v1/services/web/URL"),
    ("GET", "/api/v1/services/web/%75rl"),
    ("GET", "/api/v1/services/web/endpoints/"),
    ("GET", "/api/v1/services/web/endpoints/a/b"),
    ("PUT", "/api/v1/services/web/endpoints/a/heartbeat/"),
    ("GET", "/api/v1/services/web/../web/url/x"),
    ("GET", "/./api/v1/services"),
    ("GET", "/API/V1/SERVICES"),
    ("GET", "/%61pi/v1/services"),
    ("GET", "/api/v1/services;x=1"),
    ("GET", "/api/v1/services/web%2Furl/x/y/z"),
    ("GET", "/services/web/x"),
    ("POST", "/services/"),
    ("GET", "/health/"),
    ("GET", "/Health"),
    ("GET", "/api/v1/history"),
];

/// Methods that a route does not have, and those it has.
const METHODS: &[(&str, &str, &str)] = &[
    ("POST", "/api/v1/services", "GET, HEAD"),
    ("PUT", "/api/v1/services/web", "GET, HEAD, DELETE"),
    ("DELETE", "/api/v1/services/web/url", "GET, HEAD"),
    ("GET", SELECT, "POST"),
    (
        "DELETE",
        "/api/v1/services/web/endpoints",
        "GET, HEAD, POST",
    ),
    ("POST", A, "GET, HEAD, PUT, PATCH, DELETE"),
    ("OPTIONS", A, "GET, HEAD, PUT, PATCH, DELETE"),
    ("put", A, "GET, HEAD, PUT, PATCH, DELETE"),
    ("POST", BEAT, "PUT"),
    ("PATCH", DRAIN, "PUT, DELETE"),
    ("GET", BEATS, "POST"),
    ("POST", "/api/v1/watch", "GET, HEAD"),
    ("POST", "/services", "GET, HEAD"),
    ("GET", "/services/web", "POST"),
    ("POST", "/health", "GET, HEAD"),
    ("TRACE", "/readyz", "GET, HEAD"),
    ("BREW", "/livez", "GET, HEAD"),
];

impl Row {
    fn new(call: Call, status: u16, code: &'static str, field: &str) -> Self {
        let field = Some(field.to_owned()).filter(|field| !field.is_empty());
        Self {
            call,
            status,
            code,
            field,
            nearest: None,
        }
    }

    fn meant(self, nearest: &'static str) -> Self {
        let nearest = Some(nearest);
        Self { nearest, ..self }
    }

    async fn check(&self, client: &mut Client) -> Value {
        let answer = client.send(self.call.clone()).await;
        assert_eq!(answer.status, self.status, "{self:?}: {answer:?}");
        let problem = answer.json();
        assert_eq!(problem["code"], self.code, "{self:?}: {problem}");
        let field = problem.get("field").and_then(Value::as_str);
        assert_eq!(field, self.field.as_deref(), "{self:?}: {problem}");
        if let Some(meant) = self.nearest {
            let nearest = texts(&problem["nearest"]);
            assert_eq!(
                nearest.first().copied().unwrap_or_default(),
                meant,
                "{self:?}"
            );
        }
        problem
    }
}

fn with_body(method: &str, target: &str, body: &str) -> Call {
    let media_type = if method == "PATCH" {
        "application/merge-patch+json"
    } else {
        "application/json"
    };
    Call::new(method, target).body(media_type, body)
}

/// A registration with further members.
fn registration(members: &str) -> String {
    format!("{{\"host\": \"a\", \"port\": 80, {members}}}")
}

fn rows_of_bodies() -> Vec<Row> {
    let whole = REGISTRATIONS
        .iter()
        .map(|(body, code, field)| Row::new(with_body("PUT", A, body), 400, code, field));
    let members = MEMBERS.iter().map(|(members, code, field)| {
        Row::new(
            with_body("PUT", A, &registration(members)),
            400,
            code,
            field,
        )
    });
    let misspelt = MISSPELT.iter().map(|(method, target, body, field, meant)| {
        Row::new(with_body(method, target, body), 400, "unknown_field", field).meant(meant)
    });
    let others = BODIES.iter().map(|(method, target, body, code, field)| {
        Row::new(with_body(method, target, body), 400, code, field)
    });
    whole.chain(members).chain(misspelt).chain(others).collect()
}

fn rows_of_targets() -> Vec<Row> {
    let names = NAMES.iter().map(|(method, target, field)| {
        Row::new(Call::new(method, target), 400, "invalid_name", field)
    });
    let parameters = PARAMETERS
        .iter()
        .map(|(method, target, code, field)| Row::new(Call::new(method, target), 400, code, field));
    let strange = STRANGE.iter().map(|(method, target, field, meant)| {
        Row::new(Call::new(method, target), 400, "unknown_field", field).meant(meant)
    });
    let nowhere = NOWHERE
        .iter()
        .map(|(method, target)| Row::new(Call::new(method, target), 404, "route_unknown", ""));
    names
        .chain(parameters)
        .chain(strange)
        .chain(nowhere)
        .collect()
}

/// A text of JSON.
fn text_of(length: usize) -> String {
    format!("\"{}\"", "x".repeat(length))
}

/// Registrations that have one too many of something.
fn rows_of_excess() -> Vec<Row> {
    let tags = vec!["\"x\""; 33].join(", ");
    let members: Vec<String> = (0..65).map(|n| format!("\"m{n}\": {n}")).collect();
    let ports: Vec<String> = (1..=17).map(|n| format!("\"p{n}\": {n}")).collect();
    let check = |n: usize| format!("{{\"type\": \"tcp\", \"name\": \"c{n}\"}}");
    let checks: Vec<String> = (0..9).map(check).collect();
    let body = format!("{{\"type\": \"http\", \"expect_body\": {}}}", text_of(257));
    let members = [
        (
            format!("\"metadata\": {{{}}}", members.join(", ")),
            "/metadata",
        ),
        // With name, quotes, colon and braces one byte above 16 KiB.
        (
            format!("\"metadata\": {{\"x\": {}}}", text_of(16 * 1024 - 7)),
            "/metadata",
        ),
        (format!("\"tags\": [{tags}]"), "/tags"),
        (format!("\"tags\": [{}]", text_of(129)), "/tags/0"),
        (format!("\"zone\": {}", text_of(129)), "/zone"),
        (format!("\"ports\": {{{}}}", ports.join(", ")), "/ports"),
        (format!("\"checks\": [{}]", checks.join(", ")), "/checks"),
        (format!("\"checks\": [{body}]"), "/checks/0/expect_body"),
    ];
    let row = |(members, field): (String, &str)| {
        Row::new(
            with_body("PUT", A, &registration(&members)),
            400,
            "invalid_field",
            field,
        )
    };
    members.into_iter().map(row).collect()
}

/// Others, too deep or too long.
fn rows_of_length() -> Vec<Row> {
    let deep = format!(
        "\"metadata\": {{\"x\": {}{}}}",
        "[".repeat(15),
        "]".repeat(15)
    );
    let note = format!("{{\"note\": {}}}", text_of(257));
    let reason = format!("{{\"reason\": {}}}", text_of(257));
    let exclude = format!("{{\"exclude\": [{}]}}", vec!["\"x\""; 101].join(", "));
    let host = format!("/services/web?endpoint=http://{}", "a".repeat(254));
    let id = format!("{A}{}", "a".repeat(128));
    vec![
        Row::new(
            with_body("PUT", A, &registration(&deep)),
            400,
            "invalid_body",
            "",
        ),
        Row::new(
            with_body("PUT", A, &"[".repeat(60_000)),
            400,
            "invalid_body",
            "",
        ),
        Row::new(with_body("PUT", BEAT, &note), 400, "invalid_field", "/note"),
        Row::new(
            with_body("PUT", DRAIN, &reason),
            400,
            "invalid_field",
            "/reason",
        ),
        Row::new(
            with_body("POST", SELECT, &exclude),
            400,
            "invalid_field",
            "/exclude",
        ),
        Row::new(Call::new("POST", &host), 400, "invalid_field", "endpoint"),
        Row::new(Call::get(&id), 400, "invalid_name", "id"),
    ]
}

fn rows_of_media_types() -> Vec<Row> {
    let body = registration("\"checks\": []");
    let json = |call: Call| call.body("application/json", body.clone());
    let typed = |media_type: &str| Call::new("PUT", A).body(media_type, body.clone());
    let calls = [
        typed("text/plain"),
        typed("application/x-www-form-urlencoded"),
        typed("application/merge-patch+json"),
        typed("application/jsonx"),
        typed(""),
        json(Call::new("PATCH", A)),
        json(Call::new("PUT", A)).header("content-encoding", "gzip"),
        json(Call::new("PUT", A)).header("content-encoding", "br"),
        json(Call::new("PUT", A)).header("content-encoding", "identity, gzip"),
        Call::new("PUT", BEAT).body("text/plain", "{}"),
        Call::new("PUT", DRAIN).body("text/json", "{}"),
        Call::new("POST", SELECT).body("multipart/form-data", "{}"),
        Call::new("POST", BEATS).body("application/octet-stream", "{\"heartbeats\": {}}"),
    ];
    calls
        .into_iter()
        .map(|call| Row::new(call, 415, "unsupported_media_type", ""))
        .collect()
}

async fn with_web() -> (TestServer, Client) {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.register("web", "a").await;
    (server, client)
}

#[tokio::test]
async fn whatever_is_wrong_is_refused_by_name_and_changes_nothing() {
    let (_server, mut client) = with_web().await;
    let before = client.get(A).await.json();
    let revision = client.revision().await;
    let mut rows = rows_of_bodies();
    rows.extend(rows_of_targets());
    rows.extend(rows_of_excess());
    rows.extend(rows_of_length());
    rows.extend(rows_of_media_types());
    assert!(rows.len() >= 120, "{} rows", rows.len());
    for row in &rows {
        row.check(&mut client).await;
    }
    assert_eq!(client.revision().await, revision);
    assert_eq!(client.get(A).await.json(), before);
    assert_eq!(
        client
            .get("/api/v1/services/web/url")
            .await
            .must_be(200)
            .json()["selected_url"],
        "http://a.test:80"
    );
}

#[tokio::test]
async fn a_method_that_a_route_does_not_have_comes_with_those_it_has() {
    let (_server, mut client) = with_web().await;
    let revision = client.revision().await;
    for (method, target, allow) in METHODS {
        let answer = client.send(Call::new(method, target)).await;
        assert_eq!(
            answer.header("allow"),
            Some(*allow),
            "{method} {target}: {answer:?}"
        );
        answer.problem(405, "method_not_allowed");
    }
    assert_eq!(client.revision().await, revision);
}

#[tokio::test]
async fn a_body_above_its_limit_is_refused_and_the_next_connection_is_served() {
    let (server, mut client) = with_web().await;
    let revision = client.revision().await;
    let heartbeats = 1024 * 1024;
    for (call, max) in [
        (with_body("PUT", A, &" ".repeat(64 * 1024 + 1)), 64 * 1024),
        (with_body("PATCH", A, &" ".repeat(64 * 1024 + 1)), 64 * 1024),
        (
            with_body("POST", SELECT, &" ".repeat(64 * 1024 + 1)),
            64 * 1024,
        ),
        (
            with_body("PUT", BEAT, &" ".repeat(64 * 1024 + 1)),
            64 * 1024,
        ),
        (
            with_body("POST", BEATS, &" ".repeat(heartbeats + 1)),
            heartbeats,
        ),
    ] {
        let mut client = server.client().await;
        let problem = client.send(call).await.problem(413, "too_large");
        assert_eq!(problem["limit"]["max"], max);
    }
    // Exactly as much as may be is read.
    let mut full = registration("\"checks\": []");
    full.push_str(&" ".repeat(64 * 1024 - full.len()));
    client
        .send(with_body("PUT", &format!("{A}?new"), &full))
        .await
        .must_be(201);
    let mut beats = json!({"heartbeats": {"web": ["a"]}}).to_string();
    beats.push_str(&" ".repeat(heartbeats - beats.len()));
    client
        .send(with_body("POST", BEATS, &beats))
        .await
        .must_be(200);
    assert_eq!(client.revision().await, revision + 1);
}

#[tokio::test]
async fn what_is_just_within_every_bound_is_taken() {
    let (_server, mut client) = with_web().await;
    let names = |prefix: &str, count: usize| -> Vec<String> {
        (0..count).map(|n| format!("{prefix}{n}")).collect()
    };
    let object =
        |names: Vec<String>| -> Value { names.into_iter().map(|name| (name, json!(1))).collect() };
    let checks: Vec<Value> = names("c", 8)
        .into_iter()
        .map(|name| json!({"type": "heartbeat", "name": name}))
        .collect();
    let mut deep = json!(1);
    for _ in 0..14 {
        deep = json!([deep]);
    }
    let bodies = [
        json!({"metadata": object(names("m", 64))}),
        json!({"metadata": {"x": "x".repeat(16 * 1024 - 8)}}),
        json!({"metadata": {"x": deep}}),
        json!({"tags": vec!["x".repeat(128); 32], "zone": "z".repeat(128)}),
        // With `main`, which is always among them, these are sixteen.
        json!({"ports": object(names("p", 15))}),
        json!({"checks": checks}),
        json!({"ttl": 1}),
        json!({"ttl": "24h"}),
        json!({"weight": 65_535}),
        json!({"weight": 0}),
        json!({"host": format!("{}.test", vec!["a".repeat(61); 4].join(".")), "port": 65_535}),
    ];
    for body in bodies {
        client.register_with("web", "a", &body).await;
    }
    let id = "i".repeat(128);
    client
        .register_with(&"n".repeat(63), &id, &json!({"host": "a"}))
        .await;
    let media = Call::new("PUT", A).body(
        "Application/JSON; charset=utf-8",
        registration("\"checks\": []"),
    );
    client
        .send(media.header("content-encoding", "identity"))
        .await
        .must_be(201);
    let undeclared = Call::new("PUT", A).plain_body(registration("\"checks\": []"));
    client.send(undeclared).await.must_be(200);
}

#[tokio::test]
async fn a_page_of_elsewhere_changes_nothing_where_nobody_is_asked_for_a_key() {
    let (_server, mut client) = with_web().await;
    let before = client.get("/api/v1/services/web").await.body;
    // `host: test` is what every request here says; so the fourth is a page of a name that leads here.
    for origin in [
        "https://evil.example",
        "http://localhost:3000",
        "null",
        "http://test",
        "test",
        "",
    ] {
        // What a page may send without asking first.
        let calls = [
            Call::new("POST", "/services/web?endpoint=http://10.6.6.6:80"),
            Call::new("POST", "/api/v1/services/web/endpoints").plain_body(registration("")),
            Call::new("POST", "/api/v1/heartbeats").plain_body(r#"{"heartbeats": {}}"#),
        ];
        for call in calls {
            let refused = client.send(call.header("origin", origin)).await;
            refused.problem(403, "not_allowed");
        }
    }
    assert_eq!(client.get("/api/v1/services/web").await.body, before);
    // Whoever only reads does no harm, and gets no permission to look at the answer.
    let read = Call::get("/api/v1/services/web").header("origin", "https://evil.example");
    let read = client.send(read).await.must_be(200);
    assert_eq!(read.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn reserved_routes_are_not_there_yet() {
    let (_server, mut client) = with_web().await;
    client.get(DRAIN).await.problem(405, "method_not_allowed");
    for (method, target) in [
        ("POST", "/api/v1/watch/0123/ack"),
        ("GET", "/api/v1/history"),
    ] {
        client
            .send(Call::new(method, target))
            .await
            .problem(404, "route_unknown");
    }
}
