"""The lines behind a number, from ClickHouse; and what the statistics say of the same."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar, Final

from licmeter.analytics.query import Period
from licmeter.analytics.usage import ItemUsage, ProjectUsage
from licmeter.runtime.proof.statement import ENTRIES_MAX, Entry, Subject, instant, instant_of_ms

__all__ = ["UNLINKED", "LinesQuery", "entry_of_row", "period_of", "statistic_of"]

#: What stands for a link until the chain is made.
UNLINKED: Final = "0" * 64


@dataclass(frozen=True, slots=True)
class LinesQuery:
    """The lines of accepted reports of a subject, in the order of the log; up to an offset, or all beyond it summed."""

    subject: Subject
    applied_offset: int

    columns: ClassVar[Sequence[str]] = (
        "source_partition",
        "source_offset",
        "line",
        "project_id",
        "item_id",
        "client_uuid",
        "report_id",
        "toUnixTimestamp(slot)",
        "toUnixTimestamp64Milli(received_at)",
        "feature",
        "quantity",
        "in_quota",
        "in_grace",
        "over",
        "exceptions",
    )

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the text and its parameters."""
        condition, parameters = self._condition()
        text = f"""
            SELECT {", ".join(self.columns)} FROM usage_attributed
            WHERE {condition} AND source_offset <= {{applied:UInt64}}
            ORDER BY source_partition, source_offset, line LIMIT {ENTRIES_MAX + 1}
        """  # noqa: S608
        return text, parameters

    def later_sql(self) -> tuple[str, dict[str, Any]]:
        """Return the units of lines that came after the offset."""
        condition, parameters = self._condition()
        text = f"SELECT toInt64(sum(quantity)) FROM usage_attributed WHERE {condition} AND source_offset > {{applied:UInt64}}"  # noqa: E501, S608
        return text, parameters

    def _condition(self) -> tuple[str, dict[str, Any]]:
        subject = self.subject
        parameters: dict[str, Any] = {"organization": subject.organization_id, "applied": self.applied_offset}
        words = ["organization_id = {organization:String}", "outcome != 'duplicate'"]
        words.append(period_of(subject).condition("slot", parameters))
        for name in ("project_id", "item_id", "feature"):
            wanted = getattr(subject, name)
            if wanted is not None:
                parameters[name] = wanted
                words.append(f"{name} = {{{name}:String}}")
        return " AND ".join(words), parameters


def entry_of_row(row: Sequence[Any]) -> Entry:
    """Return the entry of a row, without its link and without the hash of the record."""
    partition, offset, line, project, item, client, report, slot_s, received_ms, feature, *figures = row
    quantity, in_quota, in_grace, over, exceptions = figures
    return Entry(
        partition=partition,
        offset=offset,
        line=line,
        project_id=project,
        item_id=item,
        client_uuid=client,
        report_id=report,
        slot=instant(slot_s),
        received_at=instant_of_ms(received_ms),
        feature=feature,
        quantity=quantity,
        in_quota=in_quota,
        in_grace=in_grace,
        over=over,
        exceptions=exceptions,
        record_sha256=None,
        link=UNLINKED,
    )


def period_of(subject: Subject) -> Period:
    """Return the range of a subject as the statistics know it."""
    return Period(date.fromisoformat(subject.first_day), date.fromisoformat(subject.last_day))


def statistic_of(subject: Subject, ask: Any) -> int:
    """Return the units that the statistics show for a subject; `ask` runs a query of `analytics`."""
    name, period = subject.organization_id, period_of(subject)
    rows: Iterator[Any]
    if subject.item_id is not None:
        rows = (row for row in ask(ItemUsage(name, period)) if row["item_id"] == subject.item_id)
    else:
        rows = iter(ask(ProjectUsage(name, period, subject.project_id)))
    return sum(int(row["count"]) for row in rows if subject.feature in (None, row["feature"]))
