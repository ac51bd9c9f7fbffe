"""A ClickHouse for development, tests and demonstrations: chDB behind ClickHouse's HTTP interface, as a child process.

Loopback only, and no users: whoever reaches the port may do everything. Production uses a real server.
"""

import contextlib
import errno
import importlib.util
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from licmeter.runtime.errors import ServiceError
from licmeter.runtime.http import answers
from licmeter.runtime.settings import ClickHouseSettings

__all__ = ["EmbeddedClickHouse"]

_SERVICE: Final = "clickhouse"
_HOST: Final = "127.0.0.1"
_NEEDED: Final = ("chdb", "granian", "starlette")
_STOP_TIMEOUT_S: Final = 15.0  # the child gives open requests 5 s, and closing the engine takes well below one
_PROBE_INTERVAL_S: Final = 0.05
_LOG_BYTES_MAX: Final = 10 * 1024 * 1024
_LOG_LINES_SHOWN: Final = 15
#: What the engine says, to its output only, when another process has the directory open.
_LOCKED: Final = "Cannot lock file"


class EmbeddedClickHouse:
    """Starts and stops the endpoint; the data stays in `data_dir`, so that a new start finds it again."""

    def __init__(self, settings: ClickHouseSettings, data_dir: Path) -> None:
        self._settings = settings
        self._data_dir = data_dir.absolute()
        self._port = settings.port
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where clients find it; the same after a restart."""
        assert self._port, "port 0 becomes a number in start()"
        return f"http://{_HOST}:{self._port}"

    @property
    def pid(self) -> int:
        """The process that serves."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def log_file(self) -> Path:
        """What the process wrote to its output."""
        return self._data_dir / "endpoint.log"

    def start(self) -> None:
        """Start, and return when it answers queries; raises `ServiceError` that says what to do."""
        if self.alive:
            return
        _check_packages()
        with self._bind() as listener, self._open_log() as log:
            self._port = listener.getsockname()[1]
            log_start = log.tell()
            self._process = subprocess.Popen(
                self._command(listener.fileno()),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(listener.fileno(),),
                start_new_session=True,  # a terminal's Ctrl-C reaches us alone, and we end the child in order
            )
        try:
            self._await_ready(log_start)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Stop in order, or by force after some seconds; does nothing when it does not run."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_TIMEOUT_S)
        self.kill()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        process = self._process
        if process is None:
            return
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()

    def _command(self, fd: int) -> list[str]:
        return [
            sys.executable,
            "-m",
            "licmeter.runtime.clickhouse.serve",
            f"--fd={fd}",
            f"--data-dir={self._data_dir / 'engine'}",
            f"--memory-bytes-max={self._settings.max_memory_mb * 1024 * 1024}",
        ]

    def _open_log(self) -> IO[bytes]:
        try:
            (self._data_dir / "engine").mkdir(parents=True, exist_ok=True)
            if self.log_file.exists() and self.log_file.stat().st_size > _LOG_BYTES_MAX:
                self.log_file.replace(self.log_file.with_suffix(".log.1"))
            return self.log_file.open("ab")
        except OSError as error:
            raise ServiceError(
                f"cannot write to {self._data_dir}: {error.strerror}",
                service=_SERVICE,
                hint="set LICMETER_DATA_DIR to a directory that can be written",
            ) from error

    def _bind(self) -> socket.socket:
        listener = socket.socket()
        try:
            # After a crash the port has connections in TIME_WAIT; this does not allow two listeners.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Accepted connections inherit it. Without it a small answer waits 40 ms for the client's ACK.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listener.bind((_HOST, self._port))
            listener.listen()
        except OSError as error:
            listener.close()
            what = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
            raise ServiceError(
                f"port {self._port} {what}",
                service=_SERVICE,
                hint="set LICMETER_CLICKHOUSE__PORT to another port (0 = any free one), "
                "or LICMETER_CLICKHOUSE__URL to use a server",
            ) from error
        return listener

    def _await_ready(self, log_start: int) -> None:
        deadline = time.monotonic() + self._settings.start_timeout_s
        while not (answers(f"{self.url}/ping", b"Ok.\n") and answers(f"{self.url}/?query=SELECT+1", b"1\n")):
            assert self._process is not None
            code = self._process.poll()
            if code is not None:
                raise self._died(code, log_start)
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"ClickHouse did not answer within {self._settings.start_timeout_s:g} s",
                    service=_SERVICE,
                    hint=f"see {self.log_file}; LICMETER_CLICKHOUSE__START_TIMEOUT_S allows more time",
                )
            time.sleep(_PROBE_INTERVAL_S)

    def _died(self, code: int, log_start: int) -> ServiceError:
        with self.log_file.open("rb") as log:
            log.seek(log_start)
            lines = log.read().decode(errors="replace").splitlines()
        if any(_LOCKED in line for line in lines):
            return ServiceError(
                f"another process uses the data in {self._data_dir}",
                service=_SERVICE,
                hint="stop it, or set LICMETER_DATA_DIR to another directory",
            )
        shown = "\n".join(f"  {line}" for line in lines[-_LOG_LINES_SHOWN:])
        return ServiceError(
            f"ClickHouse ended with code {code} when it started:\n{shown}",
            service=_SERVICE,
            hint=f"see {self.log_file}",
        )


def _check_packages() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ServiceError(
            f"the embedded ClickHouse needs packages that are not installed: {', '.join(missing)}",
            service=_SERVICE,
            hint="pip install licmeter[embedded], or set LICMETER_CLICKHOUSE__URL to use a server",
        )
