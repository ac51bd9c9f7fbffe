"""`SyncUsageClient`: the same conversation, from threads without an event loop."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from licmeter.producers import AuthorizationUnavailable, SyncUsageClient
from tests.unit.producers.client.reporting_server import KEY, Answer, ReportingServer


@pytest.fixture
def server() -> Iterator[ReportingServer]:
    with ReportingServer() as running:
        yield running


def test_threads_share_a_client(server: ReportingServer, tmp_path: Path) -> None:
    with SyncUsageClient(server.url, license_key=KEY, spool=tmp_path) as client:

        def work() -> None:
            for _ in range(500):
                client.record("qr")
            client.flush(30)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.flush(30)
        assert server.units == {"qr": 2_000}
        assert client.items["41"].state == "grace"
    assert threading.active_count() >= 1
    assert not [thread for thread in threading.enumerate() if thread.name == "licmeter" and thread.is_alive()]


def test_closing_sends_the_rest_and_further_calls_say_that_it_is_closed(
    server: ReportingServer, tmp_path: Path
) -> None:
    client = SyncUsageClient(server.url, license_key=KEY, spool=tmp_path)
    client.record("qr")
    client.close()
    client.close()
    assert server.units == {"qr": 1}
    with pytest.raises(RuntimeError, match="closed"):
        client.flush()


def test_leave_is_asked_for_from_a_thread(server: ReportingServer, tmp_path: Path) -> None:
    server.answer = lambda _: Answer(200, {"granted": False, "code": {"number": 104, "slug": "no_matching_item"}})
    with SyncUsageClient(server.url, license_key=KEY, spool=tmp_path) as client:
        assert client.authorize().code_slug == "no_matching_item"
        server.answer = lambda _: Answer(404)
        with pytest.raises(AuthorizationUnavailable):
            client.authorize(timeout_s=30)
