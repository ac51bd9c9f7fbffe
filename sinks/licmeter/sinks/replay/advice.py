"""What to do about a reject, by its reason."""

from typing import Final

from licmeter.schemas.outcomes import RejectReason
from licmeter.sinks.replay.rejects import UNDECODABLE

__all__ = ["advice_on"]

_SENDER: Final = "The sender must be corrected. As it is, this record is refused each time"
_CLOCK: Final = "The device's clock was wrong. Set it right"

_ADVICE: Final[dict[str, str]] = {
    RejectReason.TOMBSTONE: f"{_SENDER}: it has no value.",
    RejectReason.EMPTY_RECORD: f"{_SENDER}: its value is empty.",
    RejectReason.PAYLOAD_TOO_LARGE: f"{_SENDER}: a report has 64 KiB at most.",
    RejectReason.NOT_JSON: f"{_SENDER}: it is no JSON.",
    RejectReason.UNKNOWN_EVENT_TYPE: (
        "Nobody here knows this type of event. If it is one of a later version, update the workers and replay it."
    ),
    RejectReason.MISSING_KEY: f"{_SENDER}: the key of a record is its organization id.",
    RejectReason.INVALID_SCHEMA: (
        f"{_SENDER}. What it meant to say can be sent as a new record: `licmeter rejects show PLACE --raw > FILE`, "
        "correct the file, `licmeter send FILE`."
    ),
    RejectReason.KEY_MISMATCH: f"{_SENDER}: key and content name two organizations.",
    RejectReason.NEGATIVE_COUNT: f"{_SENDER}: a count is below zero.",
    RejectReason.COUNT_OUT_OF_RANGE: f"{_SENDER}: a count is above what one device can do in three minutes.",
    RejectReason.SLOT_MISALIGNED: f"{_SENDER}: slots begin at multiples of 180 seconds.",
    RejectReason.CLOCK_SKEW: f"{_CLOCK}. A replay is judged by the time at which it is put back.",
    RejectReason.FUTURE_SLOT: f"{_CLOCK}. Once the slot has come, a replay counts in the slot that it names.",
    RejectReason.TOO_OLD: "Its slot ended more than 30 days before it came. It can never be counted.",
    RejectReason.UNKNOWN_PROJECT: "Apply the project (`licmeter license apply FILE.yaml`), then replay this.",
    RejectReason.PROJECT_DISABLED: (
        "Its slot began after the project was disabled. Enable the project, then replay this."
    ),
    RejectReason.CONFLICT: (
        "Another report with this id was accepted before, and counts. If this one was meant as a report of its own, "
        "the sender must give it an id of its own."
    ),
    UNDECODABLE: "It was put on the topic by something else, and is no reject.",
}
assert set(_ADVICE) == {*RejectReason, UNDECODABLE}


def advice_on(reason: str) -> str:
    """Return a sentence or two for an operator."""
    return _ADVICE.get(reason, "")
