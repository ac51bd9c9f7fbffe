"""The process: serves until it is told to stop, then lets open requests end."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn

from licmeter.producers.gateway.app import create_app
from licmeter.producers.gateway.config import GatewayConfig
from licmeter.producers.gateway.gate import Gate

__all__ = ["run_gateway"]

BACKLOG: Final = 2_048
#: Idle connections are kept for longer than a usual client pauses within a burst, and less than a submission cycle.
KEEP_ALIVE_S: Final = 60


class _Server(uvicorn.Server):
    """uvicorn without its handling of signals, which would end the process by the signal again."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and tell of it."""
        await super().startup(sockets)
        self._on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run_gateway(config: GatewayConfig, on_listening: Callable[[str], None] = lambda url: None) -> None:
    """Serve until SIGTERM or SIGINT; `on_listening` is told the address once requests are answered.

    Raises `SendError` when Kafka cannot be reached, and `OSError` when the address cannot be had.
    """
    asyncio.run(_serve(config, on_listening))


async def _serve(config: GatewayConfig, on_listening: Callable[[str], None]) -> None:
    gate = Gate(config)
    listener = _listen(config)
    server = _server(config, gate, lambda: on_listening(_url(listener)))

    def stop() -> None:
        gate.stopping = True
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        await gate.start()
        if not gate.stopping:
            await server.serve(sockets=[listener])
    finally:
        await gate.stop()
        listener.close()


def _server(config: GatewayConfig, gate: Gate, on_started: Callable[[], None]) -> _Server:
    return _Server(
        uvicorn.Config(
            create_app(gate),
            lifespan="off",
            log_config=None,
            access_log=False,  # the query of a beacon holds a license key
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=round(config.drain_timeout_s),
            server_header=False,
            ws="none",
        ),
        on_started,
    )


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _listen(config: GatewayConfig) -> socket.socket:
    """Bind the address; several gateways may share a port, and the kernel divides the connections among them."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if config.port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    # Accepted connections inherit it. Without it a small answer waits 40 ms for the client's ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind((config.host, config.port))
    listener.set_inheritable(False)
    return listener
