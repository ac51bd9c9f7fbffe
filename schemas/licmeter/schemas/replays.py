"""`usage.replays`: which rejects were put back on `usage.events`, so that none is put back twice.

A record that is put back says in two headers which reject it is, and in which run it was put back. So putting it back
and remembering that are one write, to the log itself. The log keeps 35 days and rejects are kept for 90, therefore
what was put back is noted here, too: a run begins with where the log ended, notes what it put back, and ends. Of a run
that did not end, the headers in the log tell the rest.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Final, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from licmeter.schemas.rejects import HEADER_PREFIX
from licmeter.schemas.topics import USAGE_EVENTS

__all__ = [
    "REPLAYS_PARTITION",
    "AnyRecord",
    "Place",
    "ReplayMark",
    "ReplayNote",
    "ReplayRecord",
    "RunAlive",
    "RunBegun",
    "RunEnded",
    "parse_replay_record",
    "replay_headers",
    "split_replay_headers",
]

#: All records stand in one partition, and so in one order: the last run that began is the one that may write.
REPLAYS_PARTITION: Final = 0
_OF: Final = f"{HEADER_PREFIX}replay-of"
_RUN: Final = f"{HEADER_PREFIX}replay-run"
_NUMBER: Final = re.compile(r"[0-9]{1,18}")


class Place(NamedTuple):
    """Where a record stands; as text `topic/partition/offset`, or `partition:offset` on `usage.events`."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def short(self) -> str:
        """The text for people: the topic only where it is not `usage.events`."""
        return f"{self.partition}:{self.offset}" if self.topic == USAGE_EVENTS.name else str(self)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read either text; raises `ValueError`."""
        head, slash, offset = text.rpartition("/")
        topic, _, partition = head.rpartition("/")
        if not slash:
            topic = USAGE_EVENTS.name
            partition, _, offset = text.partition(":")
        if not (topic and _NUMBER.fullmatch(partition) and _NUMBER.fullmatch(offset)):
            raise ValueError(f"{text} is no place: PARTITION:OFFSET, or TOPIC/PARTITION/OFFSET")
        return cls(topic, int(partition), int(offset))


class ReplayMark(NamedTuple):
    """What a record that was put back says of itself: the place where the reject had stood, and the run."""

    of: Place
    run: str


def replay_headers(mark: ReplayMark, original: Iterable[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Return the original headers followed by ours."""
    return [*original, (_OF, str(mark.of).encode()), (_RUN, mark.run.encode())]


def split_replay_headers(
    headers: Sequence[tuple[str, bytes]],
) -> tuple[Sequence[tuple[str, bytes]], ReplayMark | None]:
    """Return the headers that the sender gave, and what a replay added at their end; anything else is the sender's."""
    if [name for name, _ in headers[-2:]] != [_OF, _RUN]:
        return headers, None
    try:
        mark = ReplayMark(Place.parse(headers[-2][1].decode()), headers[-1][1].decode())
    except ValueError:
        return headers, None
    return headers[:-2], mark


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    run: Annotated[str, Field(min_length=1, max_length=64, description="the run, an id that nobody can guess")]


class RunBegun(_Record):
    """A run began: from now on no older one may put anything back."""

    kind: Literal["begun"] = "begun"
    ends: dict[int, int] = Field(description="where each partition of usage.events ended then")


class RunAlive(_Record):
    """The run goes on, and found nothing to put back for a while."""

    kind: Literal["alive"] = "alive"


class ReplayNote(_Record):
    """What was put back, and where it stands now."""

    kind: Literal["replayed"] = "replayed"
    replays: tuple[tuple[int, int, int, int], ...] = Field(
        description="partition and offset on usage.events of the rejected record, and of the one put back"
    )


class RunEnded(_Record):
    """All that the run put back is noted."""

    kind: Literal["ended"] = "ended"


AnyRecord = RunBegun | RunAlive | ReplayNote | RunEnded
ReplayRecord = Annotated[AnyRecord, Field(discriminator="kind")]

#: Validate one record's value; raises `pydantic.ValidationError`.
parse_replay_record = TypeAdapter[AnyRecord](ReplayRecord).validate_json
