"""Who owns a data folder: one broker at a time, and where others find it.

The file `broker.lock` is locked by a descriptor that the broker and its guardian inherit. So the lock ends exactly
when the last of them does, also after SIGKILL, and says the truth when process ids would not. Its content names the
owner and, once the broker answers, its address.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from licmeter.runtime.kafka.failure import failure, unwritable
from licmeter.runtime.kafka.guardian import GRACE_S
from licmeter.runtime.kafka.polling import poll_until

__all__ = ["Claim", "RunningBroker", "claim", "running_broker"]

_LOCK_NAME = "broker.lock"
_OWNED_S_MAX = 0.5  # `running_broker` holds the lock for an instant while it looks
# The broker of a process that was killed gets this long from its guardian; then it is gone.
_ORPHANED_S_MAX = GRACE_S + 3.0


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """The broker that owns a data folder."""

    owner_pid: int
    pid: int
    bootstrap_servers: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run a broker on a data folder; `descriptor` is for the broker to inherit."""

    descriptor: int

    def announce(self, broker: RunningBroker) -> None:
        """Tell other processes where the broker answers."""
        _write(self.descriptor, asdict(broker))


@contextmanager
def claim(data_dir: Path) -> Iterator[Claim]:
    """Own `data_dir` until the block and all processes that inherited the claim have ended.

    Raises `ServiceError` when it is owned already or cannot be written.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(data_dir / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unwritable(data_dir, error, setting="LICMETER_DATA_DIR") from error
    try:
        _acquire(descriptor, data_dir)
        _write(descriptor, {"owner_pid": os.getpid()})
        yield Claim(descriptor)
    finally:
        os.close(descriptor)  # closed, not unlocked: unlocking would take the lock from the broker too


def _acquire(descriptor: int, data_dir: Path) -> None:
    def acquired() -> bool:
        return _try_lock(descriptor, fcntl.LOCK_EX)

    owner_lives = psutil.pid_exists(int(_read(descriptor).get("owner_pid", os.getpid())))
    if poll_until(acquired, timeout_s=_OWNED_S_MAX if owner_lives else _ORPHANED_S_MAX):
        return
    owner = _read(descriptor)
    where = f", at {owner['bootstrap_servers']}" if "bootstrap_servers" in owner else ""
    raise failure(
        f"the data folder {data_dir} is in use by another broker"
        f" (started by process {owner.get('owner_pid', '?')}{where})",
        hint="stop that one, use it with LICMETER_KAFKA__BOOTSTRAP_SERVERS,"
        " or name another folder with LICMETER_DATA_DIR",
    )


def running_broker(data_dir: Path) -> RunningBroker | None:
    """The broker that runs on `data_dir` and answers, whichever process started it."""
    try:
        descriptor = os.open(data_dir / _LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if _try_lock(descriptor, fcntl.LOCK_SH):
            return None
        known = _read(descriptor)
        if "bootstrap_servers" not in known:
            return None  # it is only starting
        return RunningBroker(int(known["owner_pid"]), int(known["pid"]), str(known["bootstrap_servers"]))
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(descriptor: int, content: dict[str, int | str]) -> None:
    text = json.dumps(content).encode()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text, 0)


def _read(descriptor: int) -> dict[str, int | str]:
    try:
        content = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}  # new, or being written at this moment
    return content if isinstance(content, dict) else {}
