"""What would become of a reject that is put back now: the stream's own checks, as far as they need no state."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from licmeter.metering.decoding import CatalogChange, decode, key_organization
from licmeter.metering.limits import DEFAULT_LIMITS, Limits
from licmeter.metering.organization import MeteredCatalog
from licmeter.metering.refused import Refused
from licmeter.metering.report import Report
from licmeter.schemas.outcomes import RejectReason
from licmeter.sinks.replay.rejects import Reject

__all__ = ["Forecast", "Prospect", "forecast"]


class Prospect(StrEnum):
    """What a replay would come to."""

    JUDGED = "judged"  # it passes the checks: it counts, unless the same was accepted since
    REFUSED = "refused"  # it would be rejected again
    APPLY = "apply"  # a catalog change: put back, it would undo what was applied since
    IMPOSSIBLE = "impossible"  # no record of `usage.events`, or one that no Kafka client can send


@dataclass(frozen=True, slots=True)
class Forecast:
    """The prospect, and of a refusal the reason; `detail` is for people."""

    prospect: Prospect
    reason: RejectReason | None = None
    detail: str = ""

    @property
    def text(self) -> str:
        """One phrase for people."""
        match self.prospect:
            case Prospect.JUDGED:
                return "would be counted, unless it was reported again since"
            case Prospect.REFUSED:
                return f"would be {self.reason}"
            case Prospect.APPLY:
                return "is a catalog change: apply the document again (`licmeter license apply`)"
            case Prospect.IMPOSSIBLE:
                return f"cannot be put back{self.detail and f': {self.detail}'}"


def forecast(
    reject: Reject, now_ms: int, catalogs: Mapping[str, MeteredCatalog], limits: Limits = DEFAULT_LIMITS
) -> Forecast:
    """Say what would become of a reject at an instant, with the catalogs that are current then.

    The arrival is that of the replay (domain, T5): what has become too old since stays out (check 7). Whether a report
    is a duplicate only the worker knows.
    """
    if not reject.of_events:
        return Forecast(Prospect.IMPOSSIBLE, detail=f"it is from {reject.place.topic}, not a report")
    if reject.key is None and reject.value is None:
        return Forecast(Prospect.IMPOSSIBLE, detail="it has neither key nor value")
    event = decode(reject.key, reject.value, now_ms, limits)
    if isinstance(event, CatalogChange):
        return Forecast(Prospect.APPLY)
    if isinstance(event, Refused):
        return Forecast(Prospect.REFUSED, event.reason, event.detail)
    if isinstance(event, Report) and (refused := _by_catalog(event, reject, catalogs)):
        return refused
    if reject.reason == RejectReason.CONFLICT:
        # The id is remembered for longer than a report with it can pass check 7 (A3).
        return Forecast(Prospect.REFUSED, RejectReason.CONFLICT, "another report with this id was accepted")
    return Forecast(Prospect.JUDGED)


def _by_catalog(report: Report, reject: Reject, catalogs: Mapping[str, MeteredCatalog]) -> Forecast | None:
    """Run the checks 8 and 9."""
    catalog = catalogs.get(key_organization(reject.key) or "")
    project = None if catalog is None else catalog.project(report.project_id)
    if project is None:
        detail = report.project_id or f"the default project of {report.organization_id}"
        return Forecast(Prospect.REFUSED, RejectReason.UNKNOWN_PROJECT, f"{detail} is not known")
    if project.is_disabled(report.slot_s):
        return Forecast(Prospect.REFUSED, RejectReason.PROJECT_DISABLED, project.project_id)
    return None
