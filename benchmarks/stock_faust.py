"""The peer: an ordinary Faust agent that adds up counts per key, one event at a time. No checks, no duplicates.

Run as a process: bootstrap servers, number of events, data folder, and where the sums are: `table` (a Faust table in
memory with its changelog, which survives a crash) or `dict` (which does not). Prints the seconds from its first to its
last event.
"""

import os
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import faust

from licmeter.schemas.topics import USAGE_EVENTS


def make_app(bootstrap_servers: str, events: int, data_dir: Path, kind: str) -> faust.App:
    app = faust.App(
        f"stock-faust-{kind}",
        broker=[f"kafka://{server}" for server in bootstrap_servers.split(",")],
        store="memory://",
        datadir=data_dir,
        topic_partitions=4,
        topic_disable_leader=True,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
    )
    topic = app.topic(USAGE_EVENTS.name, key_serializer="raw", value_serializer="json")
    sums: Any = app.Table("sums", default=int, partitions=4, key_type=bytes) if kind == "table" else defaultdict(int)

    @app.agent(topic)
    async def add(stream: Any) -> None:
        done, began = 0, 0.0
        async for event in stream.events():
            began = began or time.perf_counter()
            counts = event.value["data"].get("counts") or {}
            sums[event.key] += sum(counts.values())
            done += 1
            if done == events:
                print(f"SECONDS {time.perf_counter() - began}", flush=True)
                os._exit(0)

    return app


if __name__ == "__main__":
    servers, count, folder, kind = sys.argv[1:5]
    worker = faust.Worker(make_app(servers, int(count), Path(folder), kind), loglevel="WARNING", redirect_stdouts=False)
    worker.execute_from_commandline()
