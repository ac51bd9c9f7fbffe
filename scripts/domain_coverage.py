"""Which tests show which rule of the domain: writes docs/domain-coverage.md, or checks it with --check.

A test names its rules in its name (`test_v6_a_device_stays…`, `test_7_3_…`, `test_invariant_5_…`) or in the id of a
case (`[E13 in expiry grace]`, `[check 4: …]`, `[8.2 device_refused]`). Worked examples are `test_example_6_2_…`, and
each has one through the core's functions and one through `licmeter meter`.
"""

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "domain-coverage.md"
COMMAND_TESTS: Final = "tests/unit/runtime/offline/"
CORE_TESTS: Final = "tests/unit/metering/"
STATISTICS_TESTS: Final = ("tests/unit/analytics", "tests/integration/test_statistics.py")
COLLECTED: Final = (CORE_TESTS, COMMAND_TESTS, *STATISTICS_TESTS, "tests/property")
#: A rule with more tests than these is shown with the first ones.
SHOWN_MAX: Final = 6

#: Section, then rule and what it says.
RULES: Final[dict[str, dict[str, str]]] = {
    "2 Entities": {
        "P1": "a project has many items, an item many projects; quota by item, statistics by both",
        "P2": "adding or removing items never changes past figures",
        "P3": "a license file's items join a project (the organization's document says which)",
    },
    "3 Time": {
        "T1": "instants are UTC; without a zone: rejected",
        "T2": "slots of 180 s, half-open",
        "T3": "480 slots a day, none straddles midnight",
        "T4": "an operation belongs to the slot in which it was done",
        "T5": "which clock rules what",
        "T6": "a slot closes 6 minutes after its end; late reports count all the same",
    },
    "4 Life of a report on the client": {
        "L4": "bursts of 14,400 reports from one client",
        "L5": "an invalid report is refused with a reason, not retried",
        "L6": "content is never deduplicated here",
    },
    "5 Acceptance": {
        "check 1": "invalid_schema",
        "check 2": "negative_count",
        "check 3": "count_out_of_range",
        "check 4": "slot_misaligned",
        "check 5": "clock_skew",
        "check 6": "future_slot",
        "check 7": "too_old",
        "check 8": "unknown_project",
        "check 9": "project_disabled",
        "check 10": "conflict, or duplicate in its place",
        "A1": "duplicates by client and report id; content without sent_at, attempt, received_at",
        "A2": "two ids of one client and slot are both counted",
        "A3": "duplicate memory of 32 days",
        "A4": "totals do not depend on arrival order",
        "A5": "late reports do not reopen past alerts",
        "A6": "a zero total is a contact, not consumption",
        "A7": "accepted usage never decreases",
        "A8": "a replay gives the same counters and breach ids",
    },
    "6.1 Per scan, per page": {
        "C1": "used = sum of counts since the start, no reset",
        "C2": "percent; exhausted at Q, refused at Q + G",
        "C3": "a report counts in full, in three parts",
        "C4": "pages are counted by module",
    },
    "6.2 Per device": {
        "V1": "active time, rolling",
        "V2": "a contact moves the seat's end to min(t + P, expiry)",
        "V3": "a seat is live while now < end",
        "V4": "limit Q + G; a device with a live seat always passes",
        "V5": "the gauge falls when seats end",
        "V6": "one seat for item and client; a device stays with its item",
        "V7": "what one device is: its opaque UUID",
        "V8": "a new UUID is a new seat, the old one stays until it ends",
        "V9": "seats cannot be freed by hand",
    },
    "6.3 Per concurrent device": {
        "N1": "any number may be authorized; only reports with use count in a slot",
        "N2": "e(s) = what a(s) is above N; consumed = Σ e(s)",
        "N3": "budget 1000 × N, configurable",
        "N4": "used up: at most N devices a slot, the rest is refused",
        "N5": "budget year of 365 days from the start, by slot",
        "N6": "late usage raises a past slot; consumed never falls within a year",
        "N7": "over-the-cap usage is counted, flagged over, and adds to e(s)",
        "N8": "a lease runs to the end of the slot after the current one",
    },
    "6.4 Per concurrent instance": {
        "I1": "1 ≤ X ≤ N; granted independently",
        "I2": "seats count in slots with use, then all X",
        "I3": "a device's X is the highest declared; none = 1",
        "I4": "a(s) = Σ X; exceptions and budget as for devices",
        "I5": "capped: at most N seats, granted whole or refused",
        "I6": "instances above N are counted as sent",
    },
    "6.5 Per server": {
        "S1": "counted like per_device",
        "S2": "365 days, 10 % grace; one server has none",
    },
    "6.6 Per domain": {
        "O1": "unlimited use on one domain with its sub-domains; shared suffixes",
        "O2": "the domain key",
        "O3": "quota = distinct keys; outside: 103 or 114; addresses only when listed",
        "O4": "no percent, grace or alert; domain_refused once a day",
    },
    "7 Consumption order": {
        "7.1": "eligible items",
        "7.2": "order",
        "7.3": "allotment in three passes",
        "7.4": "split by unit and feature; devices and seats never",
        "7.5": "charged to the item in use only",
    },
    "8 State and breach events": {
        "8.1": "state, first match wins",
        "8.2": "one message for each crossing",
        "8.2 quota_reached": "crosses Q",
        "8.2 grace_exhausted": "crosses Q + G",
        "8.2 device_refused": "new device at the limit; item, client, day",
        "8.2 concurrency_exceeded": "first exception of a slot; item, slot",
        "8.2 overuse_exhausted": "consumed crosses B; item, budget year",
        "8.2 domain_refused": "host outside; item, domain key, day",
        "8.2 unlicensed_use": "report uncharged; project, slot, client",
        "8.2 clock_skew": "checks 5 and 6; client, day",
        "8.2 unknown_project": "check 8; project id, day",
    },
    "9 Authorization verdict": {
        "U1": "project id and client UUID are enough",
        "U2": "the answer names the item in use",
        **{
            f"code {number}": meaning
            for number, meaning in {
                100: "standby while the main server works",
                101: "project unknown",
                102: "session password",
                103: "project validation",
                104: "no item, project disabled, or all items fail in 106–109 for different reasons",
                106: "product",
                107: "version",
                108: "deployment type",
                109: "edition",
                111: "expired",
                112: "not started",
                113: "revoked",
                114: "item validation",
                115: "charge way",
                120: "used up",
                121: "organization unknown or without default project",
                122: "project of another organization",
                123: "nothing named",
                124: "add-on without its core item",
                130: "more seats in one request than the quota",
                151: "clone",
            }.items()
        },
    },
    "10 Statistics": {
        "Q1": "views by project and by item",
        "Q2": "header of an item, list of items",
        "Q3": "shares: all history, range, today, by feature",
        "Q4": "trend, per day or running",
        "Q5": "a day by time, device, authorization, report; the latest 1,000",
        "Q6": "ranges",
        "Q7": "every answer says when it was last updated",
        "Q8": "by usage time, or by arrival",
        "Q9": "trends are zero-filled, tables sparse",
        "Q10": "parts add up",
        "Q11": "bound to one organization",
    },
    "11 Usage alerts": {
        "W1": "a check every 10 minutes, on all data received so far",
        "W2": "all conditions of a check in one message",
        "W3": "levels",
        "W4": "levels are compared in integers",
        "W5": "several levels: the highest, and the list",
        "W6": "no repeats",
        "W7": "re-arm 5 points below",
        "W8": "failure ratio: 60 minutes, at least 10 requests",
        "W9": "pending, revoked, expired are not checked; reminders",
        "W10": "recipients",
        "W11": "missed checks are not made up",
        "W12": "alert_id = hash(organization, check instant)",
    },
    "13 Edge cases": {
        "E1": "clock ahead ≤ 5 min",
        "E2": "clock ahead > 5 min, or off > 24 h",
        "E3": "clock behind, below 24 h",
        "E4": "period reset: none, but the budget year",
        "E5": "renewal: a new item, nothing carried over",
        "E6": "early renewal: the old one is drained first",
        "E7": "seats at renewal are not moved",
        "E8": "more quota is a new item",
        "E9": "quota edited",
        "E10": "project disabled",
        "E11": "two items in one file are independent",
        "E12": "expired, used before, reported after",
        "E13": "in the 7 days after expiry",
        "E14": "starts or ends inside a slot",
        "E15": "revoked",
        "E16": "item removed from a project",
        "E17": "unknown project: replayable, nothing created",
        "E18": "project with no item",
        "E19": "report before any authorization",
        "E20": "odd counts",
        "E21": "unknown feature name",
        "E22": "same UUID in two projects on one item",
        "E23": "same UUID comes back",
        "E24": "device reinstalled",
        "E25": "same report through main and standby",
        "E26": "two reports, same slot and device",
        "E27": "instances 3 and 5 in one slot",
        "E28": "no quota",
        "E29": "crossing Q and Q + G at once",
        "E30": "30 days of stored reports at once",
        "E31": "check during a slot",
        "E32": "no request in the window",
        "E33": "configuration change and report race",
    },
    "15 Invariants": {
        "invariant 1": "the same input twice changes nothing",
        "invariant 2": "any order gives the same totals",
        "invariant 3": "in_quota + in_grace + over = used",
        "invariant 4": "live seats never exceed Q + G",
        "invariant 5": "Σ e(s) = consumed",
        "invariant 6": "a level once between two armings",
        "invariant 7": "accepted + duplicates + rejected = received",
        "invariant 8": "project totals do not depend on items",
        "invariant 9": "slot arithmetic",
        "invariant 10": "no output says more than its schema",
    },
}

