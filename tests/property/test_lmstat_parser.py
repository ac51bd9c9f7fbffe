"""The lmstat parser takes any text, in linear time, and reads back what a server with any content would print."""

import string
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licmeter.producers.lmstat import (
    Checkout,
    Feature,
    QueuedRequest,
    Reservation,
    Snapshot,
    convert,
    decode,
    parse,
    summarize,
)

SLOT = datetime(2031, 3, 8, 14, 12, tzinfo=UTC)
TAKEN_AT = datetime(2026, 3, 16, 12, 16)  # noqa: DTZ001 - as a server prints it
FRAGMENTS = [
    "Users of ", "F:", "(Total of ", "4", " licenses issued;  Total of ", "2 licenses in use)", "\n", " ", ", start ",
    "Fri 10/20 16:40", "(v1.0)", "(s/1 2)", " queued for 1 license", ", 3 licenses", "RESERVATION for GROUP g", '"',
    "vendor: ", "license server UP", "Flexible License Manager status on ", "10/11/2017 17:02",
    "License server status: ",
    "Vendor daemon status", ": ", "user host display ", "(", ")", "-1", "\r", "\ufeff", "²", "٣", "İ", "\x00",
]  # fmt: skip

words = st.text(string.ascii_letters + string.digits + "_.-", min_size=1, max_size=12).filter(
    lambda word: word.strip(".")
)
counts = st.integers(1, 999_999)


@st.composite
def checkouts(draw: st.DrawFn) -> Checkout:
    return Checkout(
        user=draw(words),
        host=draw(words),
        display=draw(words),
        version=f"v{draw(st.integers(0, 99))}.{draw(st.integers(0, 9))}",
        server=f"{draw(words)}/{draw(st.integers(1, 65_535))}",
        handle=str(draw(st.integers(0, 99_999))),
        start=TAKEN_AT - timedelta(minutes=draw(st.integers(0, 300 * 24 * 60))),
        licenses=draw(counts),
        suffix=draw(st.sampled_from(["", "(linger: 885098 / 1340160)", "PID: 1239140"])),
    )


reservations = st.builds(
    Reservation,
    licenses=counts,
    kind=st.sampled_from(["GROUP", "HOST_GROUP", "USER", "HOST", "DISPLAY", "INTERNET", "PROJECT"]),
    name=words,
    server=st.builds("{}/{}".format, words, st.integers(1, 65_535)),
)
queued = st.builds(QueuedRequest, user=words, host=words, display=words, licenses=counts)


@st.composite
def features(draw: st.DrawFn) -> Feature:
    held = tuple(draw(st.lists(checkouts(), max_size=4)))
    reserved = tuple(draw(st.lists(reservations, max_size=3)))
    return Feature(
        name=draw(words),
        issued=draw(counts),
        in_use=sum(line.licenses for line in held) + sum(line.licenses for line in reserved),
        server_line="27000@server",
        checkouts=held,
        reservations=reserved,
        queued=tuple(draw(st.lists(queued, max_size=2))),
    )


snapshots = st.builds(
    Snapshot,
    taken_at=st.just(TAKEN_AT),
    time_text=st.just("Mon 3/16/2026 12:16"),
    features=st.lists(features(), min_size=1, max_size=4).map(tuple),
)


def _plural(count: int) -> str:
    return "license" if count == 1 else "licenses"


def _checkout_line(line: Checkout) -> str:
    assert line.start is not None
    started = f"{line.start:%a} {line.start.month}/{line.start.day} {line.start.hour}:{line.start:%M}"
    licenses = "" if line.licenses == 1 else f", {line.licenses} licenses"
    suffix = f", {line.suffix}" if line.suffix.startswith("PID") else f"  {line.suffix}" if line.suffix else ""
    who = f"{line.user} {line.host} {line.display} ({line.version}) ({line.server} {line.handle})"
    return f"    {who}, start {started}{licenses}{suffix}"


def _feature_lines(feature: Feature) -> list[str]:
    assert feature.issued is not None
    assert feature.in_use is not None
    issued = f"Total of {feature.issued} {_plural(feature.issued)} issued"
    in_use = f"Total of {feature.in_use} {_plural(feature.in_use)} in use"
    return [
        f"Users of {feature.name}:  ({issued};  {in_use})",
        "",
        "  floating license",
        *(_checkout_line(line) for line in feature.checkouts),
        *(
            f"\t{line.licenses} RESERVATION{'s'[line.licenses == 1 :]} for {line.kind} {line.name} ({line.server})"
            for line in feature.reservations
        ),
        *(
            f"    {line.user} {line.host} {line.display} (v1.0) (s/1 2)"
            f" queued for {line.licenses} {_plural(line.licenses)}"
            for line in feature.queued
        ),
    ]


def _rendered(snapshot: Snapshot) -> str:
    head = [f"Flexible License Manager status on {snapshot.time_text}", "License server status: 27000@server", ""]
    return "\n".join([*head, *(line for feature in snapshot.features for line in _feature_lines(feature))])


@given(snapshots)
def test_what_a_server_prints_is_read_back(snapshot: Snapshot) -> None:
    assert parse(_rendered(snapshot)) == (snapshot,)


@given(snapshots)
def test_totals_survive_the_way_to_the_events(snapshot: Snapshot) -> None:
    read = parse(_rendered(snapshot))
    conversion = convert(read, project_id="300417-cad", slot=SLOT)
    counted = sum(sum(event["data"]["counts"].values()) for event in conversion.reports)
    assert counted == sum(feature.in_use or 0 for feature in snapshot.features)
    assert all(feature.difference == 0 for feature in summarize(read).features)


@given(st.one_of(st.text(), st.lists(st.sampled_from(FRAGMENTS), max_size=60).map("".join)))
def test_no_text_makes_it_fail(text: str) -> None:
    snapshots = parse(text)
    conversion = convert(snapshots, project_id="300417-cad", slot=SLOT)
    lines = [
        line for each in snapshots for feature in each.features for line in (*feature.checkouts, *feature.reservations)
    ]
    assert len(conversion.reports) <= len(lines)
    summarize(snapshots, conversion.notices)


@given(st.binary())
def test_no_bytes_make_it_fail(data: bytes) -> None:
    parse(decode(data))


UNITS = [
    "x",
    " ",
    "(",
    ")",
    "((v1) ",
    "(s/1 2) ",
    ", start ",
    "Total of 1 ",
    "Users of ",
    "1,",
    "1 license ",
    "a: ",
    '"',
]
LONG = """\
Users of {line}
Users of F:  (Total of 1 license issued;  Total of 0 licenses in use)
{line}
 u h {line}(v1) (s/1 2), start {line}
1 RESERVATION for {line}
"""


@pytest.mark.timeout(30)  # seconds for 5 MB; a quadratic reading takes hours
@pytest.mark.parametrize("unit", [*UNITS, "queued for ", "x y "])
def test_long_lines_are_read_in_linear_time(unit: str) -> None:
    assert len(parse(LONG.format(line=unit * (1_000_000 // len(unit))))) == 1
