"""Replicated and distributed tables: what of them the real engine can parse, and what it can run."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from clickhouse_migrations.migrator import Migrator

from licmeter.sinks.migrate import MIGRATIONS_DIR, MigrationError, check, migrate
from licmeter.sinks.variants import Variant, render
from tests.integration import variants_program
from tests.integration.clickhouse_fixture import Engine

pytest.importorskip("chdb", reason="the extra `embedded` is not installed")
pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    "variant",
    [
        Variant(replicated=True),
        Variant(replicated=True, cluster="{cluster}"),
        Variant(replicated=True, cluster="eu-1", distributed=True),
        Variant(cluster="eu", distributed=True),
    ],
    ids=["replicated", "replicated-on-cluster", "replicated-shards", "shards"],
)
def test_every_statement_of_every_variant_is_sql(clickhouse: Engine, variant: Variant) -> None:
    client = clickhouse.target("default").connect()
    texts = [render(file.read_text(), variant, "db") for file in sorted(MIGRATIONS_DIR.glob("*.sql"))]
    for statement in (each for text in texts for each in Migrator.script_to_statements(text, multi_statement=True)):
        parsed = client.query("SELECT formatQuerySingleLine({sql:String})", parameters={"sql": statement}).first_row[0]
        assert ("ON CLUSTER" in parsed) == (variant.cluster is not None and not parsed.startswith("INSERT"))
    client.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = Path(tmp_path_factory.mktemp("variants"))
    command = [sys.executable, "-m", variants_program.__name__, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    # The engine's test Keeper may abort the process when it ends: what counts was written before.
    assert (folder / "report.json").exists(), done.stderr
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def test_replicated_tables_have_path_and_replica_of_the_server_and_their_own_arguments(report: dict[str, Any]) -> None:
    engines = {name: (engine, full) for name, engine, full in report["replicated"]}
    tables = {name: each for name, each in engines.items() if each[0] != "MaterializedView"}
    assert len(tables) == sum("CREATE TABLE" in file.read_text() for file in MIGRATIONS_DIR.glob("*.sql"))
    for name, (engine, full) in tables.items():
        assert engine in ("ReplicatedReplacingMergeTree", "ReplicatedAggregatingMergeTree")
        assert f"('/clickhouse/tables/replicas/{name}', '{{replica}}'" in full
    assert "'{replica}', applied_offset)" in tables["license_counters"][1]


def test_rows_of_two_shards_are_those_of_one_server(report: dict[str, Any]) -> None:
    shards = report["shards"]
    assert shards["reports"] == [10_000, 20_000, 20]
    assert sum(rows for rows, _ in shards["locals"]) == 10_000
    assert sum(organizations for _, organizations in shards["locals"]) == 20, "an organization lies in one shard"
    assert min(rows for rows, _ in shards["locals"]) > 0
    assert shards["counters"] == [20, 80, sum(range(80, 100))]
    assert shards["history"] == [100]
    assert shards["spans"] == [140, 20]
    assert shards["breaches"] == [100, 100]
    assert shards["tier"] == [1, 0]


def test_a_database_stays_with_its_variant(clickhouse: Engine, database: str) -> None:
    target = clickhouse.target(database)
    other = Variant(replicated=True)
    found = check(target, variant=other)
    assert not found.is_current
    assert any(each.startswith("migration 001_usage_attributed: md5") for each in found.differing)
    with pytest.raises(MigrationError, match="001_usage_attributed: md5"):
        migrate(target, variant=other)
    assert check(target).is_current
