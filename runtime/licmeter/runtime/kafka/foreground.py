"""`licmeter kafka`: the embedded broker alone, in a terminal or under a process manager."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from licmeter.runtime.errors import LicmeterError
from licmeter.runtime.kafka.jars import JarSource
from licmeter.runtime.kafka.progress import OnProgress, Progress, Step
from licmeter.runtime.kafka.server import EmbeddedKafka
from licmeter.runtime.settings import Settings

__all__ = ["progress_bars", "run_foreground"]

_EXIT_STOPPED = 0
_EXIT_OTHER_CLUSTER = 2

_LABELS = {
    Step.JARS: "downloading Kafka (once)",
    Step.FORMAT: "formatting its storage (once)",
    Step.BROKER: "starting Kafka",
}


def run_foreground(settings: Settings, *, console: Console | None = None, jar_source: JarSource | None = None) -> int:
    """Run the embedded broker until SIGINT, SIGTERM or its own end; returns the process's exit code.

    0 when a signal stopped it, 3 when it could not start or died, 2 when the settings name another cluster. Call it in
    the main thread.
    """
    console = console or Console(stderr=True)
    if settings.kafka.bootstrap_servers:
        console.print(
            f"Another Kafka is configured (LICMETER_KAFKA__BOOTSTRAP_SERVERS={settings.kafka.bootstrap_servers});"
            " unset it to run the embedded one.",
            markup=False,
            soft_wrap=True,
        )
        return _EXIT_OTHER_CLUSTER
    kafka = EmbeddedKafka(settings.kafka, settings.data_dir / "kafka", settings.cache_dir, jar_source=jar_source)
    with _signals_interrupt():
        try:
            _run(kafka, console)
        except KeyboardInterrupt:
            _stop(kafka, console)
            return _EXIT_STOPPED
        except LicmeterError as error:
            console.print(f"{error.message}\n{error.hint}", markup=False, soft_wrap=True)
            return error.exit_code
    raise AssertionError("unreachable: a broker ends by a signal or by an error")


@contextmanager
def progress_bars(console: Console) -> Iterator[OnProgress]:
    """Shows each step of a start as a bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console) as bars:
        tasks = {}

        def show(progress: Progress) -> None:
            if progress.step not in tasks:
                tasks[progress.step] = bars.add_task(_LABELS[progress.step], total=progress.total)
            bars.update(tasks[progress.step], completed=progress.done)

        yield show


def _run(kafka: EmbeddedKafka, console: Console) -> None:
    with progress_bars(console) as on_progress:
        kafka.start(on_progress)
    console.print(
        f"Kafka listens on {kafka.bootstrap_servers} (process {kafka.pid}). Ctrl-C stops it.",
        markup=False,
        soft_wrap=True,
    )
    console.print(f"Its log: {kafka.log_path}", markup=False, soft_wrap=True)
    kafka.wait()
    raise kafka.died()


def _stop(kafka: EmbeddedKafka, console: Console) -> None:
    console.print("Stopping Kafka …")
    try:
        kafka.stop()
    except KeyboardInterrupt:
        kafka.kill()  # asked twice: at once
    console.print("Kafka has stopped.")


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does; SIGINT does so even where a shell has started us with it ignored."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
