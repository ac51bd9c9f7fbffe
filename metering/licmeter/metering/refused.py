"""A record that is no acceptable event, and why."""

from dataclasses import dataclass

from licmeter.schemas.outcomes import RejectReason

__all__ = ["Refused"]


@dataclass(frozen=True, slots=True)
class Refused:
    """The reason, its particulars, and who sent it where that could be read: a wrong clock is said (8.2)."""

    reason: RejectReason
    detail: str
    client_uuid: str | None = None
    project_id: str | None = None
    late: bool = False
