import gzip
from collections.abc import AsyncIterator

import pytest
from backports.zstd import ZstdCompressor

from licmeter.producers.gateway.bodies import decompress, read_body
from licmeter.producers.gateway.problems import BadRequest, Problem, TooLarge, UnsupportedMedia

BODY = b'{"counts":{"qr":1}}' * 50
MAX = 10_000


def zstd(body: bytes) -> bytes:
    compressor = ZstdCompressor()
    return compressor.compress(body) + compressor.flush()


CODINGS = {"gzip": gzip.compress, "zstd": zstd, "identity": bytes, "": bytes, " GZIP ": gzip.compress}


@pytest.mark.parametrize("coding", CODINGS)
def test_a_body_is_what_was_packed(coding: str) -> None:
    assert decompress(CODINGS[coding](BODY), coding, MAX) == BODY


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_body_may_have_several_frames(coding: str) -> None:
    pack = CODINGS[coding]
    assert decompress(pack(BODY) + pack(b"x") + pack(b""), coding, MAX) == BODY + b"x"


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize("frames", [1, 3])
def test_a_bomb_is_refused_without_being_unpacked(coding: str, frames: int) -> None:
    bomb = CODINGS[coding](b"\0" * 50_000_000)
    assert len(bomb) < 100_000
    with pytest.raises(TooLarge):
        decompress(bomb * frames, coding, MAX)


@pytest.mark.parametrize("size", [MAX, MAX + 1])
@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_the_bound_is_exact(coding: str, size: int) -> None:
    packed = CODINGS[coding](b"a" * size)
    if size == MAX:
        assert len(decompress(packed, coding, MAX)) == MAX
    else:
        with pytest.raises(TooLarge):
            decompress(packed, coding, MAX)


@pytest.mark.parametrize(
    ("body", "coding", "error"),
    [
        (b"not packed", "gzip", BadRequest),
        (b"not packed", "zstd", BadRequest),
        (gzip.compress(BODY)[:-9], "gzip", BadRequest),
        (zstd(BODY)[:-3], "zstd", BadRequest),
        (gzip.compress(BODY) + b"tail", "gzip", BadRequest),
        (BODY, "br", UnsupportedMedia),
        (BODY, "gzip, zstd", UnsupportedMedia),
    ],
)
def test_what_cannot_be_unpacked_is_a_problem(body: bytes, coding: str, error: type[Problem]) -> None:
    with pytest.raises(error):
        decompress(body, coding, MAX)


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def test_a_body_is_read_in_pieces_and_each_is_reserved_before() -> None:
    reserved: list[int] = []
    assert await read_body(pieces(b"ab", b"c", b""), 3, reserved.append) == b"abc"
    assert reserved == [2, 1, 0]


async def test_a_body_is_not_read_beyond_its_bound() -> None:
    reserved: list[int] = []
    with pytest.raises(TooLarge):
        await read_body(pieces(b"ab", b"cd", b"ef"), 3, reserved.append)
    assert reserved == [2]
