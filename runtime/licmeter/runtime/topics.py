"""Creates the topics and says where existing ones differ; changes nothing that is there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from licmeter.runtime.errors import ServiceError
from licmeter.schemas.topics import TopicSpec

__all__ = ["TopicReport", "apply_topics"]

REQUEST_TIMEOUT_MS = 20_000

TopicAction = Literal["created", "missing", "as specified", "differs"]


@dataclass(frozen=True, slots=True)
class TopicReport:
    """What was found of one topic. `differences` are sentences with both values."""

    name: str
    action: TopicAction
    partitions: int
    differences: tuple[str, ...] = ()


async def apply_topics(
    bootstrap_servers: str,
    specs: Iterable[TopicSpec],
    *,
    partitions: int,
    replication_factor: int,
    dry_run: bool = False,
) -> list[TopicReport]:
    """Create the topics that are missing; compare the others with what they should be.

    Idempotent. Raises `ServiceError` when the cluster cannot be reached or refuses.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        return await _apply(admin, specs, partitions, replication_factor, dry_run)
    except (KafkaError, OSError) as error:
        raise ServiceError(
            f"Kafka at {bootstrap_servers} could not be asked about topics: {error}",
            service="kafka",
            hint="is it running? `licmeter kafka` starts the embedded one",
        ) from error
    finally:
        await admin.close()


async def _apply(
    admin: AIOKafkaAdminClient, specs: Iterable[TopicSpec], partitions: int, replication_factor: int, dry_run: bool
) -> list[TopicReport]:
    existing = await _existing(admin)
    reports = []
    for spec in specs:
        if spec.name in existing:
            reports.append(await _compare(admin, spec, existing[spec.name], partitions))
            continue
        if not dry_run:
            await _create(admin, spec, partitions, replication_factor)
        reports.append(TopicReport(spec.name, "missing" if dry_run else "created", partitions))
    return reports


async def _existing(admin: AIOKafkaAdminClient) -> dict[str, int]:
    names = await admin.list_topics()
    described = await admin.describe_topics(list(names)) if names else []
    return {topic["topic"]: len(topic["partitions"]) for topic in described}


async def _create(admin: AIOKafkaAdminClient, spec: TopicSpec, partitions: int, replication_factor: int) -> None:
    topic = NewTopic(
        name=spec.name,
        num_partitions=partitions,
        replication_factor=replication_factor,
        topic_configs=dict(spec.config),
    )
    response = await admin.create_topics([topic])
    for name, code, *message in response.topic_errors:
        # 36: somebody else created it in the meantime, with the same specification if it was licmeter.
        if code not in (0, 36):
            raise ServiceError(f"topic {name} could not be created: {message or code}", service="kafka")


async def _compare(admin: AIOKafkaAdminClient, spec: TopicSpec, partitions: int, wanted: int) -> TopicReport:
    actual = await _config(admin, spec.name)
    differences = [
        f"{setting} is {actual.get(setting)}, should be {value}"
        for setting, value in spec.config.items()
        if not _same(actual.get(setting), value)
    ]
    if partitions != wanted:
        differences.insert(0, f"it has {partitions} partitions, should have {wanted}")
    return TopicReport(spec.name, "differs" if differences else "as specified", partitions, tuple(differences))


def _same(actual: str | None, wanted: str) -> bool:
    return actual is not None and set(actual.split(",")) == set(wanted.split(","))


async def _config(admin: AIOKafkaAdminClient, topic: str) -> Mapping[str, str]:
    responses: list[Any] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    entries = [entry for response in responses for resource in response.resources for entry in resource[4]]
    return {entry[0]: entry[1] for entry in entries}
