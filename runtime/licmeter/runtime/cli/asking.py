"""What the `licmeter stats …` commands share: who is asked about which days, and how an answer is printed."""

import csv
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from licmeter.runtime.cli.output import errors, out, print_json, table
from licmeter.runtime.errors import LicmeterError, ServiceError, UsageError
from licmeter.runtime.settings import load_settings

if TYPE_CHECKING:
    from licmeter.analytics.query import Period
    from licmeter.analytics.statistics.api import Answer, Statistics
    from licmeter.analytics.statistics.words import Scope

__all__ = [
    "CsvOption",
    "FromOption",
    "ItemOption",
    "LastOption",
    "OrganizationOption",
    "ProjectOption",
    "ToOption",
    "period_of",
    "print_answer",
    "print_updated",
    "scope_of",
    "statistics",
]

#: As `_plain` writes them.
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")

OrganizationOption = Annotated[
    str | None, typer.Option(help="Whose statistics; may be left out where there is only one organization.")
]
ProjectOption = Annotated[str | None, typer.Option(help="Only usage through this project.")]
ItemOption = Annotated[str | None, typer.Option(help="Only usage of this item.")]
LastOption = Annotated[int | None, typer.Option(min=1, max=40_000, help="The last N days (UTC), today included.")]
FromOption = Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day (UTC).")]
ToOption = Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day, included.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV instead of tables.")]


@contextmanager
def statistics(organization: str | None) -> Iterator["Statistics"]:
    """Open the statistics of an organization; raises `ServiceError` where ClickHouse is not there or refuses."""
    from licmeter.analytics.query import run
    from licmeter.analytics.statistics.api import Statistics
    from licmeter.analytics.statistics.words import StatisticsError
    from licmeter.analytics.usage import OrganizationsQuery
    from licmeter.runtime.wiring import clickhouse_target

    target = clickhouse_target(load_settings())
    try:
        client = target.connect()
        try:
            names = [row["organization_id"] for row in run(client, OrganizationsQuery())]
            yield Statistics(client, _chosen(organization, names))
        finally:
            client.close()
    except StatisticsError as error:
        raise UsageError(str(error)) from error
    except (LicmeterError, typer.Exit):
        raise
    except Exception as error:
        raise ServiceError(
            f"ClickHouse at {target.url} could not answer: {error}",
            service="clickhouse",
            hint="is licmeter running? `licmeter up` starts everything",
        ) from error


def _chosen(organization: str | None, names: Sequence[str]) -> str:
    if organization is not None:
        if organization not in names:
            errors.print(f"nothing was counted of organization {organization} yet", style="yellow", highlight=False)
        return organization
    if len(names) == 1:
        return names[0]
    if not names:
        raise UsageError(
            "nothing was counted yet", hint="`licmeter send FILE` or `licmeter import lmstat FILE` brings reports in"
        )
    raise UsageError(f"name one of {len(names)} organizations: --organization {' | '.join(names[:10])}")


def scope_of(project: str | None, item: str | None) -> "Scope":
    """Return the scope; raises `UsageError` for both at once."""
    from licmeter.analytics.statistics.words import ORGANIZATION, Scope

    if project is not None and item is not None:
        raise UsageError("--project and --item exclude each other", hint="split one view by the other: --split item")
    if project is not None:
        return Scope.project(project)
    return ORGANIZATION if item is None else Scope.item(item)


def period_of(last: int | None, first_day: datetime | None, last_day: datetime | None, today: date) -> "Period":
    """Return the range (Q6): the last days, from and to, or all history."""
    from licmeter.analytics.query import Period
    from licmeter.analytics.statistics.api import last_days

    if last is not None and (first_day is not None or last_day is not None):
        raise UsageError("--last and --from/--to exclude each other")
    if last is not None:
        return last_days(last, today)
    period = Period(first_day and first_day.date(), last_day and last_day.date())
    if period.first is not None and period.last is not None and period.last < period.first:
        raise UsageError("--to is before --from")
    return period


def print_answer(answer: "Answer[Any]", value: Any, *, as_json: bool, as_csv: bool, title: str) -> bool:
    """Print an answer for machines, or as a plain table; tell whether it was printed for machines."""
    if as_json:
        print_json(
            {
                "organization_id": answer.organization_id,
                "updated_at": _plain(answer.updated_at),
                "data": _plain(value),
            }
        )
        return True
    rows = [_plain(row) for row in (value if isinstance(value, list) else [value])]
    if as_csv:
        _print_csv(rows)
        return True
    if title:
        columns = {name.replace("_", " "): _justify(rows, name) for name in (rows[0] if rows else {})}
        out.print(table(title, columns, [[_cell(cell) for cell in row.values()] for row in rows]))
        print_updated(answer)
    return False


def print_updated(answer: "Answer[Any]") -> None:
    """Say how fresh the answer is (Q7)."""
    updated = answer.updated_at
    text = f"counted up to {updated:%Y-%m-%d %H:%M:%S} UTC" if updated else "nothing was counted yet"
    errors.print(f"{text}; days are UTC", style="dim", highlight=False)


def _print_csv(rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _flat(value) for name, value in row.items()} for row in rows)


def _flat(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return ";".join(str(each) for each in value)
    if isinstance(value, dict):
        return ";".join(f"{name}={each}" for name, each in value.items())
    return value


def _cell(value: Any) -> object:
    if isinstance(value, list | tuple | dict):
        return _flat(value)
    if isinstance(value, str) and _INSTANT.fullmatch(value):
        return value[:16].replace("T", " ") if value.endswith(":00Z") else value[:19].replace("T", " ")
    return value


def _justify(rows: Sequence[dict[str, Any]], name: str) -> str:
    values = [row[name] for row in rows if row[name] is not None]
    numbers = values and all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    return "right" if numbers else "left"


def _plain(value: Any) -> Any:
    """Return what JSON can say; instants as in RFC 3339, with Z."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds" if value.microsecond else "seconds").replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    return value.value if isinstance(value, StrEnum) else value
