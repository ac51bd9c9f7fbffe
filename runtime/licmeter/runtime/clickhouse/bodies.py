"""The body of a request: read with a limit, decompressed with the same limit, or taken apart if it is a form."""

import zlib
from collections.abc import AsyncIterator, Callable
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from typing import Final, Protocol

from licmeter.runtime.clickhouse.errors import (
    NOT_IMPLEMENTED,
    QUERY_IS_TOO_LARGE,
    UNKNOWN_COMPRESSION_METHOD,
    QueryError,
)

__all__ = ["REQUEST_BYTES_MAX", "decompressor", "parse_form", "read_body"]

#: A whole request is held in memory, so it has a bound: 200,000 attribution rows in Arrow are about 40 MB.
REQUEST_BYTES_MAX: Final = 256 * 1024 * 1024
#: What is refused is still read to this bound: a client that is cut off in the middle of sending
#: sees a broken pipe instead of the reason.
_DRAIN_BYTES_MAX: Final = 8 * REQUEST_BYTES_MAX


class _Frames(Protocol):
    """A decompressor of one frame, as lz4, zstd and zlib have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, /) -> bytes: ...


async def read_body(chunks: AsyncIterator[bytes], encoding: str, bytes_max: int = REQUEST_BYTES_MAX) -> bytes:
    """Read and decompress a body; raises `QueryError` when it exceeds `bytes_max` before or after that."""
    decompress = decompressor(encoding)
    body = bytearray()
    received, too_large = 0, False
    async for chunk in chunks:
        received += len(chunk)
        if received > _DRAIN_BYTES_MAX:
            break
        if too_large:
            continue
        body += decompress(chunk)
        too_large = received > bytes_max or len(body) > bytes_max
    if too_large:
        raise QueryError.of(
            QUERY_IS_TOO_LARGE, f"A request may have {bytes_max} bytes, also when decompressed: send smaller batches"
        )
    return bytes(body)


def decompressor(encoding: str) -> Callable[[bytes], bytes]:
    """Return a function that decompresses chunk by chunk; a body may consist of several frames."""
    if encoding in ("", "identity"):
        return lambda chunk: chunk
    if encoding == "lz4":
        from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]

        return _over_frames(LZ4FrameDecompressor)
    if encoding == "zstd":
        from backports.zstd import ZstdDecompressor

        return _over_frames(ZstdDecompressor)
    if encoding == "gzip":
        return _over_frames(lambda: zlib.decompressobj(wbits=31))
    if encoding == "deflate":
        return _over_frames(zlib.decompressobj)
    raise QueryError.of(UNKNOWN_COMPRESSION_METHOD, f"Content-Encoding {encoding!r}: use lz4, zstd, gzip or deflate")


def _over_frames(new_frame: Callable[[], _Frames]) -> Callable[[bytes], bytes]:
    frame = new_frame()

    def decompress(chunk: bytes) -> bytes:
        nonlocal frame
        out = bytearray()
        try:
            while chunk:
                if frame.eof:
                    frame = new_frame()
                out += frame.decompress(chunk)
                chunk = (frame.unused_data or b"") if frame.eof else b""
        except Exception as error:  # each library has its own
            raise QueryError.of(UNKNOWN_COMPRESSION_METHOD, f"The body cannot be decompressed: {error}") from error
        return bytes(out)

    return decompress


def parse_form(body: bytes, content_type: str) -> dict[str, bytes]:
    """Take the text fields from a `multipart/form-data` body; files are external tables, which are not served."""
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    fields: dict[str, bytes] = {}
    for part in message.get_payload():
        assert isinstance(part, Message)
        name = part.get_param("name", header="content-disposition")
        if part.get_filename() is not None:
            raise QueryError.of(NOT_IMPLEMENTED, "External tables are not supported by this endpoint")
        payload = part.get_payload(decode=True)
        fields[str(name)] = payload if isinstance(payload, bytes) else b""
    return fields
