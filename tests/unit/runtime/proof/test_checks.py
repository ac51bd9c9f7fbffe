"""What the verifier notices: anything that is changed, and what an honest signature cannot make right."""

import json
import subprocess
import sys
from copy import deepcopy
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from licmeter.runtime.proof.checks import verify
from licmeter.runtime.proof.keys import sign
from licmeter.runtime.proof.statement import Record
from tests.unit.runtime.proof.statements import KEY, failed, made, read, resigned, subject

HONEST = made()
PUBLIC = KEY.public_key()


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return where every value stands, lists and objects included."""
    found = [path] if path else []
    if isinstance(value, dict):
        found += [each for key in value for each in paths(value[key], (*path, key))]
    elif isinstance(value, list):
        found += [each for number, entry in enumerate(value) for each in paths(entry, (*path, number))]
    return found


PATHS = paths(HONEST)


def at(document: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        document = document[step]
    return document


def put(document: Any, path: tuple[Any, ...], value: Any) -> None:
    at(document, path[:-1])[path[-1]] = value


def test_an_honest_statement_holds() -> None:
    found = read(HONEST)
    assert found.valid, found.to_json()
    names = ["readable", "form", "key", "signature", "chain", "order", "subject", "entries", "figures", "settled"]
    assert [check.name for check in found.checks] == [*names, "records"]
    assert HONEST["figures"] == {
        "reports": 4,
        "devices": 2,
        "quantity": 16,
        "in_quota": 15,
        "in_grace": 0,
        "over": 1,
        "exceptions": 0,
        "features": [
            {"feature": "core", "quantity": 7},
            {"feature": "größe", "quantity": 4},
            {"feature": "qr", "quantity": 5},
        ],
    }


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 2**53),
    st.text(max_size=8),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["a", "link"]), st.integers(), max_size=1),
)


@given(st.data())
@settings(max_examples=400)
def test_any_single_change_to_any_value_is_noticed(data: st.DataObject) -> None:
    document = deepcopy(HONEST)
    path = data.draw(st.sampled_from(PATHS))
    before = at(document, path)
    near = [st.just(before + 1), st.just(before - 1)] if type(before) is int else []
    if isinstance(before, str):
        flipped = data.draw(st.integers(0, max(0, len(before) - 1)))
        near += [st.just(f"{before[:flipped]}{chr(ord(before[flipped]) ^ 1)}{before[flipped + 1 :]}")] if before else []
        near += [st.just(f"{before} "), st.just(before[:-1])]
    value = data.draw(st.one_of(*near, VALUES).filter(lambda v: type(v) is not type(before) or v != before))
    put(document, path, value)
    assert not read(document).valid


@given(st.data())
@settings(max_examples=100)
def test_entries_that_are_taken_out_put_in_or_moved_are_noticed(data: st.DataObject) -> None:
    document = deepcopy(HONEST)
    entries, number = document["entries"], data.draw(st.integers(0, len(HONEST["entries"]) - 1))
    how = data.draw(st.sampled_from(["out", "twice", "swap", "rename"]))
    if how == "out":
        del entries[number]
    elif how == "twice":
        entries.insert(number, entries[number])
    elif how == "swap":
        entries[number], entries[number - 1] = entries[number - 1], entries[number]
    else:
        entries[number]["quantitY"] = entries[number].pop("quantity")
    assert not read(document).valid


def test_a_change_is_found_at_its_entry() -> None:
    document = deepcopy(HONEST)
    document["entries"][2]["quantity"] += 1
    said = failed(read(document))
    assert said["chain"] == "entry 2 (2:15:1) is not the one that was chained here"
    assert said["figures"] == "quantity is 16, and the entries add up to 17"
    assert "signature" in said


@pytest.mark.parametrize(
    ("path", "value", "check", "words"),
    [
        (("entries", 1, "offset"), 10, "order", "entry 1 (2:10:0) is there twice"),
        (("entries", 1, "offset"), 9, "order", "entry 1 (2:9:0) is not in its place"),
        (("entries", 1, "client_uuid"), "other", "order", "client_uuid is not that of the line before"),
        (("entries", 0, "slot"), "2031-03-07T23:57:00Z", "subject", "entry 0 (2:10:0): slot 2031-03-07T23:57:00Z is"),
        (("entries", 0, "project_id"), "300417-other", "subject", "project_id is '300417-other'"),
        (("subject", "last_day"), "2031-03-07", "subject", "the range ends before it begins"),
        (("entries", 0, "slot"), "2031-03-08T00:01:00Z", "entries", "is not the start of a slot"),
        (("entries", 0, "received_at"), "2031-03-07T00:00:00.000Z", "entries", "arrived more than five minutes before"),
        (("entries", 0, "received_at"), "2031-04-07T00:03:00.001Z", "entries", "arrived more than 30 days after"),
        (("entries", 0, "in_quota"), 2, "entries", "in_quota + in_grace + over = 2, and quantity is 3"),
        (("entries", 0, "item_id"), "", "entries", "no item took it"),
        (("as_of", "applied_offset"), 24, "entries", "entry 4 (2:25:0): the statement is as of offset 24"),
        (("as_of", "partition"), 3, "entries", "the statement is as of partition 3"),
        (("as_of", "counted_through"), "2031-06-01T00:00:00.000Z", "settled", "counted_through makes it"),
        (("as_of", "settled"), True, "settled", "the range makes it False"),
        (("entries", 0, "record_sha256"), "0" * 64, "records", "record 2:10: its SHA-256 is not that of the entry"),
        (("entries", 0, "record_sha256"), None, "records", "the statement has no hash of it"),
        (("entries", 0, "quantity"), 4, "records", "it has 3 of 'qr', and the entries 4"),
        (("entries", 0, "report_id"), "r9", "records", "its id is 'r0' ≠ 'r9' of the entry"),
        (("records", 1, "offset"), 10, "records", "record 2:10 is there twice"),
        (("records", 1, "offset"), 11, "records", "record 2:11 is behind no entry"),
        (("records", 0, "value"), "{}", "records", "record 2:10: its SHA-256"),
    ],
)
def test_what_a_signature_cannot_make_right(path: tuple[Any, ...], value: Any, check: str, words: str) -> None:
    """The signer itself made these: signature and chain hold, and the statement does not."""
    document = deepcopy(HONEST)
    put(document, path, value)
    said = failed(read(resigned(document)))
    assert "signature" not in said
    assert "chain" not in said
    assert words in said[check]


def test_a1_a_report_that_is_counted_twice_is_noticed() -> None:
    document = deepcopy(HONEST)
    document["entries"].append(document["entries"][-1] | {"offset": 50})
    said = failed(read(resigned(document)))
    assert "report 'r3' is counted at 2:25 already" in said["order"]


def test_figures_chain_and_links_are_checked_even_if_signed() -> None:
    for path, value, check in (
        (("figures", "devices"), 3, "figures"),
        (("figures", "features"), HONEST["figures"]["features"][:2], "figures"),
        (("chain", "entries"), 9, "chain"),
        (("chain", "head"), "0" * 64, "chain"),
        (("entries", 3, "link"), "0" * 64, "chain"),
    ):
        document = deepcopy(HONEST)
        put(document, path, value)
        assert failed(read(resigned(document, chained=False))).keys() == {check}


def test_another_key_is_named() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    said = failed(read(sign(HONEST, other)))
    assert said.keys() == {"key", "signature"}
    document = deepcopy(HONEST)
    document["signature"]["value"] = sign(HONEST, other)["signature"]["value"]
    assert failed(read(document)).keys() == {"signature"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "it is no JSON"),
        (b"\xff", "it is no UTF-8, at byte 0"),
        (b"null", "the document: "),
        (b"[]", "the document: "),
        (b'{"a": 1, "a": 1}', "the key 'a' stands twice"),
        (b'{"a": NaN}', "NaN is no integer"),
        (b'{"a": -Infinity}', "-Infinity is no integer"),
        (b'{"a": 1.0}', "1.0 is no integer"),
        (b'{"a": 1e400}', "1e400 is no integer"),
        (b'{"a": 9007199254740992}', "is beyond 2^53 - 1"),
        (b'{"a": ' + b"9" * 100_000 + b"}", "is too large"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"a":' * 20 + b"1" + b"}" * 20, "it is nested too deeply"),
        (b'"\\ud800"', "half of a surrogate pair"),
        (b'{"\\u0000": 1}', "is no key of a statement"),
        (json.dumps(HONEST).encode()[:-20], "it is no JSON"),
    ],
)
def test_hostile_text_is_refused_with_a_clear_word(text: bytes, words: str) -> None:
    found = verify(text, PUBLIC)
    assert not found.valid
    assert words in found.checks[-1].said
    assert len(found.checks[-1].said) < 400


@given(st.binary(max_size=200))
def test_no_bytes_are_a_traceback(text: bytes) -> None:
    assert not verify(text, PUBLIC).valid


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("entries",), {}),
        (("entries", 0), None),
        (("entries", 0, "slot"), "2031-02-30T00:00:00Z"),
        (("entries", 0, "slot"), "2031-03-08T00:00:00+00:00"),
        (("entries", 0, "slot"), "٢٠٣١-03-08T00:00:00Z"),
        (("entries", 0, "quantity"), "3"),
        (("entries", 0, "quantity"), True),
        (("entries", 0, "quantity"), -1),
        (("entries", 0, "link"), "0" * 63 + "\n"),
        (("subject", "first_day"), "2031-W10-6"),
        (("signature", "value"), "A" * 88),
        (("signature", "algorithm"), "none"),
        (("version",), 2),
    ],
)
def test_what_has_not_the_form_is_named_by_its_path(path: tuple[Any, ...], value: Any) -> None:
    document = deepcopy(HONEST)
    put(document, path, value)
    said = failed(read(document))
    assert list(said) == ["form"]
    assert said["form"].startswith(".".join(map(str, path)))


def test_a_listing_is_no_statement() -> None:
    assert failed(read(made(key=None))) == {"form": "it is not signed: a listing, and no statement"}


def test_records_beside_the_statement_are_checked_too() -> None:
    bare = made(include_records=False)
    text = json.dumps(bare).encode()
    records = [Record(**each) for each in HONEST["records"]]
    assert verify(text, PUBLIC, records).valid
    some = verify(text, PUBLIC, records[:2])
    assert some.checks[-1].said == "2 agree with their entries; 2 reports without"
    changed = [records[0].model_copy(update={"value": records[1].value}), *records[1:]]
    assert "record 2:10" in failed(verify(text, PUBLIC, changed))["records"]


def test_an_item_may_have_taken_a_part_of_a_record() -> None:
    document = made(subject=subject(project_id=None, item_id="41"))
    document["entries"] = [entry for entry in document["entries"] if entry["item_id"]]
    document["entries"][0] |= {"quantity": 2, "in_quota": 2}
    document["records"] = [each for each in document["records"] if each["offset"] != 20]
    assert read(resigned(document)).valid


def test_pseudonyms_are_the_same_for_the_same_client() -> None:
    document = made(pseudonyms=True, include_records=False)
    assert read(document).valid
    names = {entry["client_uuid"] for entry in document["entries"]}
    assert len(names) == 2
    assert "device-" not in json.dumps(document)
    assert names == {entry["client_uuid"] for entry in made(pseudonyms=True, include_records=False)["entries"]}


def test_an_empty_range_is_a_statement_too() -> None:
    document = made()
    document["entries"], document["records"] = [], []
    assert read(resigned(document)).valid


def test_the_verifier_loads_nothing_of_the_system() -> None:
    script = """
import sys
import licmeter.runtime.proof.checks
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {"aiokafka", "clickhouse_connect", "pyarrow", "faust", "httpx", "msgspec", "typer", "rich", "numpy"}
    assert not heavy & set(done.stdout.split())
