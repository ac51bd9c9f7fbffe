"""What a verifier checks, one idea after the other; each failure names the entry. Needs nothing of the system."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError

from licmeter.runtime.proof.canonical import CanonicalError, read_json
from licmeter.runtime.proof.keys import key_id, signature_holds
from licmeter.runtime.proof.originals import check_records
from licmeter.runtime.proof.statement import (
    ACCEPTED_S,
    DAY_S,
    SLOT_S,
    Entry,
    Record,
    Statement,
    epoch_ms,
    epoch_s,
    figures_of,
    first_link,
    next_link,
    settled_before,
)

__all__ = ["STATEMENT_BYTES_MAX", "Check", "Verification", "verify"]

#: Far above a statement of `ENTRIES_MAX` lines; one with the records of large reports has to be divided earlier.
STATEMENT_BYTES_MAX: Final = 1024**3
#: E1: a client's clock may be so far ahead.
_FUTURE_MS: Final = 5 * 60 * 1000
_EPOCH: Final = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what holds, or the first place at which it does not."""

    name: str
    ok: bool
    said: str

    def to_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {"check": self.name, "ok": self.ok, "said": self.said}


@dataclass(slots=True)
class Verification:
    """All checks, and the statement if it has the form of one."""

    checks: list[Check] = field(default_factory=list)
    statement: Statement | None = None

    @property
    def valid(self) -> bool:
        """Whether every check holds."""
        return all(check.ok for check in self.checks)

    def add(self, name: str, failure: str | None, holds: str) -> bool:
        """Note a check; return whether it holds."""
        self.checks.append(Check(name, failure is None, holds if failure is None else failure))
        return failure is None

    def to_json(self) -> dict[str, Any]:
        """Return it for machines."""
        statement = self.statement
        told = None if statement is None else statement.model_dump(exclude={"entries", "records"})
        return {"valid": self.valid, "checks": [check.to_json() for check in self.checks], "statement": told}


def verify(text: bytes, key: Ed25519PublicKey, records: Sequence[Record] | None = None) -> Verification:
    """Check a statement, and with it the records that are given or that it includes."""
    found = Verification()
    document, failure = _read(text)
    if not found.add("readable", failure, f"{len(text):,} bytes of JSON"):
        return found
    statement, failure = _parse(document)
    if not found.add("form", failure, "a statement of version 1"):
        return found
    assert statement is not None
    found.statement = statement
    mine, named = key_id(key), statement.signature.key_id
    found.add("key", None if mine == named else f"it is signed with key {named}, not with {mine}", f"key {mine[:16]}…")
    failure = None if signature_holds(document, key) else "the signature is not that of the key over this document"
    found.add("signature", failure, "Ed25519 over the whole document")
    found.add("chain", _chain(statement, document["entries"]), f"{statement.chain.entries:,} entries")
    found.add("order", _order(statement.entries), "ascending, each line once, each report once")
    found.add("subject", _subject(statement), "every entry belongs to it")
    found.add("entries", _entries(statement), "each entry is possible, and was counted by then")
    found.add("figures", _figures(statement), "the entries add up to them")
    found.add("settled", _settled(statement), _settled_words(statement))
    given = records if records is not None else statement.records
    if given is not None:
        failure, holds = check_records(statement, given)
        found.add("records", failure, holds)
    return found


def _read(text: bytes) -> tuple[Any, str | None]:
    if len(text) > STATEMENT_BYTES_MAX:
        return None, f"it has more than {STATEMENT_BYTES_MAX:,} bytes"
    try:
        return read_json(text), None
    except CanonicalError as error:
        return None, str(error)


def _parse(document: Any) -> tuple[Statement | None, str | None]:
    if isinstance(document, dict) and document.get("signature", ...) is None:
        return None, "it is not signed: a listing, and no statement"
    try:
        return Statement.model_validate(document), None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])[:200]
        return None, f"{path or 'the document'}: {first['msg']}"


def _named(entry: Entry, number: int) -> str:
    return f"entry {number:,} ({entry.partition}:{entry.offset}:{entry.line})"


def _chain(statement: Statement, documents: list[dict[str, Any]]) -> str | None:
    """Check the links one by one, so that the first entry that was changed is known."""
    link = first_link(statement.subject)
    for number, document in enumerate(documents):
        link = next_link(link, document)
        if link.hex() != document["link"]:
            return f"{_named(statement.entries[number], number)} is not the one that was chained here"
    chain = statement.chain
    if chain.entries != len(documents):
        return f"there are {len(documents):,} entries, and {chain.entries:,} were chained"
    return None if chain.head == link.hex() else "the last link is not the head of the chain"


