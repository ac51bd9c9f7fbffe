"""From the bytes of a good report to a `Report`, by the shortest way; only a good one.

`decoding` asks here first. None means "ask the contract": it decides what the record is, and says why.
So this must never take what the contract refuses, nor read another value in it; refusing more is only slow.
"""

from datetime import datetime
from functools import lru_cache
from typing import Final

from pydantic import TypeAdapter

from licmeter.metering.acceptance import check_report
from licmeter.metering.limits import Limits
from licmeter.metering.report import Report
from licmeter.schemas.catalog import OrganizationId, ProjectId
from licmeter.schemas.fast_reports import FastReport, parse_fast
from licmeter.schemas.reports import Instant, organization_of

__all__ = ["decode_good_report", "epoch_of", "millis_of"]

_validate_instant: Final = TypeAdapter[datetime](Instant).validator.validate_python
_validate_project: Final = TypeAdapter[str](ProjectId).validator.validate_python
_validate_organization: Final = TypeAdapter[str](OrganizationId).validator.validate_python

_DAY_SECONDS: Final = 86_400
#: Made by the contract, because Python asks two instants for their offsets only if their zones are two objects.
_EPOCH: Final = _validate_instant("1970-01-01T00:00:00Z")


def decode_good_report(key: bytes | None, value: bytes, received_ms: int, limits: Limits) -> Report | None:
    """Decode a report that passes the checks 1 to 7 (domain, section 5); None if there is any doubt."""
    if not key:
        return None
    try:
        report = _to_report(key.decode(), parse_fast(value), received_ms)
    except (ValueError, OverflowError, RecursionError):
        return None
    return None if report is None or check_report(report, limits) else report


def _to_report(organization_id: str, event: FastReport, received_ms: int) -> Report | None:
    data, project_id = event.data, event.subject
    if not _belongs(organization_id, project_id, event.organizationid):
        return None
    counts = data.counts
    if data.total is not None and data.total != sum(counts.values()):
        return None
    slot_s, fraction_us = _instant(event.time)
    # By position, in the order of the fields: naming sixteen of them costs more than checking them.
    return Report(
        organization_id,
        project_id,
        event.source,
        event.id,
        slot_s,
        received_ms,
        counts,
        data.product,
        data.version,
        data.edition,
        data.deployment_type,
        data.instances,
        None if data.validation is None else (data.validation.kind, data.validation.value),
        data.usage_kind or "use",
        None if data.sent_at is None else millis_of(_instant(data.sent_at)),
        data.total,
        fraction_us,
    )


def _belongs(organization_id: str, project_id: str | None, named: str | None) -> bool:
    """Tell whether the event names its organization, and only the one of the key."""
    if project_id is None:
        return named is not None and named == _organization(organization_id)
    return _owner(project_id) == organization_id and (named is None or named == _organization(organization_id))


# The contract itself judges each text, once: the same projects and slots come again and again, so remembering
# them is cheaper than any parser. Only good texts are remembered, and those are short. An exception is not.


@lru_cache(maxsize=8192)
def _instant(text: str) -> tuple[int, int]:
    return epoch_of(_validate_instant(text))


@lru_cache(maxsize=8192)
def _owner(project_id: str) -> str:
    return organization_of(_validate_project(project_id))


@lru_cache(maxsize=8192)
def _organization(organization_id: str) -> str:
    return str(_validate_organization(organization_id))


def epoch_of(instant: datetime) -> tuple[int, int]:
    """Return whole seconds since 1970, rounded down, and the microseconds beyond, exactly."""
    since = instant - _EPOCH
    return since.days * _DAY_SECONDS + since.seconds, since.microseconds


def millis_of(epoch: tuple[int, int]) -> int:
    """Return what `epoch_of` gave in milliseconds, rounded down."""
    return epoch[0] * 1000 + epoch[1] // 1000
