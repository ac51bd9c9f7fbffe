"""The SDK straight to a real broker: everything arrives, also what was recorded when a gateway was the way."""

import json
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from licmeter.producers import SyncUsageClient
from licmeter.runtime.kafka import EmbeddedKafka
from licmeter.schemas.topics import USAGE_EVENTS
from tests.integration.kafka_fixture import require_topics
from tests.integration.test_sending import consume
from tests.unit.producers.client.reporting_server import KEY

pytestmark = pytest.mark.integration


async def test_reports_go_straight_to_kafka(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    servers = kafka.bootstrap_servers
    await require_topics(kafka, [USAGE_EVENTS], partitions=4)
    nowhere = "http://127.0.0.1:9"
    with SyncUsageClient(nowhere, license_key=KEY, spool=tmp_path, exit_timeout_s=0.1) as client:
        client.record("before", 2)
    with SyncUsageClient(kafka=servers, project_id="sdk1-main", spool=tmp_path) as client:
        client.record("after", 3)
        assert client.flush(30)
        uuid = client.client_uuid
    places = [TopicPartition(USAGE_EVENTS.name, number) for number in range(4)]
    found = await consume(servers, places)
    events = [json.loads(value) for pairs in found.values() for key, value in pairs if key == b"sdk1" and value]
    mine = [event for event in events if event["source"] == uuid]
    assert {event["subject"] for event in mine} == {"sdk1-main"}
    counts = {feature: units for event in mine for feature, units in event["data"]["counts"].items()}
    assert counts == {"before": 2, "after": 3}
