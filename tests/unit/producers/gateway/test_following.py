from types import SimpleNamespace
from typing import Any

import pytest

from licmeter.producers.gateway.directory import Directory
from licmeter.producers.gateway.following import Follower
from licmeter.schemas.topics import LICENSE_CATALOG, LICENSE_COUNTERS, LICENSE_VERDICTS
from tests.support.build import item, organization


def record(key: bytes | None, value: bytes | None) -> Any:
    return SimpleNamespace(key=key, value=value, offset=7)


@pytest.mark.parametrize("topic", [LICENSE_CATALOG.name, LICENSE_COUNTERS.name, LICENSE_VERDICTS.name])
@pytest.mark.parametrize("value", [b"", b"{", b"{}", b"[]", b"\xff", None])
def test_a_record_that_cannot_be_read_stops_no_other(topic: str, value: bytes | None) -> None:
    verdicts: list[Any] = []
    follower = Follower("nowhere:9092", directory := Directory(), verdicts.append)
    follower._take(topic, record(None if value is None else b"300417", value))
    document = organization(item())
    follower._take(LICENSE_CATALOG.name, record(b"300417", document.model_dump_json().encode()))
    assert list(directory.tenants) == ["300417"]
    assert verdicts == []


def test_a_tombstone_removes_an_organization() -> None:
    follower = Follower("nowhere:9092", directory := Directory(), print)
    document = organization(item())
    follower._take(LICENSE_CATALOG.name, record(b"300417", document.model_dump_json().encode()))
    follower._take(LICENSE_CATALOG.name, record(b"300417", None))
    assert not directory.tenants
    assert not follower.alive  # nothing is followed that was not started
