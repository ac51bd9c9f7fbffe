"""The statement: a subject, its figures, and every line of every report that makes them up, in a chain of hashes.

An entry is one line of `usage_attributed`: what one feature of one report was charged to. The chain begins with the
hash of the subject, and each link is SHA-256 of the link before it and the canonical form of the entry, so nothing can
be taken out, put in or moved. The signature is over everything but itself.
"""

import hmac
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict

from licmeter.runtime.proof.canonical import INTEGER_MAX, canonical

__all__ = [
    "ACCEPTED_S",
    "CLIENTS_PLAIN",
    "CLIENTS_PSEUDONYMS",
    "DAY_S",
    "DOMAIN",
    "ENTRIES_MAX",
    "SLOT_S",
    "AsOf",
    "Chain",
    "Entry",
    "FeatureUnits",
    "Figures",
    "Record",
    "Signature",
    "Statement",
    "Subject",
    "epoch_ms",
    "epoch_s",
    "figures_of",
    "first_link",
    "instant",
    "instant_of_ms",
    "links",
    "next_link",
    "pseudonym",
    "settled_before",
    "signed_bytes",
]

#: What is signed begins with this, so that no signature for another purpose can stand for one of a statement.
DOMAIN: Final = b"licmeter statement v1\n"
#: A file of 150 MB, and a gigabyte of memory to make or check it; a longer range has to be divided.
ENTRIES_MAX: Final = 250_000
SLOT_S: Final = 180
DAY_S: Final = 86_400
#: A report is accepted until 30 days after the end of its slot (domain, check 7).
ACCEPTED_S: Final = 30 * DAY_S
CLIENTS_PLAIN: Final = "plain"
CLIENTS_PSEUDONYMS: Final = "pseudonyms"

_SECONDS: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z", re.ASCII)
_MILLIS: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def epoch_ms(text: str) -> int:
    """Return an instant of a statement in milliseconds since 1970; it is in UTC, and ends with Z."""
    since = datetime.fromisoformat(text) - _EPOCH
    return (since.days * DAY_S + since.seconds) * 1000 + since.microseconds // 1000


def epoch_s(text: str) -> int:
    """Return an instant of a statement in seconds since 1970."""
    return epoch_ms(text) // 1000


def instant(epoch: int) -> str:
    """Return seconds since 1970 as the text of a statement."""
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%dT%H:%M:%SZ}"


def instant_of_ms(epoch: int) -> str:
    """Return milliseconds since 1970 as the text of a statement."""
    return f"{instant(epoch // 1000)[:-1]}.{epoch % 1000:03d}Z"


def _seconds(text: str) -> str:
    if not _SECONDS.match(text):
        raise ValueError("an instant is written like 2031-03-08T14:12:00Z")
    epoch_s(text)
    return text


def _millis(text: str) -> str:
    if not _MILLIS.match(text):
        raise ValueError("an instant is written like 2031-03-08T14:12:00.000Z")
    epoch_ms(text)
    return text


def _day(text: str) -> str:
    if not _DATE.match(text):
        raise ValueError("a day is written like 2031-03-08")
    date.fromisoformat(text)
    return text


