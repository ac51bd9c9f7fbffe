"""The endpoint's process: `python -m licmeter.runtime.clickhouse.serve`, started by `EmbeddedClickHouse`.

It inherits a listening socket, opens chDB, and serves until SIGTERM, or until its standard input ends: the parent
holds the other end of that pipe, so that nothing stays behind when the parent is killed.

granian runs embedded, in this process, because chDB does not survive a fork; its other servers start workers.
"""

import argparse
import asyncio
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from licmeter.runtime.clickhouse.app import create_app
from licmeter.runtime.clickhouse.errors import QueryError

__all__ = ["main"]

#: How long open requests may delay the end. What was acknowledged survives a kill, so little is lost by it.
_GRACE_S: Final = 5.0
_PARENT_LOOK_S: Final = 1.0
_BACKLOG: Final = 128

#: Its stub does not know the constructor, with which granian itself hands sockets to its workers.
_SocketHolder: Any = SocketHolder

_log = logging.getLogger("licmeter.clickhouse")


class _Server(Server):
    """granian's embedded server on a socket that is bound already.

    granian binds its own with SO_REUSEPORT, and would share a port that another endpoint serves.
    """

    def __init__(self, listener: socket.socket, **options: Any) -> None:
        super().__init__(**options)
        self._listener = listener

    def _init_shared_socket(self) -> None:
        self._ssp: Any = None
        self._shd: Any = _SocketHolder(self._listener.fileno(), False, _BACKLOG)


def _end_with_parent() -> None:
    """End the process when its standard input does; in a thread, since opening the engine blocks the loop."""
    stdin, parent = sys.stdin.fileno(), os.getppid()
    # A fork of the parent may hold a copy of the pipe; its pid shows its end as well.
    while os.getppid() == parent:
        readable, _, _ = select.select([stdin], [], [], _PARENT_LOOK_S)
        if readable and not os.read(stdin, 1):
            break
    _log.warning("the parent process has gone")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os._exit(1)


async def _serve(listener: socket.socket, data_dir: Path, memory_bytes_max: int) -> None:
    # Imported here: loading chDB takes a second, and must not delay the watch on the parent.
    from licmeter.runtime.clickhouse.engine import Engine
    from licmeter.runtime.clickhouse.service import Service

    engine = Engine(data_dir, memory_bytes_max=memory_bytes_max)
    service = Service(engine, time.monotonic)
    host, port = listener.getsockname()
    _log.info("chdb %s serves http://%s:%s from %s", engine.version, host, port, data_dir)
    server = _Server(
        listener,
        target=create_app(service),
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        address=host,
        port=port,
        backlog=_BACKLOG,
    )
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.call_later(_GRACE_S, os._exit, 0)
        server.stop()  # type: ignore[no-untyped-call]

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await server.serve()


def main() -> int:
    """Serve; 1 when the engine cannot be opened."""
    parser = argparse.ArgumentParser(prog="licmeter.runtime.clickhouse.serve")
    parser.add_argument("--fd", type=int, required=True, help="a bound and listening socket")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--memory-bytes-max", type=int, required=True)
    arguments = parser.parse_args()
    # A parent that waits for signals has them blocked, and we inherit that.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    listener = socket.socket(fileno=arguments.fd)
    listener.setblocking(False)
    try:
        asyncio.run(_serve(listener, arguments.data_dir, arguments.memory_bytes_max))
    except QueryError as error:
        _log.error("%s", error.text)  # the engine itself has written more
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
