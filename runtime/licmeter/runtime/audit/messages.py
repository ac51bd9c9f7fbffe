"""The breaches on `license.alerts`: every message once, however often it was sent."""

from collections.abc import AsyncIterator
from hashlib import blake2b
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import from_json

from licmeter.runtime.audit.log import Span
from licmeter.runtime.audit.memory import PackedMemory
from licmeter.runtime.audit.report import Difference
from licmeter.runtime.audit.scene import Scene
from licmeter.runtime.audit.tables import Row, message_row
from licmeter.schemas.alerts import BREACH_TYPE, Breach
from licmeter.schemas.topics import LICENSE_ALERTS

__all__ = ["message_rows"]

_CONTENT: Final = bytes(8)


async def message_rows(scene: Scene, *, first: bool) -> AsyncIterator[Row]:
    """Yield the breaches on the topic, repeats left out; of partitions whose log is whole.

    `first`: what is no message is noted, too. A repeat with the same content is none of another kind.
    """
    for span in (await scene.log.spans(LICENSE_ALERTS.name)).values():
        if span.partition not in {each.partition for each in scene.whole}:
            continue
        memory = PackedMemory(span.count, 0)
        try:
            async for row in _rows(scene, span, memory, first=first):
                yield row
        finally:
            memory.close()


async def _rows(scene: Scene, span: Span, memory: PackedMemory, *, first: bool) -> AsyncIterator[Row]:
    async for records in scene.log.read(LICENSE_ALERTS.name, span):
        for record in records:
            row = _row(scene, record, first=first)
            if row is None or row[2] > scene.last_ms.get(span.partition, 0):
                continue  # what was said of a record that came after the audit began
            identity = blake2b(repr(row).encode(), digest_size=16).digest()
            if memory.get(identity, 0) is None:
                memory.add(identity, _CONTENT, 0)
                yield row


def _row(scene: Scene, record: Any, *, first: bool) -> Row | None:
    """Return the row of a breach; None for a usage alert, and for what is no message."""
    try:
        event = from_json(record.value or b"")
        if event["type"] != BREACH_TYPE:
            return None
        message = Breach.model_validate(event["data"])
    except (ValidationError, ValueError, TypeError, KeyError):
        if first and scene.only is None:
            place = f"{record.partition}:{record.offset}"
            scene.report.of("").note(Difference(LICENSE_ALERTS.name, "a record that is no message", place))
        return None
    return message_row(message) if scene.only in (None, message.organization_id) else None
