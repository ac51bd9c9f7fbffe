"""The data folder of the broker: its files, and the formatting that it needs once."""

import secrets
import shutil
import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path

from licmeter.runtime.kafka.claim import Claim
from licmeter.runtime.kafka.config import BrokerConfig, log4j_properties, render_properties, server_properties
from licmeter.runtime.kafka.failure import broker_failure, failure, unwritable
from licmeter.runtime.kafka.java import Java, environment
from licmeter.runtime.kafka.process import GuardedProcess

__all__ = ["DataDir", "format_storage", "new_cluster_id", "prepare", "require_room"]

_FREE_MB_MIN = 256  # two segments of 128 MiB
_FORMAT_HEAP_MB = 128
# Any: a cluster of one is told its own address anew at every start.
_FORMAT_PORTS = (9092, 9093)


@dataclass(frozen=True, slots=True)
class DataDir:
    """Where things are in the data folder."""

    root: Path

    @property
    def topics(self) -> Path:
        """Kafka's `log.dirs`: all that must be kept."""
        return self.root / "topics"

    @property
    def properties(self) -> Path:
        """Kafka's configuration, written at every start."""
        return self.root / "server.properties"

    @property
    def log4j(self) -> Path:
        """The configuration of Kafka's log, written at every start."""
        return self.root / "log4j2.properties"

    @property
    def log(self) -> Path:
        """Kafka's log."""
        return self.root / "kafka.log"

    @property
    def console(self) -> Path:
        """What the JVM itself said since its last start."""
        return self.root / "console.log"

    @property
    def temporary(self) -> Path:
        """Native libraries that the JVM unpacks; emptied at every start."""
        return self.root / "tmp"

    @property
    def formatted(self) -> bool:
        """Whether the storage has been formatted; it never is twice, so the cluster's id stays."""
        return (self.topics / "meta.properties").exists()

    def configure(self, port: int, controller_port: int, topics: Path | None = None) -> None:
        """Write Kafka's configuration."""
        config = BrokerConfig(port, controller_port, topics or self.topics)
        self.properties.write_text(render_properties(server_properties(config)), encoding="ascii")
        self.log4j.write_text(render_properties(log4j_properties(self.log)), encoding="ascii")


def prepare(data: DataDir) -> None:
    """Make sure that a broker can write to the folder; raises `ServiceError` when it cannot."""
    if "," in str(data.root):
        raise failure(
            f"Kafka cannot keep its data in {data.root}: it takes a comma for the end of a folder's name",
            hint="name another folder with LICMETER_DATA_DIR",
        )
    try:
        shutil.rmtree(data.temporary, ignore_errors=True)
        data.temporary.mkdir()
        written = data.temporary / secrets.token_hex(8)
        written.write_bytes(b"room and the right to write")
        written.unlink()
    except OSError as error:
        raise unwritable(data.root, error, setting="LICMETER_DATA_DIR") from error
    require_room(data.root, shutil.disk_usage(data.root).free)


def require_room(folder: Path, free_bytes: int) -> None:
    """Raise `ServiceError` when the disk of `folder` has too little room for a broker to do anything."""
    free_mb = free_bytes // 1_000_000
    if free_mb < _FREE_MB_MIN:
        raise failure(
            f"the disk that holds {folder} is full: {free_mb} MB are free, the broker needs {_FREE_MB_MIN} MB at least",
            hint="make room, or move the data with LICMETER_DATA_DIR",
        )


def new_cluster_id() -> str:
    """A cluster id as Kafka makes them: 22 characters; one that begins with a dash would read as an option."""
    while True:
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not cluster_id.startswith("-"):
            return cluster_id


def format_storage(data: DataDir, java: Java, claim: Claim, timeout_s: float) -> None:
    """Format the storage under a new cluster id; all of it is there afterwards, or nothing."""
    unfinished = data.root / "topics.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    data.configure(*_FORMAT_PORTS, topics=unfinished)
    command = java.command(
        "kafka.tools.StorageTool",
        *("format", "--cluster-id", new_cluster_id(), "--config", str(data.properties)),
        heap_mb=_FORMAT_HEAP_MB,
        temporary=data.temporary,
        log4j=data.log4j,
    )
    process = GuardedProcess(command, console=data.console, environment=environment(), inherit=[claim.descriptor])
    try:
        code = process.wait(timeout_s)
    finally:
        process.kill()
    if code != 0:
        what = f"no end within {timeout_s:.0f} s" if code is None else f"exit code {code}"
        raise broker_failure(f"Kafka could not format its storage ({what})", data.log, data.console, log_offset=0)
    unfinished.rename(data.topics)
