"""The server that tests run in a thread keeps a connection until it ends it, and leaves nothing behind."""

import asyncio
import contextlib
import gc
import socket
import threading

from tests.support.threaded_server import ThreadedServer

WAIT_S = 10.0


class Waiting(ThreadedServer):
    """Reads a byte, and then waits for another server that says nothing, as a proxy does."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._target = port
        self.began = threading.Semaphore(0)
        self.over = threading.Semaphore(0)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        with contextlib.closing(back):
            await reader.readexactly(1)
            self.began.release()
            try:
                await there.read(1)
            finally:
                self.over.release()


def test_a_connection_whose_client_has_gone_is_kept_until_it_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, contextlib.ExitStack() as kept:
        with Waiting(silent.getsockname()[1]) as server:
            for _ in range(5):
                with socket.create_connection(("127.0.0.1", server.port), WAIT_S) as client:
                    far, _ = silent.accept()
                    kept.enter_context(far)
                    client.sendall(b".")
                    assert server.began.acquire(timeout=WAIT_S)
                    client.shutdown(socket.SHUT_WR)
                with socket.create_connection(("127.0.0.1", server.port), WAIT_S) as another:
                    far, _ = silent.accept()  # the loop has gone round since
                    kept.enter_context(far)
                    another.sendall(b".")
                    assert server.began.acquire(timeout=WAIT_S)
                    gc.collect()
                    assert not server.over.acquire(blocking=False)
        gc.collect()
        assert all(server.over.acquire(timeout=WAIT_S) for _ in range(10))


def test_clients_that_come_at_the_end_are_cut_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, contextlib.ExitStack() as kept:
        with Waiting(silent.getsockname()[1]) as server:
            clients = [
                kept.enter_context(socket.create_connection(("127.0.0.1", server.port), WAIT_S)) for _ in range(50)
            ]
        for client in clients:
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
    gc.collect()
