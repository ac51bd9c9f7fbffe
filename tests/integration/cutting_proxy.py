"""A proxy that now and then hands a request on, and cuts the connection instead of handing the answer back."""

import asyncio
import contextlib
from random import Random

from tests.support.threaded_server import ThreadedServer, read_message


class CuttingProxy(ThreadedServer):
    """`cut_share` of the answers never arrive; `cuts` counts them."""

    def __init__(self, port: int, seed: int, cut_share: float) -> None:
        super().__init__()
        self._target = port
        self._random = Random(seed)
        self.cut_share = cut_share
        self.cuts = 0

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        with contextlib.closing(back):
            while True:
                back.write(b"".join(await read_message(reader)))
                answer = b"".join(await read_message(there))
                if self._random.random() < self.cut_share:
                    self.cuts += 1
                    return
                writer.write(answer)
                await writer.drain()
