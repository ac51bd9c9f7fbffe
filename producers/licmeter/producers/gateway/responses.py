"""Answers as bytes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec
from starlette.responses import Response

__all__ = ["encode", "instant_text", "json_response"]

#: Encode a document of our own.
encode: Final = msgspec.json.encode


def instant_text(epoch_ms: int) -> str:
    """Return an instant as RFC 3339 in UTC, in milliseconds."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def json_response(
    status: int, body: bytes, *, problem: bool = False, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an answer whose body is JSON already."""
    media_type = "application/problem+json" if problem else "application/json"
    return Response(body, status_code=status, media_type=media_type, headers=dict(headers or {}))