EXAMPLES: Final[dict[str, str]] = {
    "3": "slots of five instants",
    "5": "thirty days and a millisecond",
    "6": "rounding",
    "6.1": "pages, Q = 2,000",
    "6.2": "monthly devices, Q = 5",
    "6.3": "seven devices on N = 4; a stored report on N = 2",
    "6.4": "three servers on N = 6",
    "7.3": "J1 and J2; D1 and S1",
    "8": "G = 0; both limits at once",
    "10": "a day's totals by project and item",
    "11": "six checks; a jump; the payload",
}

#: Rules that are another component's part.
ELSEWHERE: Final[dict[str, str]] = {
    "L1": "the client records operations; here every report counts, however many a slot has (A2)",
    "L2": "the client decides when it sends",
    "L3": "the client keeps and purges its copies; what comes within 30 days is accepted (check 7)",
    "I7": "fails on the device; the pipeline does not see it",
    "code 105": "the form of project ids of protocol 1.5; here a malformed id fails check 1",
    "H1–H5": "installation, failover and transport: `runtime`; a report that comes twice is A1",
}

_IN_NAME: Final = re.compile(r"(?<=_)([ptlacvnisouweq])(\d+)(?=_|$)")
_IN_CASE: Final = re.compile(r"\b([PTLACVNISOUWEQ])(\d+)\b")
_SECTION: Final = re.compile(r"(?:(?<=_)|\b)([78])[._]([1-5])(?=_|\b)")
_NUMBERED: Final = re.compile(r"(?:(?<=_)|\b)(check|code)s?[ _](\d+)(?=_|\b)")
_INVARIANT: Final = re.compile(r"(?<=_)invariants?((?:_(?:and_)?\d+)+)(?=_|$)")
_EXAMPLE: Final = re.compile(r"(?<=_)example_(\d+(?:_\d+)?)(?=_[a-z])")


