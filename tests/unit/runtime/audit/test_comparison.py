"""Sums by day, and rows side by side."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from licmeter.metering.breaches import BreachFact, breach_message
from licmeter.runtime.audit import books as books_module
from licmeter.runtime.audit.books import DayBooks
from licmeter.runtime.audit.differing import ROWS_LISTED_MAX, RowComparison
from licmeter.runtime.audit.report import LISTED_MAX, AuditReport, Difference
from licmeter.runtime.audit.tables import BREACHES, USAGE, Row, breach_row, message_row
from licmeter.runtime.errors import UsageError
from licmeter.schemas.outcomes import BreachKind

SLOT_S = int(datetime(2031, 3, 8, 10, 0, tzinfo=UTC).timestamp())
DAY = SLOT_S // 86_400
KEY = b"0123456789abcdef"
GROUP = (USAGE.name, "1", DAY)


def row(offset: int, quantity: int = 2, client: str = "device-1") -> Row:
    numbers = (3, offset, 0, SLOT_S, quantity, quantity, 0, 0, 0, 1, False, False, SLOT_S * 1000 + 60_000)
    return (*numbers, "1", "1-p", "41", client, f"r{offset}", "qr", "charged", "use", "quota")


def crossing(at_ms: int, value: int) -> BreachFact:
    return BreachFact(
        "1",
        BreachKind.QUOTA_REACHED,
        ("41", 5),
        SLOT_S,
        at_ms,
        item_id="41",
        quota=5,
        limit=5,
        value=value,
        percent_base=5,
    )


def told(comparison: RowComparison, *, behind: bool = False) -> list[tuple[str, Difference, int]]:
    return list(comparison.differences(USAGE, GROUP, where="ClickHouse", day="2031-03-08", behind=behind))


def test_digests_tell_rows_apart_that_look_alike_when_joined() -> None:
    one, other = row(1), row(1)
    shifted = (*one[:15], "4", "1device-1", *one[17:])
    assert USAGE.digest(one, KEY) == USAGE.digest(other, KEY)
    assert len({USAGE.digest(each, KEY) for each in (one, shifted, row(1, client="größe"), row(11))}) == 4
    assert USAGE.digest(one, KEY) != USAGE.digest(one, KEY[::-1])


def test_settled_and_open_rows_are_summed_apart_in_any_order() -> None:
    books, other = DayBooks(KEY, cut=5), DayBooks(KEY, cut=5)
    rows = [row(3), row(5, 4), row(6, 8)]
    for each in rows:
        books.add(USAGE, each, each[1])
    for each in reversed(rows):
        other.add(USAGE, each, each[1])
    assert books.settled == other.settled
    assert books.settled[GROUP].figures == [2, 2, 6, 6, 0, 0, 0]
    assert books.open[GROUP].figures == [1, 1, 8, 8, 0, 0, 0]
    both = books.open[GROUP].plus(books.settled[GROUP])
    assert both.figures == [3, 3, 14, 14, 0, 0, 0]


def test_of_a_breach_that_comes_again_the_latest_stays() -> None:
    books, once = DayBooks(KEY, cut=5), DayBooks(KEY, cut=5)
    for offset, fact in ((1, crossing(1_000, 5)), (4, crossing(2_000, 7)), (9, crossing(3_000, 9))):
        books.add(BREACHES, breach_row(fact), offset)
    once.add(BREACHES, breach_row(crossing(2_000, 7)), 4)
    for each in (books, once):
        each.end_partition()
    assert books.settled == once.settled
    assert sum(sums.figures[0] for sums in books.open.values()) == 1


def test_a_breach_has_the_same_row_as_its_message() -> None:
    fact = replace(crossing(1_234_567_890_123, 7), client_uuid="c", late=True, detail="x")
    assert message_row(breach_message(fact)) == breach_row(fact)


def test_too_many_groups_are_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books_module, "GROUPS_MAX", 2)
    books = DayBooks(KEY, cut=5)
    first, second, third = ((*row(number)[:13], f"o{number}", *row(number)[14:]) for number in range(3))
    books.add(USAGE, first, 0)
    books.add(USAGE, second, 1)
    with pytest.raises(UsageError, match="more than 2 organizations and days"):
        books.add(USAGE, third, 2)


def test_rows_are_missing_foreign_or_different() -> None:
    comparison = RowComparison([GROUP])
    comparison.begin_partition(10)
    for each in (row(1), row(2), row(3, 5), row(11)):
        comparison.add(USAGE, each, each[1])
    comparison.add_found(USAGE, [row(1), row(3, 4), row(4)])
    (missing, foreign, differs) = (difference for _, difference, _ in told(comparison))
    assert (missing.place, missing.what.partition(":")[0]) == ("3:2:0", "missing in ClickHouse")
    assert (foreign.place, foreign.what.partition(":")[0]) == ("3:4:0", "in ClickHouse, not in the log")
    assert differs.place == "3:3:0"
    assert differs.what == "differs: quantity 4 ≠ 5 of the log, in_quota 4 ≠ 5 of the log"
    assert {owner for owner, _, _ in told(comparison)} == {"1"}
    assert [difference.pending for _, difference, _ in told(comparison, behind=True)] == [True, False, False]
    comparison.close()


def test_an_open_row_may_be_stored_but_not_otherwise() -> None:
    for stored, count in (([], 0), ([row(11)], 0), ([row(11, 9)], 1)):
        comparison = RowComparison([GROUP])
        comparison.begin_partition(10)
        comparison.add(USAGE, row(11), 11)
        comparison.add_found(USAGE, stored)
        assert len(told(comparison)) == count
        comparison.close()


def test_of_many_rows_some_are_listed_and_all_are_counted() -> None:
    comparison = RowComparison([GROUP])
    comparison.begin_partition(10_000)
    for number in range(1_000):
        comparison.add(USAGE, row(number), number)
    found = told(comparison)
    assert len(found) == ROWS_LISTED_MAX + 1
    assert sum(count for _, _, count in found) == 1_000
    assert found[-1][1].what == "… and 980 more rows missing in ClickHouse"
    comparison.close()


def test_a_report_lists_some_and_counts_all() -> None:
    report = AuditReport()
    for number in range(LISTED_MAX + 50):
        report.of("1").note(Difference("here", "x", str(number)))
    report.of("").note(Difference("here", "x", pending=True))
    assert (report.differences, report.pending) == (LISTED_MAX + 50, 1)
    assert len(report.of("1").listed) == LISTED_MAX
    assert [each.organization_id for each in report.each()] == ["1", ""]
