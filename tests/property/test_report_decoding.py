"""The fast way to read a report and the contract agree on every record: the same report or the same refusal."""

import json
from copy import deepcopy
from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from licmeter.metering.decoding import decode, decode_by_contract
from licmeter.metering.limits import DEFAULT_LIMITS, Limits
from tests.support.build import ORGANIZATION, PROJECT, RECEIVED, SLOT, ms, report

KEY = ORGANIZATION.encode()
#: Everything in time and of any size, so that no later check hides what the two ways read.
WIDE = Limits(count_max=10**5000, future_ms=10**18, skew_ms=10**18, age_ms=10**18)


def agree(value: bytes, key: bytes | None = KEY) -> None:
    for limits in (DEFAULT_LIMITS, WIDE):
        fast, slow = (way(key, value, ms(RECEIVED), limits) for way in (decode, decode_by_contract))
        assert fast == slow, value
        if limits is DEFAULT_LIMITS:
            assert repr(fast) == repr(slow)  # `True == 1`, and dictionaries of another order are equal


def encode(event: Any, *, ascii_only: bool = False) -> bytes:
    # surrogatepass: what no encoder should write is what the decoder must refuse.
    return json.dumps(event, ensure_ascii=ascii_only).encode(errors="surrogatepass")


DATES = ("2031-03-08", "0001-01-01", "9999-12-31", "0000-01-01", "2031-02-29", "2031-W10-6", "20310308")
DIVIDERS = ("T", "t", " ", "_", "")
TIMES = ("10:00:00", "00:00:00", "23:59:59", "24:00:00", "10:00:60", "10:00", "1000", "10")
# Five or nine at the seventh digit: one library cuts it off, the other rounds.
FRACTIONS = ("", ".", ",5", ".5", ".0", ".000000", ".0000005", ".999999", ".9999999", ".000000000000", ".9999999999999")
ZONES = ("Z", "z", "", "+00:00", "-00:00", "+05:30", "-0530", "+05", "+14:00", "-14:00", "+24:00", " Z", "Z\n", "ZZ")
USUAL = ("2031-03-08", "T", "10:00:00", "", "Z")

BASE: dict[str, Any] = report(
    organization_id=ORGANIZATION,
    counts={"qr": 1, "ean": 2},
    instances=2,
    total=3,
    product="barcode-reader",
    version="11",
    edition="full",
    deployment_type="mobile",
    validation={"kind": "domain", "value": "example.org"},
    sent_at=SLOT,
    attempt=1,
) | {"time": "2031-03-08T10:00:00Z"}
BASE["data"]["sent_at"] = "2031-03-08T10:00:30Z"

DEEP: list[Any] = []
for _ in range(250):
    DEEP = [DEEP]
WORDS = ("", "1", "1.0", "true", "qr", "a\n", "\0", "\x7f", "\ud800", "\udc00x", "\ufeff", "use", "Use", "reservation")
LENGTHS = [letter * n for letter in ("x", "é", "\U0001f600") for n in (32, 33, 40, 41, 64, 65, 128, 129, 256, 257)]
# What counts as a space differs from one regex engine to another, and so does what `$` means before a newline.
SPACES = [chr(n) for n in (0, 9, 10, 11, 13, 28, 31, 32, 0x85, 0xA0, 0x180E, 0x2028, 0x200B, 0x3000, 0xFEFF)]
IDS = [
    *(PROJECT + space for space in SPACES),
    *(
        f"{ORGANIZATION}{rest}"
        for rest in ("", "\n", "-", "--", "-a/b", "\u2010a", "-" + "x" * 128, "-" + "x" * 129, " -a")
    ),
    *("999-kiosk", "-kiosk", "\u0663-kiosk", "a b-kiosk"),
]
NUMBERS = (0, 1, 3, -1, -0.0, 1.0, 3.0, 0.5, 1e300, 10**6, 10**6 + 1, 2**63, -(2**63) - 1, 2**64, 10**400)
SIZES = [{f"f{n}": 1 for n in range(size)} for size in (0, 1, 63, 64, 65)]
OTHERS = (None, True, False, float("nan"), float("inf"), [], [1], DEEP)
INSTANTS = ("2031-03-08T10:00:00", "2031-03-08T10:00:00.0000005Z", "2031-03-08", "1930730400", 1930730400)
HOSTILE: list[Any] = [*WORDS, *LENGTHS, *IDS, *NUMBERS, *SIZES, *OTHERS, *INSTANTS]

_ENVELOPE = (
    "specversion",
    "type",
    "id",
    "source",
    "subject",
    "organizationid",
    "time",
    "datacontenttype",
    "data",
    "new",
)
_DATA = ("counts", "total", "product", "version", "edition", "deployment_type", "instances", "validation", "usage_kind")
FIELDS = [
    *(((), name) for name in _ENVELOPE),
    *((("data",), name) for name in (*_DATA, "sent_at", "attempt", "new")),
    *((("data", "counts"), name) for name in ("qr", "new", "", "\ud800", "é" * 128, "é" * 129)),
    *((("data", "validation"), name) for name in ("kind", "value", "new")),
]


def put(event: dict[str, Any], field: tuple[tuple[str, ...], str], value: Any) -> None:
    """Set a field, if an earlier change left the object in which it stands; `...` takes it away."""
    path, name = field
    found: Any = event
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        return
    if value is ...:
        found.pop(name, None)
    else:
        found[name] = dict(value) if isinstance(value, dict) else value  # a later change must not reach it


def test_on_every_field_with_every_hostile_value() -> None:
    for field, value in product(FIELDS, [..., *HOSTILE]):
        event = deepcopy(BASE)
        put(event, field, value)
        agree(encode(event))
        if field[1] in ("counts", "qr", "new"):
            event["data"].pop("total", None)  # else a wrong sum hides the rest
            agree(encode(event))


