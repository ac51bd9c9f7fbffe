"""Whole outputs: servers, several outputs in one text, `lmstat -i`, encodings, and what is said about figures."""

import pytest

from licmeter.producers.lmstat import NoticeKind, decode, parse, summarize

TRIAD = """\
lmutil - Copyright (c) 1989-2022 Flexera. All Rights Reserved.
Flexible License Manager status on Thu 11/23/2017 15:08

[Detecting lmgrd processes...]
License server status: 28000@host1,28000@host2,28000@host3
    License file(s) on host1: C:\\License Servers\\app1.lic:

  host1: license server UP v11.13.0
  host2: license server UP (MASTER) v11.13.0
  host3: Cannot connect to license server system. (-15,570:115 "Operation now in progress")
  host4: license server DOWN

Vendor daemon status (on host2):

    vendor1: UP v11.13.1
    MLM: The desired vendor daemon is down. (-97,121)
Feature usage info:

Users of alpha:  (Total of 4 licenses issued;  Total of 3 licenses in use)

  "alpha" v31.0, vendor: vendor1, expiry: 1-jan-0
  floating license

    u1 h1 h1 (v31.0) (host1/28000 1), start Thu 11/23 14:12, 2 licenses
    u2 h2 h2 (v31.0) (host1/28000 2), start Thu 11/23 14:12
"""
DOWN = """\
Flexible License Manager status on Fri 3/4/2011 12:22

License server status: 28518@ic-lic01
    License file(s) on ic-lic01: /usr/local/flexlm/licenses/license.dat:

{failure}
"""
INVENTORY = """\
NOTE: lmstat -i does not give information from the server,
      but only reads the license file.  For this reason,
      lmstat -a is recommended instead.

Feature                         Version     #licenses    Vendor        Expires
_______                         _________   _________    ______        ________
License_Holder                  2016.050     999         msi           permanent(no expiration date)
a_feature_with_a_very_long_name_indeed
                                2018.12      2           31-dec-2018   vendor1
"""


def test_servers_and_daemons() -> None:
    summary = summarize(parse(TRIAD))
    assert [server.name for server in summary.servers_up] == ["host1", "host2"]
    assert [server.name for server in summary.servers_down] == ["host3", "host4"]
    assert [daemon.name for daemon in summary.daemons_up] == ["vendor1"]
    assert [daemon.name for daemon in summary.daemons_down] == ["MLM"]
    kinds = [said.kind for said in summary.notices]
    assert kinds == [NoticeKind.SERVER_DOWN, NoticeKind.SERVER_DOWN, NoticeKind.DAEMON_DOWN]


@pytest.mark.parametrize(
    "failure",
    [
        "lmgrd is not running: License server machine is down or not responding. (-96,7)",
        'Error getting status: Cannot connect to license server system. (-15,10:10061 "WinSock: Connection refused")',
        "Cannot connect to license server system. (-15,570)",
    ],
)
def test_a_server_that_cannot_be_reached(failure: str) -> None:
    (snapshot,) = parse(DOWN.format(failure=failure))
    assert [(server.name, server.up) for server in snapshot.servers] == [("28518@ic-lic01", False)]
    assert {said.kind for said in snapshot.notices} == {NoticeKind.SERVER_DOWN, NoticeKind.NO_USAGE}


def test_a_header_that_disagrees_is_said_with_both_figures() -> None:
    (snapshot,) = parse(TRIAD.replace("Total of 3", "Total of 5"))
    (said,) = [each for each in snapshot.notices if each.kind is NoticeKind.HEADER_DISAGREES]
    assert "says 5 in use, the lines 3 (3 checked out and 0 reserved)" in said.message
    (feature,) = summarize([snapshot]).features
    assert (feature.in_use_header, feature.counted, feature.difference) == (5, 3, -2)
    assert feature.notices == (said,)


def test_several_outputs_are_several_snapshots() -> None:
    first, second = parse(TRIAD + TRIAD.replace("11/23/2017 15:08", "11/23/2017 16:08").replace("host1", "other"))
    assert [snapshot.time_text for snapshot in (first, second)] == ["Thu 11/23/2017 15:08", "Thu 11/23/2017 16:08"]
    assert second.servers[0].name == "other"
    (feature,) = summarize([first, second]).features
    assert (feature.issued, feature.in_use_header, feature.counted) == (8, 6, 6)


def test_several_servers_in_one_output() -> None:
    body = TRIAD[TRIAD.index("License server status") :].replace("alpha", "beta").replace("28000@host1", "1@z")
    (snapshot,) = parse(f"{TRIAD}----------------------------\n{body}")
    assert [(feature.name, feature.server_line[:7]) for feature in snapshot.features] == [
        ("alpha", "28000@h"),
        ("beta", "1@z,280"),
    ]


def test_a_feature_seen_twice_is_said_and_added() -> None:
    (snapshot,) = parse(TRIAD + TRIAD[TRIAD.index("Users of") :])
    assert NoticeKind.FEATURE_REPEATED in [said.kind for said in snapshot.notices]
    (feature,) = summarize([snapshot]).features
    assert (feature.in_use_header, feature.counted) == (6, 6)


def test_the_inventory_of_a_license_file_is_no_usage() -> None:
    (snapshot,) = parse(TRIAD + INVENTORY)
    assert len(snapshot.features) == 1
    assert summarize([snapshot]).features[0].difference == 0
    assert NoticeKind.LINE_UNREADABLE not in [said.kind for said in snapshot.notices]
    (alone,) = parse("lmutil - Copyright (c) 1989-2017 Flexera Software LLC.\nMon 5/6/2019 18:20\n\n" + INVENTORY)
    assert alone.time_text == "Mon 5/6/2019 18:20"
    assert [said.kind for said in alone.notices] == [NoticeKind.NO_USAGE]


def test_lines_below_no_feature_are_said() -> None:
    (snapshot,) = parse("u h d (v1) (s/1 2), start Fri 10/20 16:40\n1 RESERVATION for GROUP x (s/1)\n")
    kinds = [said.kind for said in snapshot.notices]
    assert sorted(kinds) == [NoticeKind.LINE_ORPHANED, NoticeKind.LINE_ORPHANED, NoticeKind.NO_USAGE]


def test_a_block_without_its_header_is_known_by_its_pool() -> None:
    (snapshot,) = parse('Feature usage info:\n\n"F" v1, vendor: x\n u h d (v1) (s/1 2), start 10/20/2017 16:40\n')
    assert [(feature.name, feature.checked_out) for feature in snapshot.features] == [("F", 1)]
    assert [said.kind for said in snapshot.notices] == [NoticeKind.HEADER_MISSING]


@pytest.mark.parametrize("line_end", ["\r\n", "\r", "\r\r\n"], ids=["CRLF", "CR", "CRCRLF"])
def test_line_ends(line_end: str) -> None:
    assert parse(TRIAD.replace("\n", line_end)) == parse(TRIAD)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_encodings(encoding: str) -> None:
    text = TRIAD.replace("u1", "Jürgen")
    assert parse(decode(text.encode(encoding))) == parse(text)


def test_bytes_of_no_encoding_do_not_fail() -> None:
    assert decode(b"\x81\xff") == "\x81\xff"
    assert decode(b"\xff\xfe\x00") == "\ufffd"
    assert decode(b"") == ""


def test_an_empty_text_has_no_snapshot() -> None:
    assert parse("") == ()


def test_names_that_a_terminal_would_break_stay_whole() -> None:
    (snapshot,) = parse(TRIAD.replace("u1 ", "a\u2028b\ud800 "))
    assert snapshot.features[0].checked_out == 3
