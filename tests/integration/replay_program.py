"""A replay that kills itself with SIGKILL when it comes to a step for the n-th time: `test_replay.py` starts it.

Besides the steps of a run there is `handed`: a chunk is handed to the client, and nothing is known of its arrival.
"""

import asyncio
import os
import secrets
import signal
import sys
from collections import Counter
from collections.abc import Sequence

from licmeter.sinks.replay.book import RejectBook
from licmeter.sinks.replay.journal import JournalWriter, Outgoing
from licmeter.sinks.replay.rejects import Selection
from licmeter.sinks.replay.run import ReplayBounds, replay_rejects


async def main(servers: str, organization: str, step: str, number: int, fence_s: float) -> None:
    seen: Counter[str] = Counter()

    def on_step(name: str) -> None:
        seen[name] += 1
        if name == step and seen[name] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    whole = JournalWriter.put_back

    async def put_back(writer: JournalWriter, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
        # Half of the chunk goes and is acknowledged, the rest is on its way.
        half = len(records) // 2
        sent = await whole(writer, records[:half])
        rest = asyncio.create_task(whole(writer, records[half:]))
        await asyncio.sleep(0)
        on_step("handed")
        return sent + await rest

    if step == "handed":
        JournalWriter.put_back = put_back  # type: ignore[method-assign, assignment]
    selection = Selection(organization_id=organization)
    async with RejectBook(servers) as book:
        span = await book.span(selection)
        bounds = ReplayBounds(chunk_records=50, fence_s=fence_s)
        run = secrets.token_hex(16)
        await replay_rejects(servers, book, span, selection, lambda _: True, run=run, bounds=bounds, on_step=on_step)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])))
