"""Replicated and distributed tables: the real engine parses every statement, and a database keeps its variant."""

import pytest
from clickhouse_migrations.migrator import Migrator

from licmeter.sinks.migrate import MIGRATIONS_DIR, MigrationError, check, migrate
from licmeter.sinks.variants import Variant, render
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


def test_a_database_stays_with_its_variant(clickhouse: Engine, database: str) -> None:
    target = clickhouse.target(database)
    other = Variant(replicated=True)
    found = check(target, variant=other)
    assert not found.is_current
    assert any(each.startswith("migration 001_usage_attributed: md5") for each in found.differing)
    with pytest.raises(MigrationError, match="001_usage_attributed: md5"):
        migrate(target, variant=other)
    assert check(target).is_current
