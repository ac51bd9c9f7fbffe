"""Answers as bytes: JSON or CSV, with validators, so that what did not change is not sent again."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from licmeter.analytics.http.answers import Row

__all__ = ["Representation", "csv_text", "matches", "represent", "wants_csv"]

_JSON: Final = "application/json"
_CSV: Final = "text/csv; charset=utf-8; header=present"
#: What an answer depends on beside its address. Caches of several people keep nothing of it at all.
_HEADERS: Final = {"Cache-Control": "private, no-cache", "Vary": "Accept, Authorization"}


@dataclass(frozen=True, slots=True)
class Representation:
    """A body with what is said about it; made beside the event loop."""

    body: bytes
    media_type: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self, request: Request) -> Response:
        """Return the answer: 304 without a body if the client has it."""
        if matches(request.headers.getlist("if-none-match"), self.headers["ETag"]):
            return Response(status_code=304, headers=dict(self.headers))
        return Response(self.body, media_type=self.media_type, headers=dict(self.headers))


def represent(body: bytes, media_type: str, updated_at: datetime | None, next_link: str | None) -> Representation:
    """Return a body with its validators.

    The tag is strong: a digest of all that was said, the time of the last update included. Figures may also change
    with the hour, without an update (seats end, days begin), so there is nothing that could be compared more cheaply.
    """
    digest = hashlib.sha256(f"{media_type}\n{updated_at}\n{next_link}\n".encode())
    digest.update(body)
    headers = {**_HEADERS, "ETag": f'"{digest.hexdigest()[:32]}"'}
    if updated_at is not None:
        headers["Last-Modified"] = format_datetime(updated_at.astimezone(UTC).replace(microsecond=0), usegmt=True)
    if next_link is not None:
        headers["Link"] = f'<{next_link}>; rel="next"'
    return Representation(body, media_type, headers)


def json_body(answer: Any) -> tuple[bytes, str]:
    """Return an answer model as JSON."""
    return answer.model_dump_json().encode(), _JSON


def csv_text(columns: Sequence[str], rows: Sequence[Row]) -> tuple[bytes, str]:
    """Return rows as CSV (RFC 4180) with a header; lists and maps are JSON in their cell, null is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        values = row.model_dump(mode="json")
        writer.writerow([_cell(values[name]) for name in columns])
    return text.getvalue().encode(), _CSV


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else value


def wants_csv(accepts: Sequence[str]) -> bool:
    """Tell whether a client would rather have CSV than JSON (RFC 9110, 12.5.1)."""
    weights = {"text/csv": 0.0, "application/json": 0.0}
    # The most exact range that fits says how much something is wanted.
    exactness = dict.fromkeys(weights, -1)
    for part in ",".join(accepts).split(","):
        name, _, rest = part.strip().lower().partition(";")
        weight = _weight(rest)
        for media_type in weights:
            ranges = ("*/*", f"{media_type.partition('/')[0]}/*", media_type)
            if name.strip() in ranges and ranges.index(name.strip()) > exactness[media_type]:
                exactness[media_type] = ranges.index(name.strip())
                weights[media_type] = weight
    return weights["text/csv"] > weights["application/json"]


def _weight(parameters: str) -> float:
    for each in parameters.split(";"):
        name, _, value = each.strip().partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def matches(if_none_match: Sequence[str], etag: str) -> bool:
    """Tell whether a client has the representation with this tag (RFC 9110, 13.1.2)."""
    tags = [tag.strip() for tag in ",".join(if_none_match).split(",")]
    return "*" in tags or etag in (tag.removeprefix("W/") for tag in tags)
