"""A simulated fleet on the real parts, by Kafka and through the gateway: the books agree with what was counted."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from licmeter.producers.simulation.world import example_scenario
from licmeter.runtime.cli import simulating
from licmeter.runtime.errors import ServiceError, UsageError
from licmeter.runtime.offline import OfflineMeter
from licmeter.runtime.stack import GATEWAY_SERVICES, Stack
from licmeter.schemas.outcomes import ItemState
from tests.integration.stage import Stage, make_settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

RECORDS = 20_000
KEY = f"lmk_{'a' * 16}_{'b' * 43}"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stack(make_settings(tmp_path_factory.mktemp("simulate")), GATEWAY_SERVICES) as stack:
        stack.start(lambda _: None)
        yield Stage(stack)


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    file = tmp_path / "fleet.yaml"
    file.write_text(example_scenario())
    return file


def change(scenario: Path, **fields: Any) -> None:
    """Make the example shorter; its quotas change half a day before its end, and would before it began."""
    document = yaml.safe_load(scenario.read_text()) | fields
    for organization in document["organizations"]:
        organization.pop("changes", None)
    scenario.write_text(yaml.safe_dump(document))


def simulate(stage: Stage | None, *arguments: object, code: int = 0) -> dict[str, Any]:
    app = typer.Typer()
    simulating.register(app)
    servers = None if stage is None else stage.stack.settings.bootstrap_servers
    environment = {"LICMETER_KAFKA__BOOTSTRAP_SERVERS": servers}
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"], env=environment)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_all_charge_ways_by_kafka(stage: Stage, scenario: Path) -> None:
    told = simulate(stage, scenario, "--limit", RECORDS, "--check")
    assert told["differences"] == []
    assert RECORDS / 2 < told["sent"] <= RECORDS  # three days that end on a Monday have fewer, whatever the limit
    assert told["kinds_left_out"] == []
    states = {item["state"] for item in told["ledger"]["items"]}
    assert states >= {ItemState.BLOCKED, ItemState.OVERUSING, ItemState.GRACE, ItemState.EXPIRED, ItemState.REVOKED}
    assert {item["consumed"] > 0 for item in told["ledger"]["items"]} == {True, False}


def test_requests_for_leave_and_their_seats(stage: Stage, scenario: Path) -> None:
    change(scenario, duration_hours=10, seed=3)
    told = simulate(stage, scenario, "--check")
    assert told["differences"] == []
    assert sum(row["granted"] for row in told["ledger"]["organizations"]) > 100


def test_through_the_gateway(stage: Stage, scenario: Path) -> None:
    change(scenario, duration_hours=10, seed=4)
    url = stage.stack.settings.gateway_url
    told = simulate(stage, scenario, "--to", url, "--check", "--limit", 3_000)
    assert told["differences"] == []
    load, books = told["gateway"], told["ledger"]
    assert load["events"] == told["sent"]
    assert load["statuses"].keys() <= {"200", "202", "422", "403"}
    assert (load["granted"], load["refused"]) == tuple(
        sum(row[name] for row in books["organizations"]) for name in ("granted", "refused")
    )
    assert load["granted"] > 0
    assert 0 < load["p50_ms"] <= load["p99_ms"] <= load["longest_ms"]
    assert "tombstone" in told["kinds_left_out"]


def test_at_a_speed(stage: Stage, scenario: Path) -> None:
    change(scenario, duration_hours=2)
    told = simulate(stage, scenario, "--speed", 3_600, "--check")
    assert told["differences"] == []
    assert told["seconds"] >= 1.8  # two hours, 3,600 times as fast


def test_a_difference_is_found(stage: Stage, scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that do not arrive are missed: the books know of them."""
    from licmeter.runtime import simulation

    sending = simulation.send_events

    async def losing(servers: str, records: Any, *rest: Any) -> Any:
        return await sending(servers, (r for n, r in enumerate(records) if n != 100), *rest)

    monkeypatch.setattr(simulation, "send_events", losing)
    told = simulate(stage, scenario, "--limit", 300, "--check", "--wait", 3, code=1)
    assert told["differences"]


def test_a_gateway_that_is_not_there_is_said(stage: Stage, scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from licmeter.runtime import simulation

    monkeypatch.setattr(simulation, "GATEWAY_WAIT_S", 1.0)
    with pytest.raises(ServiceError, match="does not know organization"):
        simulate(stage, scenario, "--to", "http://127.0.0.1:9", "--limit", 10)


def test_a_file_is_counted_offline_as_it_was_booked(scenario: Path, tmp_path: Path) -> None:
    lines, books = tmp_path / "events.jsonl", tmp_path / "books.json"
    change(scenario, duration_hours=14)
    told = simulate(None, scenario, "--out", lines, "--ledger", books, "--now", "2031-03-08T10:00:00Z")
    assert json.loads(books.read_text()) == told["ledger"]
    meter = OfflineMeter()
    for number, line in enumerate(lines.read_bytes().splitlines(), 1):
        meter.count(number, line)
    assert meter.notes == []
    results = meter.results()
    assert results["items"] == told["ledger"]["items"]
    rows = told["ledger"]["organizations"]
    for name in ("charged", "uncharged", "duplicate", "rejected", "granted", "refused"):
        assert results["totals"][name] == sum(row[name] for row in rows)


def test_a_dry_run_sends_nothing(scenario: Path) -> None:
    told = simulate(None, scenario, "--dry-run", "--seed", 5)
    assert told["seed"] == 5
    assert told["devices"] == {"port": 127, "retail": 57, "library": 25}
    assert told["ledger"]["kinds"]["late"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no scenario given"),
        (["gone.yaml"], "No such file"),
        (["FILE", "--to", "ftp://x"], "--to ftp://x"),
        (["FILE", "--dry-run", "--check"], "are for runs that send something"),
        (["FILE", "--now", "2031-01-01T00:00:00Z"], "must end now"),
        (["FILE", "--dry-run", "--now", "2031-01-01T00:00:00"], "no instant with a zone"),
        (["FILE", "--speed", "1", "--as-fast-as-possible"], "contradict"),
        (["FILE", "--speed", "1"], "at most 8 h"),
        (["FILE", "--to", "http://x", "--license-key", "abc"], "not the form of a license key"),
        (["FILE", "--to", "http://x", "--license-key", KEY], "write ORGANIZATION=KEY"),
        (["FILE", "--to", "http://x", "--license-key", f"port={KEY}"], "no key for retail, library"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], said: str, scenario: Path) -> None:
    with pytest.raises(UsageError, match=said):
        simulate(None, *[str(scenario) if each == "FILE" else each for each in arguments])


def test_mistakes_in_a_scenario_are_said(scenario: Path) -> None:
    change(scenario, duration_hours=-1, colour="green")
    with pytest.raises(UsageError, match="cannot be run") as caught:
        simulate(None, scenario)
    assert "duration_hours: " in str(caught.value)
    assert "colour: " in str(caught.value)


def test_the_example_is_printed() -> None:
    app = typer.Typer()
    simulating.register(app)
    assert CliRunner().invoke(app, ["--example"]).stdout == example_scenario()
