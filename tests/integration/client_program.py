"""An application that embeds the SDK, as a process: records, keeps a ledger of its own, and may be killed at any line.

python client_program.py URL KEY SPOOL LEDGER STOP [KILL_AT_LINE]

It records until the file STOP is there, and delivers the rest then. The ledger is a mapped file of two numbers: units
about to be recorded, and units recorded. With KILL_AT_LINE the process kills itself when so many lines of the SDK ran.
"""

import mmap
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

from licmeter.producers import SyncUsageClient

UNITS_BETWEEN_FLUSHES = 20
SDK = str(Path("producers", "client"))


class Ledger:
    """Survives a kill as the tally does."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(16))
        with path.open("r+b") as file:
            self.words = memoryview(mmap.mmap(file.fileno(), 16)).cast("Q")

    @property
    def begun(self) -> int:
        return self.words[0]

    @property
    def done(self) -> int:
        return self.words[1]


def kill_at(line_number: int) -> None:
    """Kill this process, by SIGKILL, when so many lines of the SDK have run in all its threads."""
    left = [line_number]

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        file = frame.f_code.co_filename
        if event == "call" and (SDK not in file or file.endswith("recorder.py")):
            return None  # recording runs more lines than all the rest, and has tests of its own
        if event == "line":
            left[0] -= 1
            if left[0] <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    threading.settrace(trace)
    sys.settrace(trace)


def main() -> None:
    url, key, spool, ledger_path, stop = sys.argv[1:6]
    ledger = Ledger(Path(ledger_path))
    if len(sys.argv) > 6:
        kill_at(int(sys.argv[6]))
    client = SyncUsageClient(
        url, license_key=key, spool=spool, submit_interval_s=0.3, retry_in_session=True, request_timeout_s=5.0
    )
    print("up", flush=True)
    while not Path(stop).exists():
        ledger.words[0] += 1
        client.record("qr")
        ledger.words[1] += 1
        time.sleep(0.002)
        if ledger.done % UNITS_BETWEEN_FLUSHES == 0:
            client.flush(60)  # else a report comes only when its slot is over
    deadline = time.monotonic() + 120
    while not client.flush(60):
        if time.monotonic() > deadline:
            raise SystemExit("the server was never reached")
        time.sleep(0.2)
    client.close()
    print("done", client.client_uuid, flush=True)


if __name__ == "__main__":
    main()
