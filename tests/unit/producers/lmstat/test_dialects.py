"""Lines as servers of many versions print them, each in a block of its own."""

import pytest

from licmeter.producers.lmstat import Checkout, Feature, FeatureStatus, NoticeKind, Snapshot, parse

TIME = "Flexible License Manager status on Fri 10/20/2017 17:02\n"
HEADER = "Users of F:  (Total of 9 licenses issued;  Total of {n} licenses in use)\n"


def _block(*lines: str, in_use: int = 1) -> Snapshot:
    (snapshot,) = parse("\n".join([TIME + HEADER.format(n=in_use), *lines]))
    return snapshot


def _kinds(snapshot: Snapshot) -> list[NoticeKind]:
    return [said.kind for said in snapshot.notices]


def _client(checkout: Checkout) -> tuple[str, str, str]:
    return checkout.user, checkout.host, checkout.display


@pytest.mark.parametrize(
    ("who", "client"),
    [
        pytest.param("John Doe pc7 pc7:0.0", ("John Doe", "pc7", "pc7:0.0"), id="user with a blank"),
        pytest.param("John Q Doe pc7 pc7", ("John Q Doe", "pc7", "pc7"), id="user with two"),
        pytest.param("John Doe pc7 /dev/tty", ("John Doe", "pc7", "/dev/tty"), id="terminal"),
        pytest.param("John Doe pc7 :0.0", ("John Doe", "pc7", ":0.0"), id="X display"),
        pytest.param('"Doe, John" pc7 d', ("Doe, John", "pc7", "d"), id="quoted user"),
        pytest.param(r"DOM\u h.example.org h.example.org", (r"DOM\u", "h.example.org", "h.example.org"), id="domain"),
        pytest.param("u@x.org h d", ("u@x.org", "h", "d"), id="mail address"),
        pytest.param("žofie пк д", ("žofie", "пк", "д"), id="other scripts"),
        pytest.param("start h d", ("start", "h", "d"), id="a user named start"),
    ],
)
def test_client_of_a_checkout(who: str, client: tuple[str, str, str]) -> None:
    snapshot = _block(f"    {who} (v1) (h/1 1), start Fri 10/20 16:40")
    (checkout,) = snapshot.features[0].checkouts
    assert _client(checkout) == client
    assert snapshot.notices == ()


@pytest.mark.parametrize(
    ("line", "place"),
    [
        pytest.param("u h d (v31.0) (host1/28000 5226), start Fri 10/20 16:40", ("h", "d"), id="plain"),
        pytest.param("\tu\th\td (v31.0) (host1/28000 5226), start Fri 10/20 16:40", ("h", "d"), id="tabs"),
        pytest.param("u h d (v1) (h/1 1), start Fri 10/20 16:40  (linger: 885098 / 1340160)", ("h", "d"), id="linger"),
        pytest.param("u h d (v1) (h/1 1), start Fri 10/20 16:40 (Borrowed until 10/25)", ("h", "d"), id="borrowed"),
        pytest.param("u h d (v1) (h/1 1), start Fri 10/20 16:40, PID: 2924522 ", ("h", "d"), id="PID"),
        pytest.param("u h (v31.0) (host1/28000 5226), start Fri 10/20 16:40", ("h", ""), id="no display"),
        pytest.param("u h  (v31.0)(host1/28000 5226), start Fri 10/20 16:40", ("h", ""), id="no blank between"),
        pytest.param("u h /dev/pts/0 (v1)(h/port 1), start Fri 10/20 16:40", ("h", "/dev/pts/0"), id="port by name"),
        pytest.param(
            "u pc-01 pc-01:08 2029.01 (v2029.01) (h/1 1), start Fri 10/20 16:40",
            ("pc-01", "pc-01:08"),
            id="requested version",
        ),
        pytest.param(
            "u c63 c63.site 1238925 (v1) (h/1 1), start Fri 10/20 16:40, PID: 12", ("c63", "c63.site"), id="process id"
        ),
        pytest.param(
            "u fe80::1 fe80::1 (v1) ([fe80::1]/27000 1), start Fri 10/20 16:40", ("fe80::1", "fe80::1"), id="IPv6"
        ),
        pytest.param(
            "u S1 |)8<fZ)=Y[<(7L$ (v61.4) (h/1 1), start Fri 10/20 16:40",
            ("S1", "|)8<fZ)=Y[<(7L$"),
            id="parentheses in the display",
        ),
    ],
)
def test_a_checkout_in_other_clothes(line: str, place: tuple[str, str]) -> None:
    snapshot = _block(line)
    (checkout,) = snapshot.features[0].checkouts
    assert _client(checkout) == ("u", *place)
    assert checkout.start is not None
    assert snapshot.notices == ()


