"""The checks on a report that need nothing but the report: 2 to 7 of the domain, section 5, in this order.

Check 1 is the schema (`decoding`), 8 to 10 need the organization (`meter`).
"""

from licmeter.metering.limits import Limits
from licmeter.metering.report import Report
from licmeter.metering.slots import SLOT_SECONDS
from licmeter.schemas.outcomes import RejectReason

__all__ = ["Refusal", "check_report"]

Refusal = tuple[RejectReason, str]


def check_report(report: Report, limits: Limits) -> Refusal | None:
    """Return the first check that fails, with its particulars, or None."""
    count_max = limits.count_max
    for count in report.counts.values():
        if not 0 <= count <= count_max:
            return _wrong_count(report.counts, limits)
    return _check_times(report, limits)


def _wrong_count(counts: dict[str, int], limits: Limits) -> Refusal:
    for feature, count in counts.items():
        if count < 0:
            return RejectReason.NEGATIVE_COUNT, f"{feature}: {_shown(count)}"
    feature = max(counts, key=counts.__getitem__)
    return RejectReason.COUNT_OUT_OF_RANGE, f"{feature}: {_shown(counts[feature])} is above {limits.count_max}"


def _shown(count: int) -> str:
    # A number of a million digits is as well-formed as any other, and Python refuses to print it.
    return str(count) if count.bit_length() <= 128 else f"a number of {count.bit_length()} bits"


def _check_times(report: Report, limits: Limits) -> Refusal | None:
    received_ms, slot_s, sent_ms = report.received_ms, report.slot_s, report.sent_ms
    # Alignment and, below, `slots.slot_end` without calls: this is the hot path.
    if report.slot_fraction_us or slot_s % SLOT_SECONDS:
        return RejectReason.SLOT_MISALIGNED, f"{slot_s}.{report.slot_fraction_us:06d} s is not a multiple of 180 s"
    if sent_ms is not None and abs(sent_ms - received_ms) > limits.skew_ms:
        return RejectReason.CLOCK_SKEW, f"sent_at is {(sent_ms - received_ms) // 1000} s from the arrival"
    if slot_s * 1000 > received_ms + limits.future_ms:
        return RejectReason.FUTURE_SLOT, f"the slot begins {slot_s - received_ms // 1000} s after the arrival"
    age_ms = received_ms - (slot_s + SLOT_SECONDS) * 1000
    if age_ms > limits.age_ms:
        return RejectReason.TOO_OLD, f"the slot ended {age_ms // 1000} s before the arrival"
    return None
