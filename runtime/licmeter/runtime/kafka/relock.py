"""Writes `jars.lock` anew: `python -m licmeter.runtime.kafka.relock [folder]`.

For maintainers who change the version of Kafka. It trusts the repository of the moment: look at the difference
before it is committed.
"""

import hashlib
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from licmeter.runtime.kafka.lock import LOCK_NAME, LockedJar, render_lock
from licmeter.runtime.kafka.maven import MavenSource

__all__ = ["KAFKA", "lock_jars", "main"]

KAFKA = "org.apache.kafka:kafka_2.13:4.3.1"
_LOG4J_CORE = "org.apache.logging.log4j:log4j-core:"
# Kafka logs through SLF4J 1.7 and brings log4j 2 but not the bridge between them.
_LOG4J_BRIDGE = "org.apache.logging.log4j:log4j-slf4j-impl:"
_DOWNLOADS_AT_ONCE = 4


def lock_jars(source: MavenSource, folder: Path) -> list[LockedJar]:
    """Resolve Kafka, download every jar into `folder` and take its checksum."""
    coordinates = source.resolve(KAFKA, folder / "projects")
    # The bridge is added by name: resolving both together lets the bridge's project decide the versions of
    # Kafka's own parts (seen: kafka-clients 3.9 below a 4.3 broker).
    log4j_version = next(c.removeprefix(_LOG4J_CORE) for c in coordinates if c.startswith(_LOG4J_CORE))
    coordinates.append(_LOG4J_BRIDGE + log4j_version)

    def lock(coordinate: str) -> LockedJar:
        path = source.fetch(coordinate, folder / "jars")
        return LockedJar(coordinate, hashlib.sha256(path.read_bytes()).hexdigest(), path.name)

    with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
        return list(pool.map(lock, coordinates))


def main(arguments: list[str]) -> int:
    """Write the lock file beside this module, or in the folder named."""
    target = (Path(arguments[0]) if arguments else Path(__file__).parent) / LOCK_NAME
    with tempfile.TemporaryDirectory() as folder:
        jars = lock_jars(MavenSource(), Path(folder))
    target.write_text(render_lock(jars), encoding="utf-8")
    sys.stdout.write(f"{target}: {len(jars)} jars\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
