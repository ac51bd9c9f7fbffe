"""The jars of the broker: verified, cached, downloaded once.

Every start checks every jar against the lock file (45 MB, 0.05 s). When all are right nothing else happens: no
network, no import of jgo. What is missing or damaged is fetched into a folder of its own, checked, and only then
renamed into the cache, so a jar that is not the locked one never enters it. A lock keeps two processes from
downloading the same.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from licmeter.runtime.errors import ServiceError
from licmeter.runtime.kafka.failure import ANOTHER_CLUSTER, failure, unwritable
from licmeter.runtime.kafka.lock import LockedJar
from licmeter.runtime.kafka.polling import poll_until
from licmeter.runtime.kafka.progress import OnProgress, Progress, Step, ignore_progress

__all__ = ["JarSource", "default_cache_dir", "ensure_jars"]

_DOWNLOADS_AT_ONCE = 4
_ATTEMPTS_MAX = 3  # a connection breaks now and then; 46 jars make that likely enough
_OTHER_DOWNLOAD_S_MAX = 600.0  # how long another process may need for the same jars on a slow line
_STAGING_PREFIX = "download-"


class JarSource(Protocol):
    """Where jars come from."""

    def fetch(self, coordinate: str, folder: Path) -> Path:
        """Put the jar `group:artifact:version` somewhere below the empty `folder`; raises when it cannot."""
        ...


def default_cache_dir() -> Path:
    """The user's cache folder, by the rules of the XDG base directories."""
    # The one variable read outside the settings: it belongs to the desktop, not to licmeter.
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if Path(root).is_absolute() else Path.home() / ".cache") / "licmeter"


def ensure_jars(
    jars: Sequence[LockedJar], cache_dir: Path, source: JarSource, on_progress: OnProgress = ignore_progress
) -> list[Path]:
    """The paths of all `jars`, each as locked; raises `ServiceError` when one cannot be had."""
    folder = cache_dir / "jars"
    if _missing(jars, folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _only_one_downloads(folder):
                _download(_missing(jars, folder), len(jars), folder, source, on_progress)
        except OSError as error:
            raise unwritable(folder, error, setting="LICMETER_CACHE_DIR") from error
    return [folder / jar.filename for jar in jars]


def _missing(jars: Sequence[LockedJar], folder: Path) -> list[LockedJar]:
    return [jar for jar in jars if _sha256(folder / jar.filename) != jar.sha256]


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


@contextmanager
def _only_one_downloads(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:

        def acquired() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not poll_until(acquired, timeout_s=_OTHER_DOWNLOAD_S_MAX, interval_s=0.1):
            raise failure(f"another process has been downloading to {folder} for {_OTHER_DOWNLOAD_S_MAX:.0f} s")
        # We alone download, so whatever is staged here was left by a process that was killed.
        for left_over in folder.glob(_STAGING_PREFIX + "*"):
            shutil.rmtree(left_over, ignore_errors=True)
        yield


def _download(
    missing: Sequence[LockedJar], total: int, folder: Path, source: JarSource, on_progress: OnProgress
) -> None:
    done = total - len(missing)
    on_progress(Progress(Step.JARS, done, total))
    pool = ThreadPoolExecutor(_DOWNLOADS_AT_ONCE, thread_name_prefix="jars")
    try:
        for future in as_completed([pool.submit(_fetch, jar, folder, source) for jar in missing]):
            future.result()
            done += 1
            on_progress(Progress(Step.JARS, done, total))
    finally:
        # After a failure or Ctrl-C the jars under way are finished (a thread cannot be stopped), no other is begun.
        pool.shutdown(wait=True, cancel_futures=True)


def _fetch(jar: LockedJar, folder: Path, source: JarSource) -> None:
    with tempfile.TemporaryDirectory(prefix=_STAGING_PREFIX, dir=folder) as staging:
        path = _fetch_patiently(jar, Path(staging), source)
        actual = _sha256(path)
        if actual != jar.sha256:
            raise failure(
                f"{jar.filename} ({jar.coordinate}) is not the file that licmeter was released with: its sha256 is"
                f" {actual}, expected {jar.sha256}; nothing of it was kept",
                hint="check what stands between this machine and its Maven repository, then try again;"
                f" {ANOTHER_CLUSTER}",
            )
        path.replace(folder / jar.filename)


def _fetch_patiently(jar: LockedJar, staging: Path, source: JarSource) -> Path:
    for attempt in range(1, _ATTEMPTS_MAX + 1):
        attempt_folder = staging / str(attempt)
        attempt_folder.mkdir()
        try:
            return source.fetch(jar.coordinate, attempt_folder)
        except (ServiceError, ImportError) as error:
            raise _no_download(jar, error) from error
        except Exception as error:
            # The source may raise anything; the operator needs to know which jar it was for.
            if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise
            if attempt == _ATTEMPTS_MAX:
                raise _no_download(jar, error) from error
    raise AssertionError("unreachable: the last attempt returns or raises")


def _no_download(jar: LockedJar, error: Exception) -> ServiceError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return failure(
        f"cannot download {jar.filename} ({jar.coordinate}): {reason}; nothing of it was kept",
        hint=f"the first start needs a Maven repository, later ones do not; try again, or: {ANOTHER_CLUSTER}",
    )
