"""Records that must be refused, each for one reason and with a good report as its model."""

from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple

from licmeter.producers.simulation.kinds import NOBODY, Kind
from licmeter.producers.simulation.scenario import UNKNOWN_ORGANIZATION
from licmeter.producers.simulation.wire import DATA, HEAD, device_middle, encode_counts, instant_bytes, report_tail

__all__ = ["InvalidRecords", "Model", "Record"]

_DAY_S: Final = 86_400
#: Instants far beyond their bounds, so that a record which travels for an hour is refused for the same reason:
#: 5 minutes ahead, 30 days ago, a clock 24 hours off.
_FUTURE_S: Final = 2 * _DAY_S
_TOO_OLD_S: Final = 40 * _DAY_S
_CLOCK_OFF_S: Final = 3 * _DAY_S

_NOT_JSON: Final = (b"{", b"\xff\xfe\x00", b"qr;5;2031-03-08", b'{"specversion":"1.0","type":')
#: The bound is 1,000,000 in a slot.
_HUGE_COUNTS: Final = (1_000_001, 2**40, 10**30)
_FRACTIONS: Final = (1.5, 0.1, 2.75)
_WRONG_COUNTS: Final = (b"[]", b'"five"', b"null", b'{"qr":"5"}', b'{"qr":true}', b'{"":1}', b"7")


class Record(NamedTuple):
    """Key and value, and under which organization the record is counted."""

    key: bytes | None
    value: bytes | None
    owner: str


class Model(NamedTuple):
    """The good report that a bad one is made from."""

    organization_id: str
    client_uuid: str
    report_id: bytes
    middle: bytes
    slot: bytes
    feature: str


class InvalidRecords:
    """Makes them. The same arguments and the same random numbers give the same records."""

    def __init__(self, random: Random, *, now_s: int, slot_s: int, organizations: tuple[str, ...]) -> None:
        self._random = random
        self._slot_s = slot_s
        self._tail = report_tail(now_s, 1)
        self._wrong_clocks = [report_tail(now_s + sign * _CLOCK_OFF_S, 1) for sign in (1, -1)]
        self._organizations = organizations
        self._makers: dict[Kind, Callable[[Model], bytes | None]] = {
            Kind.TOMBSTONE: lambda model: None,
            Kind.EMPTY_RECORD: lambda model: b"",
            Kind.NOT_JSON: lambda model: self._random.choice(_NOT_JSON),
            Kind.NOT_JSON_UNKNOWN_KEY: lambda model: self._random.choice(_NOT_JSON),
            Kind.UNKNOWN_TYPE: lambda model: self._value(model).replace(b".v1", b".v99", 1),
            Kind.NO_KEY: self._value,
            Kind.WRONG_TYPES: self._wrong_types,
            Kind.FRACTIONAL_COUNT: lambda model: self._counting(model, self._random.choice(_FRACTIONS)),
            Kind.OTHER_ORGANIZATION: self._of_other_organization,
            Kind.NEGATIVE_COUNT: lambda model: self._counting(model, -self._random.randint(1, 9)),
            Kind.HUGE_COUNT: lambda model: self._counting(model, self._random.choice(_HUGE_COUNTS)),
            Kind.MISALIGNED_SLOT: lambda model: self._in_slot(model, self._random.choice((1, -60, -0.5))),
            Kind.WRONG_CLOCK: lambda model: self._value(model, tail=self._random.choice(self._wrong_clocks)),
            Kind.FUTURE_SLOT: lambda model: self._in_slot(model, _FUTURE_S),
            Kind.TOO_OLD: lambda model: self._in_slot(model, -_TOO_OLD_S),
            Kind.UNKNOWN_PROJECT: self._of_unknown_project,
            Kind.UNKNOWN_ORGANIZATION: self._of_unknown_organization,
        }

    def make(self, kind: Kind, model: Model) -> Record:
        """Return a record of a kind."""
        value = self._makers[kind](model)
        if kind is Kind.NO_KEY:
            return Record(None, value, NOBODY)
        if kind in (Kind.UNKNOWN_ORGANIZATION, Kind.NOT_JSON_UNKNOWN_KEY):
            return Record(UNKNOWN_ORGANIZATION.encode(), value, NOBODY)
        return Record(model.organization_id.encode(), value, model.organization_id)

    def large(self, model: Model, size: int) -> Record:
        """Return a report that would be good, were it not of `size` bytes."""
        tail = self._tail[:-2] + b',"edition":"%b"}}'
        padding = size - len(self._value(model, tail=tail % b""))
        value = self._value(model, tail=tail % (b"x" * padding))
        return Record(model.organization_id.encode(), value, model.organization_id)

    def _value(
        self,
        model: Model,
        *,
        middle: bytes | None = None,
        slot: bytes | None = None,
        counts: bytes | None = None,
        tail: bytes | None = None,
    ) -> bytes:
        parts = (
            HEAD,
            model.report_id,
            middle or model.middle,
            slot or model.slot,
            DATA,
            counts or encode_counts({model.feature: 1}),
            tail or self._tail,
        )
        return b"".join(parts)

    def _counting(self, model: Model, count: float) -> bytes:
        return self._value(model, counts=encode_counts({model.feature: count}))

    def _in_slot(self, model: Model, shift_s: float) -> bytes:
        return self._value(model, slot=instant_bytes(self._slot_s + shift_s))

    def _wrong_types(self, model: Model) -> bytes:
        good = self._value(model)
        return self._random.choice(
            (
                self._value(model, counts=self._random.choice(_WRONG_COUNTS)),
                self._value(model, slot=model.slot.rstrip(b"Z")),  # no zone (T1)
                self._value(model, tail=b',"total":4711}}'),  # not the sum
                good.replace(b'"id":', b'"number":', 1),
                good.replace(b'"specversion":"1.0"', b'"specversion":1', 1),
                b"[%b]" % good,
            )
        )

    def _of_other_organization(self, model: Model) -> bytes:
        others = [name for name in self._organizations if name != model.organization_id] or [UNKNOWN_ORGANIZATION]
        return self._addressed(model, f"{self._random.choice(others)}-app")

    def _of_unknown_project(self, model: Model) -> bytes:
        return self._addressed(model, f"{model.organization_id}-no.such.project")

    def _of_unknown_organization(self, model: Model) -> bytes:
        return self._addressed(model, f"{UNKNOWN_ORGANIZATION}-app")

    def _addressed(self, model: Model, project_id: str) -> bytes:
        return self._value(model, middle=device_middle(model.client_uuid, project_id=project_id, organization_id=None))
