"""From breaches and usage alerts to pages: the numbers, whether they are final, and what to do. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from licmeter.metering.limits import DEFAULT_LIMITS
from licmeter.metering.slots import CLOSE_DELAY_S, SLOT_SECONDS
from licmeter.schemas.alerts import Breach, Condition, UsageAlert
from licmeter.sinks.notify.digests import NAMES_MAX, Gathered
from licmeter.sinks.notify.pages import Page
from licmeter.sinks.notify.wording import ALERT_ADVICE, BREACHES, Words

__all__ = ["alert_page", "breach_page"]

_LATE_DAYS: Final = DEFAULT_LIMITS.age_ms // 86_400_000
_CLOSED_MINUTES: Final = CLOSE_DELAY_S // 60
#: Words of clients may be long, and a title is no place for them.
_NAME_CHARS_MAX: Final = 60
_NAMES_SHOWN: Final = 5
#: An organization may have thousands of items; a mail with all of them is read by nobody.
_CONDITIONS_MAX: Final = 100
_METRICS: Final = {
    "used": "units used",
    "active": "seats taken",
    "consumed": "exceptions of the overuse budget",
    "auth_failed_ratio": "authorizations refused",
    "expires_in_days": "days left",
}


def _time(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"


def _short(name: str | None) -> str:
    text = " ".join((name or "").split())
    return text if len(text) <= _NAME_CHARS_MAX else text[: _NAME_CHARS_MAX - 1] + "…"


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def breach_page(gathered: Gathered, words: Words | None, reference: str) -> Page:
    """Build the page of one breach, or of several of one kind."""
    known = BREACHES[gathered.kind]
    count = len(gathered.offsets)
    one = gathered.samples[0] if count == 1 else None
    values = _values(one or gathered.worst or gathered.samples[0], count)
    own = words or Words()
    subject = own.fill(own.subject or (known.one if one else known.many), values)
    advice = (own.fill(own.advice, values),) if own.advice else known.advice
    headers = ("slot", "project", "item", "client", "value", "limit", "detail")
    return Page(
        title=f"{_short(gathered.organization_id)}: {subject}",
        lead=known.meaning,
        facts=_facts_of_one(one) if one else _facts_of_many(gathered),
        headers=headers,
        rows=() if one else [_breach_row(each) for each in gathered.samples],
        lines=() if one else [_breach_line(each) for each in gathered.samples],
        below=f"These are the first {len(gathered.samples)} of {count:,}." if count > len(gathered.samples) else "",
        settled=_breach_settled(gathered, figures=known.figures),
        advice=advice,
        reference=reference,
    )


def _values(breach: Breach, count: int) -> Mapping[str, str]:
    return {
        "organization": _short(breach.organization_id),
        "project": _short(breach.project_id) or "-",
        "item": _short(breach.item_id) or "-",
        "client": _short(breach.client_uuid) or "-",
        "value": _number(breach.value) or "-",
        "quota": _number(breach.quota) or "-",
        "limit": _number(breach.limit) or "-",
        "percent": breach.percent or "-",
        "count": f"{count:,}",
    }


def _facts_of_one(breach: Breach) -> list[tuple[str, str]]:
    percent = f" ({breach.percent} %)" if breach.percent else ""
    facts = {
        "Organization": breach.organization_id,
        "Project": breach.project_id,
        "Item": breach.item_id,
        "Client": breach.client_uuid,
        "Value": None if breach.value is None else f"{breach.value:,}{percent}",
        "Quota": _number(breach.quota),
        "Limit that was crossed": _number(breach.limit),
        "Detail": breach.detail,
        "Time slot": f"{_time(breach.slot)}, {SLOT_SECONDS // 60} minutes",
        "Arrived": _time(breach.at),
        "Late": "yes" if breach.late else "no",
    }
    return [(name, value) for name, value in facts.items() if value]


def _facts_of_many(gathered: Gathered) -> list[tuple[str, str]]:
    assert gathered.first is not None
    assert gathered.last is not None
    facts = [
        ("Organization", gathered.organization_id),
        ("Number", f"{len(gathered.offsets):,}"),
        ("Time slots", f"{_time(gathered.first.slot)} to {_time(gathered.last.slot)}"),
    ]
    for name, names in (("Projects", gathered.projects), ("Items", gathered.items), ("Clients", gathered.clients)):
        if names:
            few = ": " + ", ".join(sorted(_short(each) for each in names)) if len(names) <= _NAMES_SHOWN else ""
            facts.append((name, f"{'more than ' if len(names) >= NAMES_MAX else ''}{len(names):,}{few}"))
    if gathered.worst is not None:
        worst = gathered.worst
        percent = f" ({worst.percent} %)" if worst.percent else ""
        facts.append(("Highest value", f"{_number(worst.value)}{percent}, item {_short(worst.item_id) or '-'}"))
    facts.append(("Late", f"{gathered.late:,}"))
    return facts


def _breach_row(breach: Breach) -> tuple[str, ...]:
    names = (breach.project_id, breach.item_id, breach.client_uuid)
    shown = (_time(breach.slot), *map(_short, names), _number(breach.value), _number(breach.limit))
    return *shown, _short(breach.detail) + (" late" if breach.late else "")


def _breach_line(breach: Breach) -> str:
    number = None if breach.value is None else f"{breach.value:,}" + (f" of {breach.limit:,}" if breach.limit else "")
    parts = {
        "project": _short(breach.project_id),
        "item": _short(breach.item_id),
        "client": _short(breach.client_uuid),
        "value": number,
        "detail": _short(breach.detail),
    }
    words = [f"{name} {text}" for name, text in parts.items() if text] + (["late"] if breach.late else [])
    return f"{_time(breach.slot)}: {', '.join(words)}"


def _breach_settled(gathered: Gathered, *, figures: bool) -> list[str]:
    assert gathered.last is not None
    until = gathered.last.slot + timedelta(seconds=SLOT_SECONDS, days=_LATE_DAYS)
    at = max(each.at for each in gathered.samples)
    if figures:
        lines = [
            f"That the limit was crossed is settled. The numbers are not: they are as of {_time(at)}, and reports for "
            f"{'this time slot' if len(gathered.offsets) == 1 else 'these time slots'} may arrive for {_LATE_DAYS} "
            f"days (until {_time(until)}). Late reports only add: units used and exceptions never go down; seats also "
            "become free, when their time is over."
        ]
    else:
        lines = ["Settled: this happened, and no later report takes it back. More of the kind may follow."]
    if gathered.late:
        which = "The report came" if len(gathered.offsets) == 1 else f"{gathered.late:,} of these came"
        lines.append(
            f"{which} late: after the slot had closed ({_CLOSED_MINUTES} minutes past its end), so statistics of that "
            "time which were read before have changed."
        )
    return lines


def alert_page(alert: UsageAlert, words: Words | None, reference: str) -> Page:
    """Build the page of a usage alert: all conditions of one check."""
    own = words or Words()
    first = max(alert.conditions, key=lambda each: (each.metric != "expires_in_days", each.level))
    values = {
        "organization": _short(alert.organization_id),
        "project": _short(first.project_id) or "-",
        "item": _short(first.item_id) or "-",
        "value": _number(first.value),
        "quota": _number(first.quota) or "-",
        "percent": first.percent or "-",
        "count": f"{len(alert.conditions):,}",
    }
    more = f", and {len(alert.conditions) - 1:,} more" if len(alert.conditions) > 1 else ""
    subject = own.fill(own.subject, values) if own.subject else _headline(first) + more
    shown = alert.conditions[:_CONDITIONS_MAX]
    metrics = dict.fromkeys(each.metric for each in alert.conditions)
    return Page(
        title=f"{_short(alert.organization_id)}: {subject}",
        lead=f"What the check of {_time(alert.checked_at)} found: {_passed(len(alert.conditions))}.",
        facts=(),
        headers=("what", "measured", "value", "of", "percent", "level", "passed", "state", "projects", "codes"),
        rows=[_condition_row(each) for each in shown],
        lines=[_condition_line(each) for each in shown],
        below=f"These are the first {len(shown):,} of {len(alert.conditions):,}."
        if len(shown) < len(alert.conditions)
        else "",
        settled=_alert_settled(alert, set(metrics)),
        advice=(own.fill(own.advice, values),) if own.advice else [ALERT_ADVICE[metric] for metric in metrics],
        reference=reference,
    )


def _headline(condition: Condition) -> str:
    if condition.metric == "expires_in_days":
        return f"item {_short(condition.item_id)} ends in {condition.value} day{'' if condition.value == 1 else 's'}"
    numbers = f"{condition.percent} % ({_number(condition.value)} of {_number(condition.quota)})"
    if condition.scope == "project":
        return f"project {_short(condition.project_id)}: {numbers} of authorizations refused"
    return f"item {_short(condition.item_id)} at {numbers}"


def _condition_row(condition: Condition) -> tuple[str, ...]:
    days = condition.metric == "expires_in_days"
    window = f" in {condition.window_minutes} min" if condition.window_minutes else ""
    codes = condition.top_codes or {}
    return (
        f"item {condition.item_id}" if condition.scope == "item" else f"project {condition.project_id}",
        f"{_METRICS[condition.metric]}{window}",
        _number(condition.value),
        _number(condition.quota),
        f"{condition.percent} %" if condition.percent else "",
        f"{condition.level} {'days' if days else '%'}",
        " ".join(str(level) for level in condition.crossed),
        condition.state or "",
        _few(condition.project_ids or ()),
        " ".join(f"{code}×{count}" for code, count in codes.items()),
    )


def _passed(count: int) -> str:
    return "a level was passed" if count == 1 else f"{count:,} levels were passed"


def _condition_line(condition: Condition) -> str:
    what, measured, value, of, percent, level, passed, state, projects, codes = _condition_row(condition)
    numbers = f"{value} {measured}" if not of else f"{value} of {of} {measured} ({percent})"
    parts = {"level": f"{level} (passed: {passed})", "state": state, "projects": projects, "codes": codes}
    return f"{what}: {numbers}" + "".join(f"; {name} {text}" for name, text in parts.items() if text)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN:,} more" if len(names) > _NAMES_SHOWN else ""
    return " ".join(map(_short, names[:_NAMES_SHOWN])) + more


def _alert_settled(alert: UsageAlert, metrics: set[str]) -> list[str]:
    until = alert.checked_at + timedelta(days=_LATE_DAYS)
    lines = [
        f"Not final: the numbers are as of {_time(alert.checked_at)}. Reports for earlier time slots may still arrive "
        f"for {_LATE_DAYS} days (until {_time(until)}) and are counted in their own slots; a level that is passed is "
        "not alerted again while the value stays there."
    ]
    if metrics & {"used", "consumed"}:
        lines.append("Units used and exceptions only go up (exceptions begin at 0 with each budget year).")
    if "active" in metrics:
        lines.append("Seats taken go down, too: a seat ends a period of activity after its last contact.")
    if "auth_failed_ratio" in metrics:
        lines.append(
            "The share of refused authorizations is that of the hour before the check; it moves on with the clock."
        )
    return lines
