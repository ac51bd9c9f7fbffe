"""Dates in the dialects of lmstat; what a snapshot's other dates and weekdays say about an open one."""

from datetime import datetime, time

import pytest

from licmeter.producers.lmstat import NoticeKind, Snapshot, parse
from licmeter.producers.lmstat.calendar import place
from licmeter.producers.lmstat.dates import DateOrder, read_date

HEADER = """\
Flexible License Manager status on {time}
Users of F:  (Total of 9 licenses issued;  Total of {n} licenses in use)
"""


def _parsed(time: str, *starts: str) -> Snapshot:
    lines = [f"    u{n} h{n} d{n} (v1.0) (s/27000 {n}), start {start}\n" for n, start in enumerate(starts)]
    (snapshot,) = parse(HEADER.format(time=time, n=len(starts)) + "".join(lines))
    return snapshot


def _starts(snapshot: Snapshot) -> list[str | None]:
    found = [checkout.start for feature in snapshot.features for checkout in feature.checkouts]
    return [None if start is None else start.isoformat(" ") for start in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Fri 10/20/2017 17:02", "2017-10-20 17:02:00", id="month first"),
        pytest.param("Fri 20/10/2017 17:02", "2017-10-20 17:02:00", id="day first"),
        pytest.param("Fri 10/11/2017 17:02", "2017-11-10 17:02:00", id="open, the weekday says day first"),
        pytest.param("Wed 10/11/2017 17:02", "2017-10-11 17:02:00", id="open, the weekday says month first"),
        pytest.param("2026-03-16 12:16", "2026-03-16 12:16:00", id="ISO"),
        pytest.param("2026-03-16T12:16:05", "2026-03-16 12:16:05", id="ISO with T"),
        pytest.param("Mon 3/16/26 12:16", "2026-03-16 12:16:00", id="two-digit year"),
        pytest.param("Mon 3/16/2026 12:16 PM", "2026-03-16 12:16:00", id="noon"),
        pytest.param("Mon 3/16/2026 12:16:07am", "2026-03-16 00:16:07", id="midnight, with seconds"),
        pytest.param("Mon 3/16/2026, 4:16 p.m.", "2026-03-16 16:16:00", id="afternoon, with a comma"),
        pytest.param("Mon Mar 16 12:16:33 2026", "2026-03-16 12:16:33", id="as ctime writes"),
        pytest.param("16-Mar-2026 12:16", "2026-03-16 12:16:00", id="month by name"),
        pytest.param("16 March 2026 12:16", "2026-03-16 12:16:00", id="month in full"),
        pytest.param("Mar 16 2026 12:16", "2026-03-16 12:16:00", id="March is no Tuesday"),
        pytest.param("mar 17/3/2026 12:16", "2026-03-17 12:16:00", id="mardi is no March"),
        pytest.param("Mo 16.03.2026 12:16", "2026-03-16 12:16:00", id="German"),
        pytest.param("月 3/16/2026 12:16", "2026-03-16 12:16:00", id="a weekday we cannot read"),
    ],
)
def test_time_of_a_snapshot(text: str, expected: str) -> None:
    taken_at = _parsed(text).taken_at
    assert taken_at is not None
    assert taken_at.isoformat(" ") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "Fri 10/20 17:02",
        "Fri 31/31/2017 17:02",
        "Fri 2/30/2017 17:02",
        "Fri 10/20/2017",
        "Fri 10/20/2017 25:02",
    ],
)
def test_an_unreadable_time_is_said(text: str) -> None:
    snapshot = _parsed(text)
    assert snapshot.taken_at is None
    assert [said.kind for said in snapshot.notices] == [NoticeKind.TIME_UNREADABLE]