Count = Annotated[int, Field(ge=0, le=INTEGER_MAX)]
Seconds = Annotated[str, AfterValidator(_seconds)]
Millis = Annotated[str, AfterValidator(_millis)]
Day = Annotated[str, AfterValidator(_day)]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Word = Annotated[str, Field(max_length=256)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Subject(_Part):
    """What the statement is about: use by slot time (basis `usage`) on whole days in UTC, both included."""

    organization_id: Word
    project_id: Word | None
    item_id: Word | None
    feature: Word | None
    first_day: Day
    last_day: Day
    basis: Literal["usage"]


class FeatureUnits(_Part):
    """Units of one feature."""

    feature: Word
    quantity: Count


class Figures(_Part):
    """The numbers that the entries add up to; devices are clients with use."""

    reports: Count
    devices: Count
    quantity: Count
    in_quota: Count
    in_grace: Count
    over: Count
    exceptions: Count
    features: Annotated[tuple[FeatureUnits, ...], Strict(False)]


class AsOf(_Part):
    """How far the log was counted, and since when nothing can be added any more.

    `counted_through` is the instant up to which everything that had arrived was counted. A report is accepted until 30
    days after the end of its slot, so slots before `settled_before` cannot change.
    """

    partition: Count
    applied_offset: Count
    counted_through: Millis
    settled_before: Seconds
    settled: bool


class Entry(_Part):
    """One line of a report; `record_sha256` null: the record was no longer kept in the log."""

    partition: Count
    offset: Count
    line: Count
    project_id: Word
    item_id: Word
    client_uuid: Annotated[str, Field(min_length=1, max_length=128)]
    report_id: Annotated[str, Field(min_length=1, max_length=64)]
    slot: Seconds
    received_at: Millis
    feature: Word
    quantity: Count
    in_quota: Count
    in_grace: Count
    over: Count
    exceptions: Count
    record_sha256: Hash | None
    link: Hash

    @property
    def place(self) -> tuple[int, int, int]:
        """Where the line comes from: partition, offset, line."""
        return self.partition, self.offset, self.line


class Chain(_Part):
    """The end of the chain, and how many links it has."""

    entries: Count
    head: Hash


class Record(_Part):
    """A record of the log as it came, for who wants to read it."""

    partition: Count
    offset: Count
    value: str


class Signature(_Part):
    """An Ed25519 signature in base64; `key_id` is SHA-256 of the public key's 32 bytes."""

    algorithm: Literal["Ed25519"]
    key_id: Hash
    value: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{86}==$")]


class Statement(_Part):
    """The whole document."""

    type: Literal["licmeter.statement"]
    version: Literal[1]
    issued_at: Seconds
    clients: Literal["plain", "pseudonyms"]
    subject: Subject
    figures: Figures
    as_of: AsOf
    chain: Chain
    entries: Annotated[tuple[Entry, ...], Strict(False), Field(max_length=ENTRIES_MAX)]
    records: Annotated[tuple[Record, ...], Strict(False)] | None
    signature: Signature


def first_link(subject: Subject) -> bytes:
    """Return the hash that the chain begins with."""
    return sha256(canonical(subject.model_dump())).digest()


def next_link(link: bytes, entry: dict[str, Any]) -> bytes:
    """Return the link of an entry, given the one before it; the entry's own `link` is no part of it."""
    bare = {name: value for name, value in entry.items() if name != "link"}
    return sha256(link + canonical(bare)).digest()


def figures_of(entries: Iterable[Entry]) -> Figures:
    """Add up the entries."""
    sums = dict.fromkeys(("quantity", "in_quota", "in_grace", "over", "exceptions"), 0)
    reports: set[tuple[int, int]] = set()
    devices: set[str] = set()
    features: dict[str, int] = {}
    for entry in entries:
        for name in sums:
            sums[name] += getattr(entry, name)
        reports.add((entry.partition, entry.offset))
        if entry.quantity:
            devices.add(entry.client_uuid)
            features[entry.feature] = features.get(entry.feature, 0) + entry.quantity
    units = tuple(FeatureUnits(feature=name, quantity=count) for name, count in sorted(features.items()))
    return Figures(reports=len(reports), devices=len(devices), features=units, **sums)


def settled_before(counted_through: str) -> str:
    """Return the start of the first slot that may still get a report, given that all that had arrived is counted.

    A slot is accepted while the arrival is not after its end + 30 days (domain, check 7).
    """
    latest_end_s = -(-epoch_ms(counted_through) // 1000) - ACCEPTED_S
    return instant(max(0, -(-(latest_end_s - SLOT_S) // SLOT_S) * SLOT_S))


def signed_bytes(document: dict[str, Any]) -> bytes:
    """Return what the signature is over: the document without the signature's value."""
    signature = {name: value for name, value in document["signature"].items() if name != "value"}
    return DOMAIN + canonical(document | {"signature": signature})


def pseudonym(secret: bytes, client_uuid: str) -> str:
    """Return what stands for a client: the same one for the same secret, and no way back without it."""
    return hmac.new(secret, client_uuid.encode(), sha256).hexdigest()[:32]


def links(subject: Subject, entries: Sequence[dict[str, Any]]) -> list[str]:
    """Return the links of entries, in their order."""
    link, found = first_link(subject), []
    for entry in entries:
        link = next_link(link, entry)
        found.append(link.hex())
    return found
