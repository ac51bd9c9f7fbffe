import fcntl
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from licmeter.runtime.errors import ServiceError
from licmeter.runtime.kafka.jars import default_cache_dir, ensure_jars
from licmeter.runtime.kafka.lock import LockedJar
from licmeter.runtime.kafka.progress import Progress, Step

CONTENTS = {f"org.example:part{n}:1.0": f"content of {n}".encode() for n in range(3)}
JARS = tuple(
    LockedJar(coordinate, hashlib.sha256(content).hexdigest(), f"part{n}-1.0.jar")
    for n, (coordinate, content) in enumerate(CONTENTS.items())
)


class Repository:
    """A source whose jars are in memory; `disturb` may raise, or leave half a file behind, first."""

    def __init__(self, disturb: Callable[[str, Path], None] = lambda coordinate, folder: None) -> None:
        self.fetched: list[str] = []
        self._disturb = disturb

    def fetch(self, coordinate: str, folder: Path) -> Path:
        self.fetched.append(coordinate)
        path = folder / "any" / "layout.jar"
        path.parent.mkdir()  # fails unless the folder is new
        self._disturb(coordinate, path)
        path.write_bytes(CONTENTS[coordinate])
        return path


class Unreachable:
    def fetch(self, coordinate: str, folder: Path) -> Path:
        raise AssertionError("a complete cache must not ask for anything")


def cached(cache: Path) -> set[str]:
    return {path.name for path in (cache / "jars").iterdir() if path.name != ".lock"}


def test_jars_are_fetched_verified_and_reported(tmp_path: Path) -> None:
    seen: list[Progress] = []
    paths = ensure_jars(JARS, tmp_path, Repository(), seen.append)
    assert [path.read_bytes() for path in paths] == list(CONTENTS.values())
    assert seen == [Progress(Step.JARS, done, 3) for done in range(4)]
    assert cached(tmp_path) == {jar.filename for jar in JARS}


def test_a_complete_cache_needs_no_source(tmp_path: Path) -> None:
    first = ensure_jars(JARS, tmp_path, Repository())
    assert ensure_jars(JARS, tmp_path, Unreachable()) == first


def test_only_the_damaged_jar_is_fetched_again(tmp_path: Path) -> None:
    paths = ensure_jars(JARS, tmp_path, Repository())
    paths[1].write_bytes(b"damaged")
    repository = Repository()
    ensure_jars(JARS, tmp_path, repository)
    assert repository.fetched == [JARS[1].coordinate]
    assert paths[1].read_bytes() == CONTENTS[JARS[1].coordinate]


def test_a_jar_that_differs_is_refused_and_not_kept(tmp_path: Path) -> None:
    forged = (LockedJar(JARS[0].coordinate, "0" * 64, JARS[0].filename),)
    with pytest.raises(ServiceError, match=r"part0-1\.0\.jar.*sha256.*nothing of it was kept") as caught:
        ensure_jars(forged, tmp_path, Repository())
    assert "LICMETER_KAFKA__BOOTSTRAP_SERVERS" in caught.value.hint
    assert cached(tmp_path) == set()


def test_a_download_that_breaks_off_is_tried_again_from_the_start(tmp_path: Path) -> None:
    broken: set[str] = set()

    def break_once(coordinate: str, path: Path) -> None:
        if coordinate not in broken:
            broken.add(coordinate)
            path.write_bytes(b"half a f")
            raise ConnectionError("connection reset")

    paths = ensure_jars(JARS, tmp_path, Repository(break_once))
    assert [path.read_bytes() for path in paths] == list(CONTENTS.values())


def test_a_download_that_fails_names_the_jar_and_keeps_the_others(tmp_path: Path) -> None:
    ensure_jars(JARS[:1], tmp_path, Repository())

    def fail(coordinate: str, path: Path) -> None:
        path.write_bytes(b"half a f")
        raise ConnectionError("no route to host")

    with pytest.raises(ServiceError, match=r"cannot download part1-1\.0\.jar.*no route to host") as caught:
        ensure_jars(JARS[:2], tmp_path, Repository(fail))
    assert caught.value.service == "kafka"
    assert cached(tmp_path) == {"part0-1.0.jar"}


def test_a_cache_that_cannot_be_written_names_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ServiceError, match="cannot write") as caught:
        ensure_jars(JARS, tmp_path / "file", Repository())
    assert "LICMETER_CACHE_DIR" in caught.value.hint


def test_a_full_disk_is_no_failed_download(tmp_path: Path) -> None:
    def fill(coordinate: str, path: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(ServiceError, match=r"cannot write to .*No space left") as caught:
        ensure_jars(JARS, tmp_path, Repository(fill))
    assert "LICMETER_CACHE_DIR" in caught.value.hint


def test_what_a_killed_download_left_is_cleared(tmp_path: Path) -> None:
    left_over = tmp_path / "jars" / "download-killed"
    left_over.mkdir(parents=True)
    (left_over / "part.jar").write_bytes(b"half a f")
    ensure_jars(JARS, tmp_path, Repository())
    assert cached(tmp_path) == {jar.filename for jar in JARS}


def test_who_waits_for_another_download_uses_its_jars(tmp_path: Path) -> None:
    (tmp_path / "jars").mkdir()
    with (tmp_path / "jars" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threading.Thread(target=ensure_jars, args=(JARS, tmp_path, Unreachable()))
        waiting.start()
        for jar in JARS:
            (tmp_path / "jars" / jar.filename).write_bytes(CONTENTS[jar.coordinate])
    waiting.join(timeout=10)
    assert not waiting.is_alive()


@pytest.mark.parametrize(("root", "expected"), [("/c", Path("/c/licmeter")), ("relative", None), ("", None)])
def test_the_cache_is_where_the_desktop_says(monkeypatch: pytest.MonkeyPatch, root: str, expected: Path | None) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", root)
    assert default_cache_dir() == (expected or Path.home() / ".cache" / "licmeter")