def main(arguments: list[str]) -> int:
    """Write the page, or compare it; return the exit code."""
    tests = collect()
    page, empty = render(tests), missing(tests)
    for rule in empty:
        sys.stderr.write(f"{rule} has no test\n")
    if "--check" not in arguments:
        PAGE.write_text(page)
        return 1 if empty else 0
    stale = not PAGE.exists() or PAGE.read_text() != page
    if stale:
        sys.stderr.write(f"{PAGE.relative_to(ROOT)} is stale: run python scripts/domain_coverage.py\n")
    return 1 if stale or empty else 0


def collect() -> list[str]:
    """Return the ids of all tests that may show a rule."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *COLLECTED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the tests cannot be collected:\n{done.stdout}{done.stderr}")
    return sorted(line for line in done.stdout.splitlines() if "::" in line)


def rules_of(test: str) -> Iterator[str]:
    """Yield the rules that a test id names; an example as `example 6.2`."""
    _, _, name = test.partition("::")
    function, _, case = name.partition("[")
    found = {letter.upper() + number for letter, number in _IN_NAME.findall(function)}
    found |= {letter + number for letter, number in _IN_CASE.findall(case)}
    for part in (function, case):
        found |= {f"{word} {number}" for word, number in _NUMBERED.findall(part)}
        found |= {f"{section}.{number}" for section, number in _SECTION.findall(part)}
    for numbers in _INVARIANT.findall(function):
        found |= {f"invariant {number}" for number in re.findall(r"\d+", numbers)}
    found |= {f"example {number.replace('_', '.')}" for number in _EXAMPLE.findall(function)}
    kinds = (rule.removeprefix("8.2 ") for rule in RULES["8 State and breach events"] if rule.startswith("8.2 "))
    if "8.2" in found:
        found |= {f"8.2 {kind}" for kind in kinds if kind in name}
    yield from found


def by_rule(tests: list[str]) -> dict[str, list[str]]:
    """Return the tests of each rule."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for test in tests:
        for rule in rules_of(test):
            found[rule].append(test)
    return found