def _order(entries: Sequence[Entry]) -> str | None:
    """Check the order, and that no report stands at two places: that would be counting it twice."""
    places: dict[tuple[str, str], tuple[int, int]] = {}
    before: Entry | None = None
    for number, entry in enumerate(entries):
        if before is not None and entry.place <= before.place:
            how = "is there twice" if entry.place == before.place else "is not in its place"
            return f"{_named(entry, number)} {how}"
        place = (entry.partition, entry.offset)
        first = places.setdefault((entry.client_uuid, entry.report_id), place)
        if first != place:
            return f"{_named(entry, number)}: report {entry.report_id!r} is counted at {first[0]}:{first[1]} already"
        if before is not None and place == (before.partition, before.offset):
            told = ("client_uuid", "report_id", "slot", "received_at", "project_id", "record_sha256")
            for name in told:
                if getattr(entry, name) != getattr(before, name):
                    return f"{_named(entry, number)}: {name} is not that of the line before, of the same report"
        before = entry
    return None


def _subject(statement: Statement) -> str | None:
    subject = statement.subject
    first, last = _day_s(subject.first_day), _day_s(subject.last_day) + DAY_S
    if first >= last:
        return "the range ends before it begins"
    wanted = {"project_id": subject.project_id, "item_id": subject.item_id, "feature": subject.feature}
    chosen = [(name, word) for name, word in wanted.items() if word is not None]
    for number, entry in enumerate(statement.entries):
        if not first <= epoch_s(entry.slot) < last:
            return f"{_named(entry, number)}: slot {entry.slot} is outside of the range"
        for name, word in chosen:
            if getattr(entry, name) != word:
                return f"{_named(entry, number)}: {name} is {getattr(entry, name)!r}, and the subject's is {word!r}"
    return None


def _day_s(day: str) -> int:
    return (date.fromisoformat(day) - _EPOCH).days * DAY_S


def _entries(statement: Statement) -> str | None:
    as_of = statement.as_of
    for number, entry in enumerate(statement.entries):
        for failure in _impossible(entry):
            return f"{_named(entry, number)}: {failure}"
        if entry.partition != as_of.partition:
            return f"{_named(entry, number)}: the statement is as of partition {as_of.partition}"
        if entry.offset > as_of.applied_offset:
            return f"{_named(entry, number)}: the statement is as of offset {as_of.applied_offset}"
    return None


def _impossible(entry: Entry) -> Iterator[str]:
    """Yield what no counted line can be (domain, section 5 and C3)."""
    slot_s, received_ms = epoch_s(entry.slot), epoch_ms(entry.received_at)
    if slot_s % SLOT_S:
        yield f"{entry.slot} is not the start of a slot"
    if slot_s * 1000 > received_ms + _FUTURE_MS:
        yield "it arrived more than five minutes before its slot"
    if received_ms > (slot_s + SLOT_S + ACCEPTED_S) * 1000:
        yield "it arrived more than 30 days after its slot"
    parts = entry.in_quota + entry.in_grace + entry.over
    if parts and parts != entry.quantity:
        yield f"in_quota + in_grace + over = {parts}, and quantity is {entry.quantity}"
    if not entry.item_id and (parts or entry.exceptions):
        yield "no item took it, and it is in a quota"


def _figures(statement: Statement) -> str | None:
    found, stated = figures_of(statement.entries).model_dump(), statement.figures.model_dump()
    for name, value in stated.items():
        if value != found[name]:
            shown = [found[name], value] if name != "features" else _first_difference(found[name], value)
            return f"{name} is {shown[1]}, and the entries add up to {shown[0]}"
    return None


def _first_difference(found: Sequence[Any], stated: Sequence[Any]) -> list[Any]:
    for mine, theirs in zip(found, stated, strict=False):
        if mine != theirs:
            return [mine, theirs]
    return [f"{len(found)} features", f"of {len(stated)}"]


def _settled(statement: Statement) -> str | None:
    as_of = statement.as_of
    before = settled_before(as_of.counted_through)
    if as_of.settled_before != before:
        return f"settled_before is {as_of.settled_before}, and counted_through makes it {before}"
    settled = _day_s(statement.subject.last_day) + DAY_S <= epoch_s(before)
    return None if as_of.settled == settled else f"settled is {as_of.settled}, and the range makes it {settled}"


def _settled_words(statement: Statement) -> str:
    as_of = statement.as_of
    if as_of.settled:
        return f"nothing can be added: slots before {as_of.settled_before} are closed"
    return f"late reports may still be added from {as_of.settled_before} on"
