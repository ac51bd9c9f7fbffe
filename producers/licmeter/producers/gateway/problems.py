"""What can go wrong with a request, as problem details (RFC 9457).

Problem                    one answer with a status; whoever raises it says what the client can do
├── BadRequest        400  the body is not what it says it is
├── Unauthorized      401  no license key, or an unknown one
├── Forbidden         403  the key, the password, or another organization
├── Conflict          409  the id of a request for leave stands for something else
├── TooLarge          413  the body, or the number of events
├── UnsupportedMedia  415  another content type or coding
├── Unprocessable     422  not as the contract has it
├── TooMany           429  more than the key may send
└── Unavailable       503  not now
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from licmeter.schemas.outcomes import RefusalCode

__all__ = [
    "BadRequest",
    "Conflict",
    "Forbidden",
    "Problem",
    "TooLarge",
    "TooMany",
    "Unauthorized",
    "Unavailable",
    "Unprocessable",
    "UnsupportedMedia",
    "code_of",
    "problem_document",
]

TYPE_PREFIX = "urn:licmeter:problem:"


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it so
    """The root; `detail` is for the developer of the client and holds nothing that was sent."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "The gateway failed"

    def __init__(
        self,
        detail: str,
        *,
        code: RefusalCode | None = None,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code
        self.headers = dict(headers or {})
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))


class BadRequest(Problem):
    """The body is not what it says it is."""

    status, slug, title = 400, "bad-request", "The body cannot be read"


class Unauthorized(Problem):
    """Who asks is not known."""

    status, slug, title = 401, "unauthorized", "A valid license key is needed"

    def __init__(self) -> None:
        # One sentence for every case: whether a key exists is nobody's business.
        super().__init__(
            "send the license key of the project: `Authorization: Bearer lmk_…`",
            headers={"WWW-Authenticate": 'Bearer realm="licmeter"'},
        )


class Forbidden(Problem):
    """Who asks is known, and may not."""

    status, slug, title = 403, "forbidden", "The license key does not allow this"


class Conflict(Problem):
    """The id of a request for leave stands for another request."""

    status, slug, title = 409, "conflict", "This id stands for another request"


class TooLarge(Problem):
    """More than one request may hold."""

    status, slug, title = 413, "too-large", "The request is too large"


class UnsupportedMedia(Problem):
    """Another content type or coding than those that are taken."""

    status, slug, title = 415, "unsupported-media-type", "This kind of body is not taken"


class Unprocessable(Problem):
    """Readable, and not as the contract has it."""

    status, slug, title = 422, "unprocessable", "The request does not follow the contract"


class TooMany(Problem):
    """More than the key may send."""

    status, slug, title = 429, "too-many-requests", "This license key sends too much"


class Unavailable(Problem):
    """Not now; nothing was lost, and sending again is right."""

    status, slug, title = 503, "unavailable", "Not now; send it again"


def code_of(code: RefusalCode) -> dict[str, Any]:
    """Return a code as clients read it (domain, section 12)."""
    return {"number": code.number, "slug": code.value}


def problem_document(problem: Problem, request_id: str) -> dict[str, Any]:
    """Return the body of a problem."""
    document: dict[str, Any] = {
        "type": TYPE_PREFIX + problem.slug,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "request_id": request_id,
    }
    if problem.code is not None:
        document["code"] = code_of(problem.code)
    return document