@pytest.mark.parametrize(
    ("suffix", "licenses"),
    [
        ("", 1),
        (", 4 licenses", 4),
        (", 1 license", 1),
        (", 1,024 licenses", 1024),
        (", 16 licenses  (linger: 885098 / 1340160)", 16),
        (" (linger: 1800), 3 licenses", 3),
        (", 28 licenses, PID: 510058", 28),
    ],
)
def test_licenses_of_a_line(suffix: str, licenses: int) -> None:
    snapshot = _block(f"u h d (v1) (h/1 2), start Fri 10/20 16:40{suffix}", in_use=licenses)
    assert snapshot.features[0].checked_out == licenses
    assert snapshot.notices == ()


def test_a_known_host_divides_the_words() -> None:
    lines = [
        "a pc9 d (v1) (h/1 2), start Fri 10/20 16:40",
        "Max Muster pc9 wide screen (v1) (h/1 2), start Fri 10/20 16:40",
    ]
    snapshot = _block(*lines, in_use=2)
    assert _client(snapshot.features[0].checkouts[1]) == ("Max Muster", "pc9", "wide screen")
    assert snapshot.notices == ()


def test_a_guess_is_said() -> None:
    snapshot = _block("Max Muster pc9 screen (v1) (h/1 2), start Fri 10/20 16:40")
    assert _client(snapshot.features[0].checkouts[0]) == ("Max Muster", "pc9", "screen")
    assert _kinds(snapshot) == [NoticeKind.CLIENT_AMBIGUOUS]


@pytest.mark.parametrize(
    ("line", "kinds"),
    [
        pytest.param("u h d (v1) (h/1 2)", [NoticeKind.START_UNREADABLE], id="no start"),
        pytest.param("u h d, start Fri 10/20 16:40", [NoticeKind.CHECKOUT_INCOMPLETE], id="no version, no server"),
        pytest.param("u h d (h/1 2), start Fri 10/20 16:40", [NoticeKind.CHECKOUT_INCOMPLETE], id="no version"),
        pytest.param("u (v1) (h/1 2), start Fri 10/20 16:40", [NoticeKind.CHECKOUT_INCOMPLETE], id="no host"),
        pytest.param("(v1) (h/1 2), start Fri 10/20 16:40", [NoticeKind.CHECKOUT_INCOMPLETE], id="no client"),
        pytest.param("u h d (v1) (h/1 2), start Fri 10/20 16:40 on loan", [NoticeKind.SUFFIX_UNKNOWN], id="suffix"),
        pytest.param(
            "u h d (v1) (h/1 2), start Fri 10/20 16:40, two licenses",
            [NoticeKind.CHECKOUT_INCOMPLETE, NoticeKind.SUFFIX_UNKNOWN],
            id="a number in words",
        ),
    ],
)
def test_a_damaged_checkout_is_counted_and_said(line: str, kinds: list[NoticeKind]) -> None:
    snapshot = _block(line)
    assert snapshot.features[0].checked_out == 1
    assert _kinds(snapshot) == kinds


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1 RESERVATION for GROUP DED (SERVER1/1713)", (1, "GROUP", "DED", "SERVER1/1713")),
        (
            "\t48 RESERVATIONs for HOST_GROUP lab (h.example.org/27002)",
            (48, "HOST_GROUP", "lab", "h.example.org/27002"),
        ),
        ("2 RESERVATIONs for USER John Doe (h/1)", (2, "USER", "John Doe", "h/1")),
        ("2 RESERVATIONS for PROJECT x", (2, "PROJECT", "x", "")),
        ("1,200 reservations for HOST pc7(h/1)", (1200, "HOST", "pc7", "h/1")),
        ("1 RESERVATION for DISPLAY :0.0 (h/1 2)", (1, "DISPLAY", ":0.0", "h/1")),
        ("1 RESERVATION for INTERNET 10.0.0.* (h/1)", (1, "INTERNET", "10.0.0.*", "h/1")),
        ("3 RESERVATIONs", (3, "", "", "")),
    ],
)
def test_reservation(line: str, expected: tuple[int, str, str, str]) -> None:
    snapshot = _block(line, in_use=expected[0])
    (read,) = snapshot.features[0].reservations
    assert (read.licenses, read.kind, read.name, read.server) == expected
    assert snapshot.notices == ()


