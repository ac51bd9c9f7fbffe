"""Pieces of an answer into one valid stream.

chDB encodes each piece of a streamed SELECT as a complete answer. Where a format has no header, one after
another is the whole; Arrow streams are spliced; everything else is answered in one piece.
"""

from collections.abc import Iterator
from typing import Final

__all__ = ["ArrowSplicer", "Joiner", "is_streamable", "joiner"]

_HEADERLESS: Final = frozenset(
    {
        "Native",
        "RowBinary",
        "TabSeparated",
        "TSV",
        "TabSeparatedRaw",
        "TSVRaw",
        "CSV",
        "JSONEachRow",
        "JSONLines",
        "NDJSON",
        "JSONStringsEachRow",
        "JSONCompactEachRow",
        "JSONCompactStringsEachRow",
        "TSKV",
    }
)


def is_streamable(result_format: str) -> bool:
    """Say whether answers of this format may come in pieces."""
    return result_format in _HEADERLESS or result_format == "ArrowStream"


class Joiner:
    """Hands the pieces through."""

    def add(self, chunk: bytes) -> bytes:
        """Return what to send for a piece."""
        return chunk

    def finish(self) -> bytes:
        """Return what to send at the end."""
        return b""


class ArrowSplicer(Joiner):
    """Makes one Arrow IPC stream out of several: the schema once, then all batches, then the end."""

    def __init__(self) -> None:
        self._sent_schema = False

    def add(self, chunk: bytes) -> bytes:
        """Return the piece without its end, and without its schema unless it is the first."""
        messages = list(_messages(chunk))
        if not self._sent_schema:
            self._sent_schema = True
            return b"".join(messages)
        return b"".join(messages[1:])

    def finish(self) -> bytes:
        """Return the end-of-stream mark."""
        return _END_OF_STREAM


_END_OF_STREAM: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def _messages(stream: bytes) -> Iterator[bytes]:
    """Yield the encapsulated messages of an IPC stream, without the mark at its end."""
    import pyarrow as pa  # needed for Arrow alone

    source = pa.BufferReader(stream)
    while source.tell() < len(stream):
        start = source.tell()
        if stream[start : start + len(_END_OF_STREAM)] == _END_OF_STREAM:
            return
        pa.ipc.read_message(source)
        yield stream[start : source.tell()]


def joiner(result_format: str) -> Joiner:
    """Return the joiner of a streamable format."""
    return ArrowSplicer() if result_format == "ArrowStream" else Joiner()