def test_on_every_deviation_of_an_instant() -> None:
    # All pairs of a date, a time and so on with something unusual in at most two places.
    parts = (DATES, DIVIDERS, TIMES, FRACTIONS, ZONES)
    for chosen in product(*parts):
        if sum(part != usual for part, usual in zip(chosen, USUAL, strict=True)) > 2:
            continue
        event = deepcopy(BASE)
        event["data"]["sent_at"] = "".join(chosen)
        agree(encode(event))
        agree(encode(event | {"time": "".join(chosen)}))


def test_on_every_hostile_name_of_an_organization_when_the_key_says_the_same() -> None:
    for name in {value for value in (*WORDS, *LENGTHS, *IDS, *SPACES) if isinstance(value, str)}:
        for subject in (None, f"{name}-kiosk", PROJECT):
            event = BASE | {"organizationid": name, "subject": subject}
            agree(encode(event), name.encode(errors="surrogatepass"))
            del event["organizationid"]
            agree(encode(event), name.encode(errors="surrogatepass"))


keys = st.sampled_from((KEY,) * 8 + (b"999", b"", b"\xff", b"a b", None))
changes = st.lists(st.tuples(st.sampled_from(FIELDS), st.sampled_from([..., *HOSTILE])), max_size=3)


def texts(longest: int) -> st.SearchStrategy[str]:
    return st.text(min_size=1, max_size=4) | st.sampled_from(("x" * longest, "é" * longest))


@settings(max_examples=500)
@given(
    keys,
    st.fixed_dictionaries({"id": texts(64), "source": texts(128)}, optional={"subject": st.none() | st.just(PROJECT)}),
    st.dictionaries(texts(128), st.integers(0, 1_000_000), max_size=4),
    st.permutations(list(BASE)),
    st.booleans(),
)
def test_on_good_reports(
    key: bytes | None, named: dict[str, Any], counts: dict[str, int], order: list[str], ascii_only: bool
) -> None:
    event = BASE | named
    event["data"] = BASE["data"] | {"counts": counts, "total": sum(counts.values())}
    agree(encode({name: event[name] for name in order}, ascii_only=ascii_only), key)


@settings(max_examples=800)
@given(keys, changes, st.booleans())
def test_on_changed_fields(key: bytes | None, changed: list[Any], ascii_only: bool) -> None:
    event = deepcopy(BASE)
    for field, value in changed:
        put(event, field, value)
    agree(encode(event, ascii_only=ascii_only), key)


@settings(max_examples=500)
@given(*[st.tuples(*map(st.sampled_from, (DATES, DIVIDERS, TIMES, FRACTIONS, ZONES))).map("".join)] * 2)
def test_on_instants(time: str, sent_at: str) -> None:
    event = deepcopy(BASE)
    event["data"]["sent_at"] = sent_at
    agree(encode(event | {"time": time}))


#: What stands in the bytes of a report where it should not: fields that come twice, or that a parser may skip.
MEMBERS = (
    *(b'"id":"other",', b'"id":7,', b'"\\u0069d":"other",', b'"data":{"counts":{"a":1}},', b'"counts":{"b":3},'),
    *(
        b'"qr":1,',
        b'"qr":"x",',
        b'"\\u0071r":0,',
        b'"time":"2031-03-08T10:00:00",',
        b'"subject":null,',
        b'"total":null,',
    ),
    *(b'"new":"\xff",', b'"\xff":1,', b'"new":1e999,', b'"new":NaN,', b'"new":"\\ud800\\u0041",', b'"new":"\\ud800",'),
    b'"new":' + b"[" * 250 + b"]" * 250 + b",",
)
TOKENS = (
    *(
        b"\0",
        b"\x1f",
        b"\x7f",
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\xc3",
        b"\xe2\x82\xac",
        b"\xa0",
    ),
    *(b"\\u0000", b"\\ud800", b"\\udc00", b"\\ud83d\\ude00", b"\\u00e", b"\\x41", b"\\/", b"\\n", b"\\", b'"', b"'"),
    *(
        b" ",
        b"\n",
        b"\t",
        b"\x0b",
        b"\x0c",
        b"\r",
        b",",
        b":",
        b"{",
        b"}",
        b"[",
        b"]",
        b"/* */",
        b"null",
        b"NaN",
        b"true",
    ),
    *(b"0", b"1", b"-", b"+", b".", b".0", b"e0", b"E+2", b"_", b"9" * 20, b"9" * 4299, b"9" * 4300, b""),
)
GOOD = encode(BASE | {"data": {name: value for name, value in BASE["data"].items() if name != "total"}})


def test_on_every_token_at_every_place() -> None:
    small = encode(report() | {"time": "2031-03-08T10:00:00Z", "data": {"counts": {"qr": 1}, "instances": 2}})
    for at, token in product(range(len(small) + 1), TOKENS):
        agree(small[:at] + token + small[at:])
    for at, token in product(range(len(GOOD)), MEMBERS):
        if GOOD[at : at + 1] == b"{":
            agree(GOOD[: at + 1] + token + GOOD[at + 1 :])
            agree(GOOD[: at + 1] + token + token + GOOD[at + 1 :])


@settings(max_examples=800)
@given(
    st.lists(
        st.tuples(st.integers(0, len(GOOD)), st.sampled_from((0, 0, 1, 2)), st.sampled_from((*MEMBERS, *TOKENS))),
        min_size=1,
        max_size=4,
    )
)
def test_on_changed_bytes(changed: list[tuple[int, int, bytes]]) -> None:
    value = GOOD
    for at, removed, token in changed:
        value = value[:at] + token + value[at + removed :]
    agree(value)
