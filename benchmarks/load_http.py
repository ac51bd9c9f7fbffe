"""Sends prepared HTTP requests over a few kept connections and measures each; in a process of its own.

Bytes on sockets, not a client library: the load must cost less than what it measures.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

_END = b"\r\n\r\n"


async def answer(reader: asyncio.StreamReader) -> int:
    """Read one answer with a Content-Length; return its status."""
    head = await reader.readuntil(_END)
    lines = head.split(b"\r\n")
    length = next(int(line[15:]) for line in lines if line[:15].lower() == b"content-length:")
    await reader.readexactly(length)
    return int(lines[0].split()[1])


async def connection(
    host: str, port: int, requests: list[bytes], seconds: float, times: list[float], statuses: dict[int, int]
) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    end = time.perf_counter() + seconds
    number = 0
    while (began := time.perf_counter()) < end:
        writer.write(requests[number % len(requests)])
        status = await answer(reader)
        times.append(time.perf_counter() - began)
        statuses[status] = statuses.get(status, 0) + 1
        number += 1
    writer.close()


async def run(host: str, port: int, files: list[Path], seconds: float) -> None:
    times: list[float] = []
    statuses: dict[int, int] = {}
    loads = [[part for part in file.read_bytes().split(b"\0\n\0") if part] for file in files]
    async with asyncio.TaskGroup() as group:
        for requests in loads:
            group.create_task(connection(host, port, requests, seconds, times, statuses))
    times.sort()
    print(
        json.dumps(
            {
                "requests": len(times),
                "statuses": statuses,
                "p50_ms": 1000 * times[len(times) // 2],
                "p99_ms": 1000 * times[min(len(times) - 1, len(times) * 99 // 100)],
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], int(sys.argv[2]), [Path(name) for name in sys.argv[4:]], float(sys.argv[3])))
