"""What is in a line: the schema check (section 5, check 1) and the fields that count."""

from typing import Any

from tests.support.reference.catalog import (
    CHARGE_WAYS,
    TAGS,
    is_int,
    is_item_id,
    is_organization_id,
    is_project_id,
    is_text,
)
from tests.support.reference.instants import instant

CODES = {
    "standby_refuses": 100,
    "under_construction": 100,
    "unknown_project": 101,
    "bad_session_password": 102,
    "project_validation_mismatch": 103,
    "no_matching_item": 104,
    "bad_project_format": 105,
    "product_mismatch": 106,
    "version_mismatch": 107,
    "deployment_mismatch": 108,
    "edition_mismatch": 109,
    "expired": 111,
    "expired_for_address": 111,
    "not_started": 112,
    "item_invalid": 113,
    "item_validation_mismatch": 114,
    "charge_way_mismatch": 115,
    "limit_exceeded": 120,
    "unknown_organization": 121,
    "project_organization_mismatch": 122,
    "nothing_named": 123,
    "missing_dependency": 124,
    "request_count_exceeded": 130,
    "clone_detected": 151,
}


def _need(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def named_organization(event: dict[str, Any]) -> str | None:
    """`organizationid`, else the part of `subject` before the first hyphen."""
    if isinstance(event.get("organizationid"), str):
        return event["organizationid"]
    subject = event.get("subject")
    return subject.partition("-")[0] if isinstance(subject, str) else None


def _envelope(event: dict[str, Any]) -> dict[str, Any]:
    _need(event.get("specversion") == "1.0", "specversion")
    _need(is_text(event.get("id"), 1, 64), "id")
    _need(is_text(event.get("source"), 1, 128), "source")
    subject, organization = event.get("subject"), event.get("organizationid")
    _need(subject is None or is_project_id(subject), "subject")
    _need(organization is None or is_organization_id(organization), "organizationid")
    return {
        "id": event["id"],
        "client": event["source"],
        "subject": subject,
        "organizationid": organization,
        "organization": named_organization(event),
        "time": instant(event.get("time")),
    }


def _validation(value: Any) -> tuple[str, str] | None:
    if value is None:
        return None
    _need(isinstance(value, dict), "validation")
    _need(is_text(value.get("kind"), 1, 32) and is_text(value.get("value"), 1, 256), "validation")
    return value["kind"], value["value"]


def read_report(event: dict[str, Any], features_max: int) -> dict[str, Any]:
    """Check 1; `content` is what makes two reports the same (A1)."""
    report = _envelope(event)
    _need(event.get("datacontenttype") is None or isinstance(event["datacontenttype"], str), "datacontenttype")
    data = event.get("data")
    _need(isinstance(data, dict), "data")
    counts = data.get("counts")
    _need(isinstance(counts, dict) and len(counts) <= features_max, "counts")
    _need(all(is_text(feature, 1, 128) and is_int(count) for feature, count in counts.items()), "counts")
    total = data.get("total")
    _need(total is None or (is_int(total) and total == sum(counts.values())), "total")
    for tag in TAGS:
        _need(data.get(tag) is None or isinstance(data[tag], str), tag)
    instances, attempt = data.get("instances"), data.get("attempt")
    _need(instances is None or is_int(instances, 1, 1_000_000), "instances")
    _need(attempt is None or is_int(attempt, 1), "attempt")
    kind = data.get("usage_kind")
    _need(kind is None or (isinstance(kind, str) and kind in ("use", "reservation")), "usage_kind")
    report |= {
        "slot": report["time"],
        "counts": counts,
        "instances": instances,
        "validation": _validation(data.get("validation")),
        "sent_at": None if data.get("sent_at") is None else instant(data["sent_at"]),
        **{tag: data.get(tag) for tag in TAGS},
    }
    report["content"] = (
        report["subject"],
        report["organizationid"],
        report["slot"],
        sorted(counts.items()),
        total,
        instances,
        report["validation"],
        kind or "use",
        [report[tag] for tag in TAGS],
    )
    return report


def read_authorization(event: dict[str, Any]) -> dict[str, Any]:
    request = _envelope(event)
    data = event.get("data", {})
    _need(isinstance(data, dict), "data")
    for tag in TAGS:
        _need(data.get(tag) is None or is_text(data[tag], 0, 128), tag)
    way = data.get("charge_way", "auto")
    _need(isinstance(way, str) and way in ("auto", *CHARGE_WAYS), "charge_way")
    feature = data.get("feature")
    _need(feature is None or is_text(feature, 1, 128), "feature")
    asked = data.get("requested_instances", 1)
    _need(is_int(asked, 1, 1_000_000), "requested_instances")
    password_ok, clone = data.get("password_ok"), data.get("clone_suspected", False)
    _need(password_ok is None or isinstance(password_ok, bool), "password_ok")
    _need(isinstance(clone, bool), "clone_suspected")
    result, code = data.get("result"), data.get("code")
    _need(result is None or (isinstance(result, str) and result in ("ok", "refused")), "result")
    _need(code is None or (isinstance(code, str) and code in CODES), "code")
    item_id, until = data.get("item_id"), data.get("local_expires_at")
    _need(item_id is None or is_item_id(item_id), "item_id")
    request |= {
        "at": request["time"],
        "charge_way": way,
        "feature": feature,
        "asked": asked,
        "validation": _validation(data.get("validation")),
        "password_ok": password_ok,
        "clone": clone,
        "result": result,
        "code": code,
        "item_id": item_id,
        "local_expires_at": None if until is None else instant(until),
        **{tag: data.get(tag) for tag in TAGS},
    }
    request["content"] = [value for name, value in sorted(request.items()) if name not in ("id", "client")]
    return request
