"""Options are checked all at once, and what is taken works later."""

from pathlib import Path
from typing import Any

import pytest

from licmeter.producers.client.http import HttpTransport
from licmeter.producers.client.options import ClientOptions, OptionsError

KEY = f"lmk_{'k' * 16}_{'s' * 43}"
GOOD: dict[str, Any] = {"url": "https://gateway.example.org", "license_key": KEY}

WRONG: list[tuple[str, Any]] = [
    *(
        ("url", value)
        for value in ("", "gateway", "ftp://x", "http://", "http://[::1", "http://a:99999", "http://a\n", 7)
    ),
    *(("license_key", value) for value in (None, "", "lmk_x", 5, b"lmk_")),
    *(("session_password", value) for value in ("", "ä", "a\nb", " x", 5, "x" * 300)),
    *(("project_id", value) for value in ("", "no", 3)),
    *(("organization_id", value) for value in ("", 3)),
    *(("validation", value) for value in ("domain", ("domain",), ("domain", ""), ("a", "b", "c"), 5)),
    *(("product", value) for value in ("", "x" * 129, "\ud800", 5)),
    *(("client_uuid", value) for value in ("", "x" * 129, "\ud800", 5)),
    *(("spool", value) for value in (5, "a\0b", "~nobody-of-this-name/x")),
    *(("instances", value) for value in (0, -1, 1.0, True, 1_000_001, None)),
    *(("submit_interval_s", value) for value in (0, -1, float("nan"), float("inf"), "1", None, True)),
    *(("request_timeout_s", value) for value in (0, float("nan"), None)),
    *(("exit_timeout_s", value) for value in (-1, float("nan"), float("inf"), 10**12, None)),
    *(("spool_days_max", value) for value in (0, float("inf"), 10**20)),
    *(("spool_bytes_max", value) for value in (0, -5, None)),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=lambda value: ascii(value)[:20])
def test_a_mistake_is_named(name: str, value: Any) -> None:
    with pytest.raises(OptionsError) as caught:
        ClientOptions(**GOOD | {name: value})
    assert [mistake.partition(":")[0] for mistake in caught.value.mistakes] == [name]


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(OptionsError) as caught:
        ClientOptions(url="x", instances=0, exit_timeout_s=-1, product="")
    assert len(caught.value.mistakes) == 5
    assert all(mistake in str(caught.value) for mistake in caught.value.mistakes)


@pytest.mark.parametrize("options", [{}, GOOD | {"kafka": "k:1", "project_id": "300417-kiosk"}])
def test_there_is_one_way(options: dict[str, Any]) -> None:
    with pytest.raises(OptionsError, match="url or kafka"):
        ClientOptions(**options)


def test_a_broker_needs_an_owner() -> None:
    with pytest.raises(OptionsError, match="whose reports"):
        ClientOptions(kafka="k:1")
    assert ClientOptions(kafka="k:1", organization_id="300417").attributes == '{"organization_id":"300417"}'


@pytest.mark.parametrize("url", ["http://a", "HTTPS://a:1/x/", "http://[::1]:8", "http://ä.example"])
async def test_an_address_that_is_taken_can_be_used(url: str) -> None:
    await HttpTransport(ClientOptions(**GOOD | {"url": url})).close()


def test_attributes_are_what_reports_say_of_the_program() -> None:
    options = ClientOptions(**GOOD, project_id="300417-kiosk", product="reader", validation=("domain", "a.org"))
    assert options.attributes == (
        '{"product":"reader","project_id":"300417-kiosk","validation":{"kind":"domain","value":"a.org"}}'
    )


def test_a_folder_may_be_named_from_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of-a-test")
    assert ClientOptions(**GOOD, spool="~/usage").folder == Path("/home/of-a-test/usage")
    assert ClientOptions(**GOOD).folder is None
