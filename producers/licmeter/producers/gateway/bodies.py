"""The body of a request: read and decompressed with one bound, before and after."""

import sys
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

from licmeter.producers.gateway.problems import BadRequest, TooLarge, UnsupportedMedia

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError
else:
    from backports.zstd import ZstdDecompressor, ZstdError

__all__ = ["decompress", "read_body"]

_CODINGS: Final = ("gzip", "zstd", "identity")


class _Frame(Protocol):
    """A decompressor of one frame that gives at most so many bytes at a time."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


async def read_body(chunks: AsyncIterator[bytes], bytes_max: int, reserve: Callable[[int], None]) -> bytes:
    """Read a body as it stands; `reserve` is told of each piece before it is kept. Raises `TooLarge`."""
    pieces: list[bytes] = []
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > bytes_max:
            raise TooLarge(f"a body has at most {bytes_max} bytes; send smaller batches")
        reserve(len(chunk))
        pieces.append(chunk)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def decompress(body: bytes, coding: str, bytes_max: int) -> bytes:
    """Undo a content coding; never makes more than `bytes_max` bytes, whatever the body says.

    Raises `UnsupportedMedia`, `TooLarge`, or `BadRequest` for a body that is broken or cut off.
    """
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding == "gzip":
        return _unpack(body, lambda: zlib.decompressobj(wbits=31), bytes_max)
    if coding == "zstd":
        return _unpack(body, ZstdDecompressor, bytes_max)
    raise UnsupportedMedia(
        f"Content-Encoding: only {', '.join(_CODINGS)}", headers={"Accept-Encoding": ", ".join(_CODINGS)}
    )


def _unpack(body: bytes, new_frame: Callable[[], _Frame], bytes_max: int) -> bytes:
    out = bytearray()
    rest = body
    try:
        while rest:  # a body may consist of several frames
            frame = new_frame()
            out += frame.decompress(rest, bytes_max + 1 - len(out))
            if len(out) > bytes_max:
                raise TooLarge(f"a body has at most {bytes_max} bytes, also when decompressed; send smaller batches")
            if not frame.eof:
                raise BadRequest("the compressed body ends too early")
            rest = frame.unused_data
    except (zlib.error, ZstdError, EOFError) as error:
        raise BadRequest(f"the body cannot be decompressed: {error}") from error
    return bytes(out)
