"""The peer: an ordinary Faust agent that adds up counts per key, one event at a time. No checks, no duplicates.

Run as a process: bootstrap servers, number of events, data folder. Prints the seconds from its first to its last event.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import faust

from licmeter.schemas.topics import USAGE_EVENTS


def make_app(bootstrap_servers: str, events: int, data_dir: Path) -> faust.App:
    app = faust.App(
        "stock-faust-sum",
        broker=[f"kafka://{server}" for server in bootstrap_servers.split(",")],
        store="memory://",
        datadir=data_dir,
        topic_partitions=4,
        topic_disable_leader=True,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
    )
    topic = app.topic(USAGE_EVENTS.name, key_serializer="raw", value_serializer="json")
    sums = app.Table("sums", default=int, partitions=4, key_type=bytes)

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
    servers, count, folder = sys.argv[1:4]
    worker = faust.Worker(make_app(servers, int(count), Path(folder)), loglevel="WARNING", redirect_stdouts=False)
    worker.execute_from_commandline()
