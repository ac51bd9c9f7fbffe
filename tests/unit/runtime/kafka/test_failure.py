from pathlib import Path

import pytest

from licmeter.runtime.errors import ServiceError
from licmeter.runtime.kafka.failure import broker_failure
from licmeter.runtime.kafka.storage import DataDir, new_cluster_id, prepare, require_room

LOG = """\
2026-01-01T00:00:00.000Z INFO KafkaServer starting
2026-01-01T00:00:01.000Z ERROR KafkaServer Fatal error during startup
java.net.BindException: Address already in use
\tat java.base/sun.nio.ch.Net.bind0(Native Method)
2026-01-01T00:00:02.000Z INFO KafkaServer shutting down
"""


def test_the_errors_of_this_run_are_quoted(tmp_path: Path) -> None:
    log = tmp_path / "kafka.log"
    log.write_text("ERROR of an earlier run\n" + LOG)
    error = broker_failure("it died", log, tmp_path / "console.log", log_offset=24)
    assert "Fatal error during startup" in error.message
    assert "Address already in use" in error.message
    assert "earlier run" not in error.message
    assert "\tat " not in error.message
    assert "shutting down" not in error.message
    assert str(log) in error.message
    assert "LICMETER_KAFKA__PORT" in error.hint


def test_a_jvm_that_did_not_come_up_is_quoted_from_its_console(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    console.write_text("Error occurred during initialization of VM\nCould not reserve enough space for object heap\n")
    error = broker_failure("it died", tmp_path / "kafka.log", console, log_offset=0)
    assert "initialization of VM" in error.message
    assert "LICMETER_KAFKA__HEAP_MB" in error.hint


def test_a_rolled_log_is_read_from_its_start(tmp_path: Path) -> None:
    (tmp_path / "kafka.log").write_text(LOG)
    error = broker_failure("it died", tmp_path / "kafka.log", tmp_path / "console.log", log_offset=10_000_000)
    assert "Fatal error" in error.message


def test_silence_is_said(tmp_path: Path) -> None:
    assert "wrote nothing" in broker_failure("it died", tmp_path / "a", tmp_path / "b", log_offset=0).message


def test_a_full_disk_is_said_before_the_broker_meets_it(tmp_path: Path) -> None:
    require_room(tmp_path, free_bytes=1_000_000_000)
    with pytest.raises(ServiceError, match="is full: 10 MB are free") as caught:
        require_room(tmp_path, free_bytes=10_000_000)
    assert "LICMETER_DATA_DIR" in caught.value.hint


def test_a_comma_in_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="comma"):
        prepare(DataDir(tmp_path / "a,b"))


def test_a_folder_that_cannot_be_written_names_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ServiceError, match="cannot write") as caught:
        prepare(DataDir(tmp_path / "file"))
    assert "LICMETER_DATA_DIR" in caught.value.hint


def test_cluster_ids_are_as_kafka_wants_them() -> None:
    for cluster_id in [new_cluster_id() for _ in range(200)]:
        assert len(cluster_id) == 22
        assert not cluster_id.startswith("-")