def test_a_queued_request_holds_nothing_and_is_said() -> None:
    snapshot = _block(
        "    u h d (v1) (h/1 2) queued for 3 licenses", "u h d (v1) (h/1 2), queued for 1 license", in_use=0
    )
    assert [request.licenses for request in snapshot.features[0].queued] == [3, 1]
    assert snapshot.features[0].checked_out == 0
    assert _kinds(snapshot) == [NoticeKind.QUEUED, NoticeKind.QUEUED]


@pytest.mark.parametrize(
    ("text", "name", "status", "figures"),
    [
        ("Users of F:  (Total of 144 licenses issued;  Total of 0 licenses in use)", "F", "counted", (144, 0)),
        ("  Users of F: (Total of 1 license issued; Total of 0 licenses in use)", "F", "counted", (1, 0)),
        (
            "Users of F:               (Total of 1,814 licenses issued;  Total of 0 licenses in use)",
            "F",
            "counted",
            (1814, 0),
        ),
        ("Users of F:  (Total of 5 borrowable licenses issued;  Total of 0 licenses in use)", "F", "counted", (5, 0)),
        ("USERS OF F:  (TOTAL OF 5 LICENSES ISSUED;  TOTAL OF 0 LICENSES IN USE)", "F", "counted", (5, 0)),
        ("Users of a:b c:  (Total of 5 licenses issued;  Total of 0 licenses in use)", "a:b c", "counted", (5, 0)),
        ("Users of F:\n    (Total of 5 licenses issued;  Total of 0 licenses in use)", "F", "counted", (5, 0)),
        ("Users of F:  (Total of 5 licenses issued;\n\n  Total of 0 licenses in use)", "F", "counted", (5, 0)),
        ("Users of F:\n  (Total of 5 licenses issued;\n  Total of 0 licenses in use)", "F", "counted", (5, 0)),
        ("Users of F:  (Uncounted, node-locked)", "F", "uncounted", (None, None)),
        ("Users of F:  (Uncounted, nodelocked)", "F", "uncounted", (None, None)),
        ("Users of F:  (Error: 144 licenses, unsupported by licensed server)", "F", "error", (None, None)),
        ("Users of F: Cannot get users of F: No such feature exists. (-5,222)", "F", "error", (None, None)),
        ("Users of F:", "F", "unknown", (None, None)),
        ("Users of F: (Total of many)", "F", "unknown", (None, None)),
    ],
)
def test_header(text: str, name: str, status: str, figures: tuple[int | None, int | None]) -> None:
    (snapshot,) = parse(text + "\n\n    floating license\n")
    (feature,) = snapshot.features
    assert (feature.name, feature.status, (feature.issued, feature.in_use)) == (name, FeatureStatus(status), figures)
    said = {"error": [NoticeKind.FEATURE_ERROR], "unknown": [NoticeKind.HEADER_UNREADABLE]}
    assert _kinds(snapshot) == said.get(status, [])


@pytest.mark.parametrize(
    "line",
    [
        '  "feature2" v31.0, vendor: vendor1',
        '"MATLAB" v53, vendor: MLM, expiry: 01-jan-2099',
        '"COMSOL" v6.3, vendor: LMCOMSOL, expiry: permanent(no expiration date)',
        "  floating license",
        '  nodelocked license, locked to "ID=XXXXXX"',
        "  uncounted nodelocked license locked to NOTHING (hostid=ANY)",
        "  vendor_string: vi=0:at=276:ae=1:lu=300:lo=NNU:ei=XXXXXX:lr=1:ep=15:",
        "---------------------------",
    ],
)
def test_what_describes_a_pool_is_no_notice(line: str) -> None:
    assert _block(line, in_use=0).notices == ()


def test_pools_are_kept() -> None:
    feature: Feature = _block('"M" v53, vendor: MLM, expiry: 01-jan-2099', '"M" v52, vendor: MLM', in_use=0).features[0]
    assert [(pool.version, pool.vendor, pool.expiry) for pool in feature.pools] == [
        ("53", "MLM", "01-jan-2099"),
        ("52", "MLM", ""),
    ]


def test_what_is_not_understood_in_a_block_is_a_notice_with_its_line() -> None:
    snapshot = _block("", "%%% torn line", "u h", in_use=0)
    said = [(each.kind, each.line_number, each.text) for each in snapshot.notices]
    assert said == [(NoticeKind.LINE_UNREADABLE, 5, "%%% torn line"), (NoticeKind.LINE_UNREADABLE, 6, "u h")]


def test_a_wrapped_checkout_is_one_line() -> None:
    snapshot = _block("    u h d (v1.0)", "      (h/27000 3), start Fri 10/20 10:00, 2 licenses", in_use=2)
    assert snapshot.features[0].checked_out == 2
    assert snapshot.notices == ()