@pytest.mark.parametrize(
    ("time", "start", "expected"),
    [
        pytest.param("Fri 10/20/2017 17:02", "Fri 10/20 16:40", "2017-10-20 16:40:00", id="same day"),
        pytest.param("Mon 1/1/2018 9:00", "Fri 12/29 9:56", "2017-12-29 09:56:00", id="last year"),
        pytest.param("Fri 10/20/2017 17:02", "Fri 10/20 17:03", "2017-10-20 17:03:00", id="while lmstat ran"),
        pytest.param("Fri 10/20/2017 17:02", "10/20 17:03", "2017-10-20 17:03:00", id="while it ran, no weekday"),
        pytest.param("Fri 10/20/2017 17:02", "10/21 17:03", "2016-10-21 17:03:00", id="after it: a year ago"),
        pytest.param("Fri 10/20/2017 17:02", "Wed 10/19 8:00", "2016-10-19 08:00:00", id="the weekday names the year"),
        pytest.param("Mon 3/16/2026 12:16", "Thu 2/29 8:13", "2024-02-29 08:13:00", id="leap day"),
        pytest.param("Mon 3/16/2026 12:16", "2/29 8:13", "2024-02-29 08:13:00", id="leap day without weekday"),
        pytest.param("Fri 10/20/2017 17:02", "10/20/2017 17:01", "2017-10-20 17:01:00", id="with its year"),
        pytest.param("Fri 10/20/2017 17:02", "20/10 16:40", "2017-10-20 16:40:00", id="day first against the rest"),
        pytest.param("Fri 20/10/2017 17:02", "Tue 3/10 16:40", "2017-10-03 16:40:00", id="day first by the header"),
        pytest.param("2026-03-16 12:16", "Tue 3/2 16:40", "2026-02-03 16:40:00", id="day first by the weekday"),
        pytest.param("Mon 3/16/2026 12:16", "16-Mar 8:13", "2026-03-16 08:13:00", id="month by name"),
        pytest.param("Mon 3/16/2026 12:16", "2026-03-16 08:13:59", "2026-03-16 08:13:59", id="ISO"),
        pytest.param("Mon 3/16/2026 12:16", "Mon 3/16 8:13pm", "2026-03-16 20:13:00", id="later the same day"),
    ],
)  # fmt: skip
def test_start(time: str, start: str, expected: str) -> None:
    snapshot = _parsed(time, start)
    assert _starts(snapshot) == [expected]
    assert snapshot.notices == ()


@pytest.mark.parametrize("start", ["", "yesterday", "Fri 13/32 16:40", "Fri 10/20 99:40", "0/0 1:00", "Tue 10/9 15"])
def test_an_unreadable_start_keeps_the_checkout(start: str) -> None:
    snapshot = _parsed("Fri 10/20/2017 17:02", start)
    assert snapshot.features[0].checked_out == 1
    assert _starts(snapshot) == [None]
    assert NoticeKind.START_UNREADABLE in [said.kind for said in snapshot.notices]


def test_most_dates_decide_on_the_order() -> None:
    snapshot = _parsed("10/11/2017 17:02", "8/11 1:00", "25/10 1:00")
    assert snapshot.taken_at == datetime(2017, 11, 10, 17, 2)  # noqa: DTZ001 - as printed
    assert _starts(snapshot) == ["2017-11-08 01:00:00", "2017-10-25 01:00:00"]
    assert snapshot.notices == ()


def test_without_evidence_the_month_is_first_and_we_say_so() -> None:
    snapshot = _parsed("10/11/2017 17:02", "8/9 1:00")
    assert _starts(snapshot) == ["2017-08-09 01:00:00"]
    assert [said.kind for said in snapshot.notices] == [NoticeKind.DATE_AMBIGUOUS]


def test_another_output_of_the_text_tells_the_order() -> None:
    first, second = parse(HEADER.format(time="10/11/2017 17:02", n=0) + HEADER.format(time="30/11/2017 17:02", n=0))
    assert (first.taken_at, second.taken_at) == (datetime(2017, 11, 10, 17, 2), datetime(2017, 11, 30, 17, 2))  # noqa: DTZ001


def test_a_wrong_weekday_is_said() -> None:
    assert [said.kind for said in _parsed("Mon 10/20/2017 17:02").notices] == [NoticeKind.WEEKDAY_DISAGREES]


def test_a_start_without_any_year_is_unknown_unless_the_caller_knows_better() -> None:
    text = HEADER.format(time="", n=1).partition("\n")[2] + "u h d (v1) (s/1 2), start Fri 10/20 16:40\n"
    (snapshot,) = parse(text)
    assert _starts(snapshot) == [None]
    assert [said.kind for said in snapshot.notices] == [NoticeKind.START_WITHOUT_YEAR]
    (snapshot,) = parse(text, reference=datetime(2017, 10, 20, 17, 2))  # noqa: DTZ001 - local, as printed
    assert _starts(snapshot) == ["2017-10-20 16:40:00"]
    assert snapshot.notices == ()


def test_the_ends_of_time_do_no_harm() -> None:
    assert _starts(_parsed("12/31/9999 23:59", "12/31 23:59")) == ["9999-12-31 23:59:00"]
    assert _starts(_parsed("1/1/0001 0:00", "1/1 0:00")) == ["0001-01-01 00:00:00"]


def test_a_date_without_a_time_is_the_start_of_its_day() -> None:
    written = read_date("16-Mar-2026")
    assert written is not None
    placed = place(written, DateOrder.DAY_FIRST, None)
    assert placed is not None
    assert placed.at.time() == time()
