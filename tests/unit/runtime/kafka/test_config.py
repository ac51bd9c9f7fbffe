from pathlib import Path

import pytest

from licmeter.runtime.kafka.config import BrokerConfig, render_properties, server_properties

PROPERTIES = server_properties(BrokerConfig(port=9092, controller_port=9093, log_dir=Path("/data/topics")))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"),
        ("advertised.listeners", "PLAINTEXT://127.0.0.1:9092"),
        ("controller.quorum.voters", "1@127.0.0.1:9093"),
        ("log.dirs", "/data/topics"),
        ("auto.create.topics.enable", "false"),
        ("group.initial.rebalance.delay.ms", "0"),
        ("group.min.session.timeout.ms", "6000"),
    ],
)
def test_the_broker_is_told(key: str, value: str) -> None:
    assert PROPERTIES[key] == value


@pytest.mark.parametrize("key", ["message.max.bytes", "replica.fetch.max.bytes"])
def test_the_largest_block_of_rows_fits_a_record(key: str) -> None:
    assert int(PROPERTIES[key]) >= 14 * 1024 * 1024


def test_offsets_outlive_the_longest_topic_that_is_replayed() -> None:
    assert int(PROPERTIES["offsets.retention.minutes"]) > 35 * 24 * 60


def test_every_internal_topic_has_one_replica() -> None:
    assert {value for key, value in PROPERTIES.items() if key.endswith("replication.factor")} == {"1"}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        pytest.param("/plain/path", "key=/plain/path\n", id="plain"),
        pytest.param("C:\\data", "key=C:\\\\data\n", id="backslash"),
        pytest.param(" leading", "key=\\ leading\n", id="leading blank"),
        pytest.param("/dätä", "key=/d\\u00e4t\\u00e4\n", id="umlaut"),
        pytest.param("/\U0001f4c2", "key=/\\ud83d\\udcc2\n", id="two code units"),
        pytest.param("a\nb=c", "key=a\\nb=c\n", id="no second line"),
    ],
)
def test_values_are_written_as_java_reads_them(value: str, written: str) -> None:
    assert render_properties({"key": value}) == written
