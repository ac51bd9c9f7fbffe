"""The one form of JSON, and keys in files."""

import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from licmeter.runtime.errors import UsageError
from licmeter.runtime.proof.canonical import CanonicalError, canonical, read_json
from licmeter.runtime.proof.keys import key_id, make_keys, read_private_key, read_public_key
from licmeter.runtime.proof.originals import RECORD_BYTES_MAX, read_records
from licmeter.runtime.proof.statement import epoch_ms, epoch_s, instant, instant_of_ms, settled_before

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"\A[a-z_]{1,8}\Z"), inner, max_size=3),
    max_leaves=12,
)


@given(DOCUMENTS)
def test_reading_the_canonical_form_gives_the_same(value: Any) -> None:
    text = canonical(value)
    assert read_json(text) == value
    assert canonical(read_json(text)) == text


def test_the_canonical_form_is_that_of_rfc_8785() -> None:
    value = {"b": [1, -0, None, True], "a": "\u20ac$\u000f\nA'B\"\\/\u007f", "A": {}}
    assert canonical(value) == '{"A":{},"a":"€$\\u000f\\nA\'B\\"\\\\/\u007f","b":[1,0,null,true]}'.encode()


@pytest.mark.parametrize("value", [1.0, 2**53, -(2**53), {"ä": 1}, {1: 1}, "\ud800", b"x", {"a": object()}])
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(CanonicalError):
        canonical(value)


@given(st.integers(0, 4_102_444_800_000))
def test_instants_come_back(epoch: int) -> None:
    assert epoch_ms(instant_of_ms(epoch)) == epoch
    assert epoch_s(instant(epoch // 1000)) == epoch // 1000


@pytest.mark.parametrize(
    ("through", "before"),
    [
        # The slot of 09:00 ends at 09:03: a report at 09:03:00.000 thirty days later is still accepted (section 5).
        ("2031-05-31T09:03:00.000Z", "2031-05-01T09:00:00Z"),
        ("2031-05-31T09:03:00.001Z", "2031-05-01T09:03:00Z"),
        ("2031-05-31T09:05:59.999Z", "2031-05-01T09:03:00Z"),
        ("1970-01-02T00:00:00.000Z", "1970-01-01T00:00:00Z"),
    ],
)
def test_a_slot_is_settled_when_no_report_for_it_is_accepted_any_more(through: str, before: str) -> None:
    assert settled_before(through) == before


def test_a_key_pair_is_made_once_and_the_private_one_is_private(tmp_path: Path) -> None:
    private, public = tmp_path / "key.pem", tmp_path / "key.pub.pem"
    name = make_keys(private, public)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert key_id(read_public_key(public)) == key_id(read_private_key(private).public_key()) == name
    before = private.read_bytes()
    with pytest.raises(UsageError, match="is there already"):
        make_keys(private, tmp_path / "other.pem")
    with pytest.raises(UsageError, match="is there already"):
        make_keys(tmp_path / "other.pem", public)
    assert private.read_bytes() == before
    assert not (tmp_path / "other.pem").exists()
    with pytest.raises(UsageError, match="No such file"):
        make_keys(tmp_path / "gone" / "a", tmp_path / "gone" / "b")


def test_other_keys_and_other_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    rsa = generate_private_key(65537, 2048)
    file.write_bytes(rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(UsageError, match="no Ed25519 key"):
        read_private_key(file)
    with pytest.raises(UsageError, match="no public key"):
        read_public_key(file)
    file.write_bytes(rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(UsageError, match="no Ed25519 key"):
        read_public_key(file)
    file.write_bytes(b"nothing")
    with pytest.raises(UsageError, match="no private key"):
        read_private_key(file)
    with pytest.raises(UsageError, match="No such file"):
        read_private_key(tmp_path / "gone")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "line 2: it is no JSON"),
        (b'{"partition": 1, "offset": 2}', "line 2: no object of partition"),
        (b'{"partition": 1, "offset": 2, "value": "x", "more": 1}', "line 2: no object of partition"),
        (b'"' + b"x" * RECORD_BYTES_MAX + b'"', "line 2: it is too long"),
    ],
)
def test_a_file_of_records_with_something_else_in_it_is_refused(line: bytes, words: str) -> None:
    with pytest.raises(CanonicalError, match=words):
        list(read_records([b'{"partition": 1, "offset": 2, "value": "x"}', line]))
