"""The broker's configuration: one node that is broker and controller, on a machine it shares with everything else."""

from dataclasses import dataclass
from pathlib import Path

from licmeter.runtime.kafka.ports import HOST

__all__ = ["BrokerConfig", "log4j_properties", "render_properties", "server_properties"]

_MIB = 1024 * 1024
_RECORD_BYTES_MAX = 15 * _MIB  # the largest record of ours is a block of rows below 14 MiB; the rest is for its frame
_OFFSETS_RETENTION_MINUTES = (
    60 * 24 * 60
)  # 60 days: longer than the 35 days of usage.events, so no offset expires first
_SEGMENT_BYTES = 128 * _MIB  # retention deletes whole segments; small ones let it delete sooner
_INDEX_BYTES_MAX = 1 * _MIB  # holds 131,072 entries, one per 4 KiB of log: four times what a segment needs

_FIXED = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "inter.broker.listener.name": "PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # One node: every internal topic has one replica, and few partitions.
    "default.replication.factor": 1,
    "min.insync.replicas": 1,
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "share.coordinator.state.topic.num.partitions": 1,
    # A topic is created with the settings it needs or not at all.
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": 0,  # there is no crowd of consumers to wait for
    "group.min.session.timeout.ms": 6000,
    "offsets.retention.minutes": _OFFSETS_RETENTION_MINUTES,
    "message.max.bytes": _RECORD_BYTES_MAX,
    "replica.fetch.max.bytes": _RECORD_BYTES_MAX,
    "log.segment.bytes": _SEGMENT_BYTES,
    "log.index.size.max.bytes": _INDEX_BYTES_MAX,
    # After SIGKILL the controller waits for the dead broker's session to end before it admits the new one. Broker and
    # controller are one process here, so a short session costs nothing: 5 s until it is back, not 12 s (measured).
    "broker.session.timeout.ms": 3000,
    "broker.heartbeat.interval.ms": 500,
    # Small: few threads (82 in all, measured), and 16 MB of heap for compaction rather than the default 128.
    "num.network.threads": 2,
    "num.io.threads": 4,
    "background.threads": 4,
    "num.recovery.threads.per.data.dir": 2,
    "log.cleaner.threads": 1,
    "log.cleaner.dedupe.buffer.size": 16 * _MIB,
    "metadata.max.idle.interval.ms": 0,  # no record every 0.5 s that only says that nothing happened
}


@dataclass(frozen=True, slots=True)
class BrokerConfig:
    """What differs from one broker to the next."""

    port: int
    controller_port: int
    log_dir: Path


def server_properties(config: BrokerConfig) -> dict[str, str]:
    """All settings of the broker, as `server.properties` names them."""
    broker = f"PLAINTEXT://{HOST}:{config.port}"
    controller = f"{HOST}:{config.controller_port}"
    variable = {
        "listeners": f"{broker},CONTROLLER://{controller}",
        "advertised.listeners": broker,
        "controller.quorum.voters": f"1@{controller}",
        "log.dirs": str(config.log_dir),
    }
    return {key: str(value) for key, value in (_FIXED | variable).items()}


def log4j_properties(log: Path) -> dict[str, str]:
    """Logging of the broker: to the file `log`, four files of 10 MB at most."""
    return {
        "status": "warn",
        "shutdownHook": "disable",  # else what the broker says while it stops is lost
        "rootLogger.level": "info",
        "rootLogger.appenderRef.file.ref": "file",
        "appender.file.type": "RollingFile",
        "appender.file.name": "file",
        "appender.file.fileName": str(log),
        "appender.file.filePattern": f"{log}.%i",
        "appender.file.layout.type": "PatternLayout",
        "appender.file.layout.pattern": "%d{yyyy-MM-dd'T'HH:mm:ss.SSSX}{UTC} %p %c{1} %m%n",
        "appender.file.policies.type": "Policies",
        "appender.file.policies.size.type": "SizeBasedTriggeringPolicy",
        "appender.file.policies.size.size": "10MB",
        "appender.file.strategy.type": "DefaultRolloverStrategy",
        "appender.file.strategy.max": "3",
        # Each prints hundreds of settings at every start, which nobody set.
        **_quiet("broker", "kafka.server.KafkaConfig"),
        **_quiet("common", "org.apache.kafka.common.config"),
        **_quiet("clients", "org.apache.kafka.clients"),
    }


def _quiet(name: str, logger: str) -> dict[str, str]:
    return {f"logger.{name}.name": logger, f"logger.{name}.level": "warn"}


def render_properties(properties: dict[str, str]) -> str:
    """A Java properties file, in plain ASCII."""
    return "".join(f"{_escape(key)}={_escape(value)}\n" for key, value in properties.items())


def _escape(text: str) -> str:
    # java.util.Properties: a backslash escapes, leading blanks are dropped, other alphabets are \\uXXXX in UTF-16.
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    escaped = "\\" + escaped if escaped.startswith((" ", "\t")) else escaped
    units = escaped.encode("utf-16-be")
    codes = (int.from_bytes(units[i : i + 2], "big") for i in range(0, len(units), 2))
    return "".join(chr(code) if code < 127 else f"\\u{code:04x}" for code in codes)
