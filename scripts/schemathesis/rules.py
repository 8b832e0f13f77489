"""What the API document says in words, because JSON Schema cannot say it.

A request that is meant to be right is mended here where two of its parts contradict each other, or where a bound is
one of bytes and not of characters. Requests that are meant to be wrong are left as they are.
"""

import json
import re

import schemathesis

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


@schemathesis.hook
def before_call(context, case, kwargs):
    # Nobody wants to wait five minutes for each long poll; how they wait is tested elsewhere.
    if isinstance(case.query, dict) and seconds(case.query.get("wait")) > 0.02:
        case.query["wait"] = "20ms"
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if isinstance(case.body, dict):
        case.body = mended(json.loads(json.dumps(case.body)), case.operation.definition.raw["operationId"])


def mended(body, operation):
    for member, most in (("zone", 128), ("note", 256), ("reason", 256)):
        if longer(body.get(member), most):
            del body[member]
    if body.get("tags"):
        body["tags"] = [tag for tag in body["tags"] if not longer(tag, 128)]
    if longer(json.dumps(body.get("metadata"), ensure_ascii=False), 16 * 1024):
        del body["metadata"]
    if operation in ("register", "registerByAddress", "putPolicy"):
        mend_registration(body)
    if operation == "registerByAddress":
        mend_address(body)
    if operation == "select":
        if body.get("policy") == "rendezvous" and body.get("key") is None:
            body["key"] = "key"
        if body.get("zone_strict") and body.get("zone") is None:
            body["zone_strict"] = False
    if operation == "heartbeats":
        if sum(len(ids) for ids in body["heartbeats"].values()) > 10_000:
            body["heartbeats"] = {}
    return body


def mend_registration(body):
    if body.get("url") is not None:
        # Beside a URL they must agree with it.
        for member in ("host", "port", "scheme"):
            body.pop(member, None)
    ports = {}
    for name, port in (body.get("ports") or {}).items():
        # `main` must agree with the port of the endpoint, and two spellings of one name with each other.
        if folded(name) != "main" and folded(name) not in map(folded, ports) and len(ports) < 15:
            ports[name] = port
    if body.get("ports") is not None:
        body["ports"] = ports
    names = set()
    checks = []
    for check in body.get("checks") or []:
        if longer(check.get("name"), 63):
            del check["name"]
        name = check.get("name") or check["type"]
        if name in names:
            continue
        names.add(name)
        checks.append(check)
        if longer(check.get("expect_body"), 256):
            del check["expect_body"]
        if check.get("port") is not None and folded(check["port"]) not in {"main", *map(folded, ports)}:
            del check["port"]
        interval = check.get("interval")
        if seconds(check.get("timeout")) > seconds(30 if interval is None else interval):
            del check["timeout"]
    if body.get("checks") is not None:
        body["checks"] = checks


def mend_address(body):
    """An id is made of the host, which must fit into it."""
    host = body.get("host") or re.sub("^[^:]*://([^/]*).*$", r"\1", body.get("url") or "")
    if len(host) > 100 or host.startswith("_"):
        body.pop("url", None)
        body.update(host="10.0.0.1", port=8080)


def folded(name):
    return name.lower().replace("_", "-")


def longer(text, most):
    return isinstance(text, str) and len(text.encode("utf-8", "surrogatepass")) > most


def seconds(value):
    """A duration in seconds; 0 when it is none."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"([0-9]*\.?[0-9]*)(ms|s|m|h)?", value) if isinstance(value, str) else None
    return float(match[1]) * UNITS[match[2] or "s"] if match and match[1].strip(".") else 0
