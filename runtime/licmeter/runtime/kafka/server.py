"""The embedded broker: start it, stop it, know where it is."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from licmeter.runtime.errors import ServiceError
from licmeter.runtime.kafka.claim import Claim, RunningBroker, claim
from licmeter.runtime.kafka.failure import broker_failure, unwritable
from licmeter.runtime.kafka.jars import JarSource, default_cache_dir, ensure_jars
from licmeter.runtime.kafka.java import Java, environment, find_java
from licmeter.runtime.kafka.lock import load_lock
from licmeter.runtime.kafka.maven import MavenSource
from licmeter.runtime.kafka.polling import poll_until
from licmeter.runtime.kafka.ports import HOST, free_port, is_free, require_free
from licmeter.runtime.kafka.probe import answers
from licmeter.runtime.kafka.process import GuardedProcess
from licmeter.runtime.kafka.progress import OnProgress, Progress, Step, ignore_progress
from licmeter.runtime.kafka.storage import DataDir, format_storage, prepare
from licmeter.runtime.settings import KafkaSettings

__all__ = ["STOP_S", "EmbeddedKafka"]

STOP_S = 10.0  # it takes 0.4 s; with gigabytes of topics to close perhaps some seconds
_PORT_TRIES = 3  # between the choice of a free port and its use another process may take it


class EmbeddedKafka:
    """One broker on one data folder; starts, stops, and starts again on the same port.

    Every method may be called from any thread, but from one at a time. When the process that started it ends, in
    whatever way, the broker ends too.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        data_dir: Path,
        cache_dir: Path | None = None,
        *,
        jar_source: JarSource | None = None,
    ) -> None:
        self._settings = settings
        self._data = DataDir(data_dir.absolute())
        self._cache_dir = (cache_dir or default_cache_dir()).absolute()
        self._jar_source = jar_source or MavenSource()
        self._port = settings.port
        self._process: GuardedProcess | None = None
        self._log_offset = 0  # where the log of this run begins

    @property
    def bootstrap_servers(self) -> str:
        """Where clients find it; known once it has been started."""
        assert self._port, "the port is chosen by start()"
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int:
        """The process id of the broker itself."""
        assert self._process is not None, "there is no process before start()"
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.alive

    @property
    def log_path(self) -> Path:
        """The broker's log."""
        return self._data.log

    def start(self, on_progress: OnProgress | None = None) -> None:
        """Start the broker and return when it answers; raises `ServiceError`, and then nothing is left running."""
        assert not self.alive, "it runs already"
        on_progress = on_progress or ignore_progress
        with claim(self._data.root) as owned:
            prepare(self._data)
            if self._settings.port:
                require_free(self._port)  # before 44 MB are downloaded
            java = Java(find_java(), ensure_jars(load_lock(), self._cache_dir, self._jar_source, on_progress))
            try:
                self._format_once(java, owned, on_progress)
                on_progress(Progress(Step.BROKER, 0, 1))
                self._launch(java, owned)
            except OSError as error:
                raise unwritable(self._data.root, error, setting="LICMETER_DATA_DIR") from error
        on_progress(Progress(Step.BROKER, 1, 1))

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Its exit code once it has ended, or None when it runs on after `timeout_s`."""
        assert self._process is not None, "there is nothing to wait for before start()"
        return self._process.wait(timeout_s)

    def stop(self, timeout_s: float = STOP_S) -> None:
        """End it in order, or by force when it has not ended within `timeout_s`; nothing is left afterwards."""
        if self._process is not None:
            self._process.stop(timeout_s)

    def kill(self) -> None:
        """End it by SIGKILL, as a crash would."""
        if self._process is not None:
            self._process.kill()

    def died(self) -> ServiceError:
        """The error that says how a broker that ran has ended."""
        code = self.wait(0)
        what = f"the embedded Kafka has ended ({_how(code)})"
        return broker_failure(what, self._data.log, self._data.console, log_offset=self._log_offset)

    def __enter__(self) -> Self:
        if not self.alive:
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _format_once(self, java: Java, owned: Claim, on_progress: OnProgress) -> None:
        if not self._data.formatted:
            on_progress(Progress(Step.FORMAT, 0, 1))
            format_storage(self._data, java, owned, self._settings.start_timeout_s)
            on_progress(Progress(Step.FORMAT, 1, 1))

    def _launch(self, java: Java, owned: Claim) -> None:
        for tries_left in reversed(range(_PORT_TRIES)):
            controller_port = self._choose_ports()
            try:
                self._run(java, owned, controller_port)
            except ServiceError as error:
                self.kill()
                if not tries_left or "Address already in use" not in error.message:
                    raise
            except BaseException:  # Ctrl-C too leaves nothing behind
                self.kill()
                raise
            else:
                break
        owned.announce(RunningBroker(os.getpid(), self.pid, self.bootstrap_servers))

    def _choose_ports(self) -> int:
        """Settle the broker's port, and return one for the controller, which nobody but the broker needs to know."""
        if self._settings.port:
            require_free(self._settings.port)
        elif not self._port or not is_free(self._port):
            self._port = free_port()
        while (controller_port := free_port()) == self._port:
            pass
        return controller_port

    def _run(self, java: Java, owned: Claim, controller_port: int) -> None:
        data, settings = self._data, self._settings
        data.configure(self._port, controller_port)
        self._log_offset = data.log.stat().st_size if data.log.exists() else 0
        command = java.command(
            "kafka.Kafka", str(data.properties), heap_mb=settings.heap_mb, temporary=data.temporary, log4j=data.log4j
        )
        self._process = process = GuardedProcess(
            command, console=data.console, environment=environment(), inherit=[owned.descriptor]
        )
        ready = False

        def settled() -> bool:
            nonlocal ready
            ready = answers(self._port)
            return ready or not process.alive

        poll_until(settled, timeout_s=settings.start_timeout_s)
        if not process.alive:
            what = f"the embedded Kafka ended while it started ({_how(process.wait())})"
        elif not ready:
            what = f"the embedded Kafka did not answer within {settings.start_timeout_s:g} s"
        else:
            return
        raise broker_failure(what, data.log, data.console, log_offset=self._log_offset)


def _how(code: int | None) -> str:
    if code is None:
        return "it still runs"
    return f"killed by signal {code - 128}" if code > 128 else f"exit code {code}"
