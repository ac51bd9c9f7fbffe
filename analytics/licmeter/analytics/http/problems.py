"""What can go wrong with a request, as problem details (RFC 9457).

Problem                    one answer with a status; whoever raises it says what the client can do
├── BadRequest        400  the cursor belongs to another question, or is none
├── Unauthorized      401  no token, or one that opens nothing
├── Forbidden         403  asked by a name that is not this machine's
├── NotFound          404  nothing is there that the token opens
├── Unprocessable     422  a question that has no answer, or is not as the contract has it
├── TooMany           429  more than one organization may ask at once
└── Unavailable       503  not now, or not within the bounds
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

__all__ = [
    "BadRequest",
    "Forbidden",
    "NotFound",
    "Problem",
    "TooMany",
    "Unauthorized",
    "Unavailable",
    "Unprocessable",
    "problem_document",
]

TYPE_PREFIX = "urn:licmeter:problem:"


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it so
    """The root; `detail` is for the developer of the client. `errors` names single parameters."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "The service failed"

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))


class BadRequest(Problem):
    """A cursor that does not continue this question."""

    status, slug, title = 400, "bad-cursor", "This cursor does not continue this question"


class Unauthorized(Problem):
    """Who asks is not known."""

    status, slug, title = 401, "unauthorized", "A valid token is needed"

    def __init__(self) -> None:
        # One sentence for every case: whether a token exists is nobody's business.
        super().__init__(
            "send a token of the organization: `Authorization: Bearer lms_…`",
            headers={"WWW-Authenticate": 'Bearer realm="licmeter"'},
        )


class Forbidden(Problem):
    """Asked under a name that is not this machine's."""

    status, slug, title = 403, "forbidden", "Without tokens only this machine may ask"


class NotFound(Problem):
    """Nothing is there that the token opens. Another's organization and none at all look the same (Q11)."""

    status, slug, title = 404, "not-found", "There is no such thing"


class Unprocessable(Problem):
    """A question that has no answer, or that is not as the contract has it."""

    status, slug, title = 422, "unprocessable", "The question does not follow the contract"


class TooMany(Problem):
    """More than one organization may ask at once."""

    status, slug, title = 429, "too-many-requests", "The organization asks too much at once"


class Unavailable(Problem):
    """Not now, or not within the bounds of one answer."""

    status, slug, title = 503, "unavailable", "Not now; ask again"


def problem_document(problem: Problem, request_id: str) -> dict[str, Any]:
    """Return the body of a problem."""
    document: dict[str, Any] = {
        "type": TYPE_PREFIX + problem.slug,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "request_id": request_id,
    }
    if problem.errors:
        document["errors"] = problem.errors
    return document
