"""Places the dates of all outputs of one text, since one output may show which order of month and day they share."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from licmeter.producers.lmstat.calendar import Placed, better_order, is_open, place
from licmeter.producers.lmstat.dates import DateOrder, WrittenDate, read_date
from licmeter.producers.lmstat.records import Holder, Output, notice
from licmeter.producers.lmstat.snapshot import Notice, NoticeKind

__all__ = ["DatePlacer", "PlacedDates"]


@dataclass(frozen=True, slots=True)
class PlacedDates:
    """When an output was taken, and the start of each check-out by its line number."""

    taken_at: datetime | None
    starts: dict[int, datetime | None]
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True)
class _Dates:
    header: WrittenDate | None
    starts: tuple[tuple[Holder, WrittenDate | None], ...]

    @property
    def written(self) -> list[WrittenDate]:
        return [start for _, start in self.starts if start is not None]


class DatePlacer:
    """Knows the order of month and day of every output of a text."""

    def __init__(self, outputs: Sequence[Output], reference: datetime | None) -> None:
        self._reference = reference
        self._dates = {id(output): _dates_of(output) for output in outputs}
        self._orders = {key: better_order(dates.header, dates.written, reference) for key, dates in self._dates.items()}
        shown = Counter(order for order in self._orders.values() if order is not None)
        self._usual = shown.most_common(1)[0][0] if shown else None

    def of(self, output: Output) -> PlacedDates:
        """Place the dates of one output."""
        dates = self._dates[id(output)]
        order = self._orders[id(output)] or self._usual
        notices: list[Notice] = []
        taken_at = _header(output, dates.header, order or DateOrder.MONTH_FIRST, notices)
        snapshot = taken_at or self._reference
        if order is None and any(is_open(each) for each in [*dates.written, *([dates.header] if dates.header else [])]):
            message = "nothing tells month from day in these dates; read with the month first"
            notices.append(notice(NoticeKind.DATE_AMBIGUOUS, output.line_number, output.time_text or "", message))
        starts = {
            holder.line_number: _start(holder, start, order or DateOrder.MONTH_FIRST, snapshot, notices)
            for holder, start in dates.starts
        }
        if snapshot is None and any(start is not None and start.year is None for _, start in dates.starts):
            message = "starts without a year stay unknown, because the output does not say when it was taken"
            notices.append(notice(NoticeKind.START_WITHOUT_YEAR, output.line_number, output.time_text or "", message))
        return PlacedDates(taken_at, starts, tuple(notices))


def _dates_of(output: Output) -> _Dates:
    holders = [holder for block in output.blocks for holder in block.holders if not holder.line.queued]
    header = read_date(output.time_text) if output.time_text else None
    if header is not None and (header.year is None or header.clock is None):
        header = None  # a snapshot without year or time of day cannot be put into a slot
    return _Dates(header, tuple((holder, read_date(holder.line.start_text)) for holder in holders))


def _in_either(written: WrittenDate, order: DateOrder, snapshot: datetime | None) -> Placed | None:
    """Place a date in the order of its output or, if there is no such date, in the other one."""
    return place(written, order, snapshot) or place(written, order.other, snapshot)


def _header(output: Output, header: WrittenDate | None, order: DateOrder, notices: list[Notice]) -> datetime | None:
    placed = _in_either(header, order, None) if header is not None else None
    text = output.time_text
    if placed is None:
        if text is not None:
            message = "the time of this output cannot be read; it can be placed only by naming one"
            notices.append(notice(NoticeKind.TIME_UNREADABLE, output.line_number, text, message))
        return None
    if not placed.weekday_agrees:
        message = f"read as {placed.at:%Y-%m-%d}, which is another day of the week"
        notices.append(notice(NoticeKind.WEEKDAY_DISAGREES, output.line_number, text or "", message))
    return placed.at


def _start(
    holder: Holder,
    written: WrittenDate | None,
    order: DateOrder,
    snapshot: datetime | None,
    notices: list[Notice],
) -> datetime | None:
    placed = _in_either(written, order, snapshot) if written is not None else None
    if placed is not None:
        if not placed.weekday_agrees:
            message = f"its start is read as {placed.at:%Y-%m-%d}, which is another day of the week"
            notices.append(notice(NoticeKind.WEEKDAY_DISAGREES, holder.line_number, holder.text, message))
        return placed.at
    if written is None or written.year is not None or snapshot is not None:
        message = f"its start {holder.line.start_text!r} cannot be read; the check-out is counted"
        notices.append(notice(NoticeKind.START_UNREADABLE, holder.line_number, holder.text, message))
    return None