def missing(tests: list[str]) -> list[str]:
    """Return the rules without a test, and the examples that are not shown in both ways."""
    found = by_rule(tests)
    empty = [rule for rules in RULES.values() for rule in rules if not found.get(rule)]
    for number in EXAMPLES:
        shown = found.get(f"example {number}", [])
        for way, prefix in (("core", CORE_TESTS), ("command", COMMAND_TESTS)):
            if not any(test.startswith(prefix) for test in shown):
                empty.append(f"example {number} ({way})")
    return empty


def render(tests: list[str]) -> str:
    """Return the page."""
    found = by_rule(tests)
    lines = [
        "# Which tests show which rule",
        "",
        "Written by `python scripts/domain_coverage.py` from the names of the tests; `--check` fails when this page is",
        "stale or a rule has no test. Rule ids are those of the domain reference.",
        "",
        "## Worked examples",
        "",
        "| section | example | through the core | through `licmeter meter` |",
        "|---|---|---|---|",
    ]
    for number, meaning in EXAMPLES.items():
        shown = found.get(f"example {number}", [])
        core, command = ([t for t in shown if t.startswith(p)] for p in (CORE_TESTS, COMMAND_TESTS))
        lines.append(f"| {number} | {meaning} | {_shown(core)} | {_shown(command)} |")
    for section, rules in RULES.items():
        lines += ["", f"## {section}", "", "| rule | says | tests |", "|---|---|---|"]
        lines += [f"| {rule} | {meaning} | {_shown(found.get(rule, []))} |" for rule, meaning in rules.items()]
    lines += ["", "## Not the core's", "", "| rule | whose, and why |", "|---|---|"]
    lines += [f"| {rule} | {reason} |" for rule, reason in ELSEWHERE.items()]
    return "\n".join(lines) + "\n"


def _shown(tests: list[str]) -> str:
    """Name tests by file and function; the cases of one function are counted."""
    cases: defaultdict[str, int] = defaultdict(int)
    for test in tests:
        path, _, name = test.partition("::")
        cases[f"`{Path(path).stem}::{name.partition('[')[0]}`"] += 1
    shown = [f"{name} ×{count}" if count > 1 else name for name, count in cases.items()]
    more = len(shown) - SHOWN_MAX
    return ", ".join(shown[:SHOWN_MAX]) + (f", and {more} more" if more > 0 else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
