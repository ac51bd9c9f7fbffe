import subprocess
from pathlib import Path

import pytest

from licmeter.runtime.errors import ServiceError
from licmeter.runtime.kafka.claim import RunningBroker, claim, running_broker

BROKER = RunningBroker(owner_pid=1, pid=2, bootstrap_servers="127.0.0.1:9092")


def test_a_folder_has_one_owner_at_a_time(tmp_path: Path) -> None:
    with claim(tmp_path), pytest.raises(ServiceError, match="in use by another broker") as caught, claim(tmp_path):
        pass
    assert "LICMETER_DATA_DIR" in caught.value.hint
    with claim(tmp_path):
        pass


def test_the_claim_lasts_as_long_as_who_inherited_it(tmp_path: Path) -> None:
    with claim(tmp_path) as owned:
        heir = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[owned.descriptor])
        owned.announce(RunningBroker(owner_pid=heir.pid, pid=heir.pid, bootstrap_servers="127.0.0.1:9092"))
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1:9092"), claim(tmp_path):
        pass
    heir.communicate()
    with claim(tmp_path):
        pass


def test_others_find_the_broker_while_it_is_claimed(tmp_path: Path) -> None:
    assert running_broker(tmp_path / "nowhere") is None
    with claim(tmp_path) as owned:
        assert running_broker(tmp_path) is None  # it is only starting
        owned.announce(BROKER)
        assert running_broker(tmp_path) == BROKER
    assert running_broker(tmp_path) is None


def test_a_folder_that_cannot_be_made_names_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ServiceError, match="cannot write") as caught, claim(tmp_path / "file" / "kafka"):
        pass
    assert "LICMETER_DATA_DIR" in caught.value.hint
