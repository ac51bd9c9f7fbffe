"""Migrations for replicas and shards: a pure transformation of the files, whose results are frozen."""

import re
from pathlib import Path

import pytest
from clickhouse_migrations.migrator import Migrator

from licmeter.sinks.migrate import MIGRATIONS_DIR
from licmeter.sinks.variants import PLAIN, Variant, render, rendered

FILES = sorted(MIGRATIONS_DIR.glob("*.sql"))
REPLICATED = Variant(replicated=True, cluster="eu")
SHARDED = Variant(replicated=True, cluster="eu", distributed=True)
VARIANTS = [Variant(replicated=True), REPLICATED, SHARDED, Variant(cluster="{cluster}", distributed=True)]
IDS = ["replicated", "replicated-on-cluster", "replicated-shards", "shards"]

SAMPLE = """\
-- One; with a ' and ENGINE = MergeTree.
CREATE TABLE IF NOT EXISTS usage
(
    organization_id String COMMENT 'FROM usage; it''s',
    n               UInt8
)
ENGINE = ReplacingMergeTree(n)
ORDER BY (organization_id, n);

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_view TO totals AS
SELECT u.n AS n FROM usage AS u INNER JOIN others USING (n);

-- More of it.
ALTER TABLE usage
    -- Small; rarely set.
    ADD COLUMN IF NOT EXISTS m Decimal(9, 2) DEFAULT multiIf(n = 1, 2, 3) COMMENT 'a, b' AFTER n,
    ADD INDEX IF NOT EXISTS ix n TYPE minmax GRANULARITY 1,
    COMMENT COLUMN n 'ADD COLUMN';

INSERT INTO usage SELECT * FROM others;
"""
#: A database keeps the digest of what was run: this text is released, and must not change.
SAMPLE_SHARDED = """\
-- One; with a ' and ENGINE = MergeTree.
CREATE TABLE IF NOT EXISTS usage_local ON CLUSTER 'eu'
(
    organization_id String COMMENT 'FROM usage; it''s',
    n               UInt8
)
ENGINE = ReplicatedReplacingMergeTree(n)
ORDER BY (organization_id, n);

CREATE TABLE IF NOT EXISTS usage ON CLUSTER 'eu' AS db.usage_local
ENGINE = Distributed('eu', 'db', 'usage_local', cityHash64(organization_id));

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_view ON CLUSTER 'eu' TO totals_local AS
SELECT u.n AS n FROM usage_local AS u INNER JOIN others_local USING (n);

-- More of it.
ALTER TABLE usage_local ON CLUSTER 'eu'
    -- Small; rarely set.
    ADD COLUMN IF NOT EXISTS m Decimal(9, 2) DEFAULT multiIf(n = 1, 2, 3) COMMENT 'a, b' AFTER n,
    ADD INDEX IF NOT EXISTS ix n TYPE minmax GRANULARITY 1,
    COMMENT COLUMN n 'ADD COLUMN';

ALTER TABLE usage ON CLUSTER 'eu'
    ADD COLUMN IF NOT EXISTS m Decimal(9, 2) DEFAULT multiIf(n = 1, 2, 3) COMMENT 'a, b' AFTER n,
    COMMENT COLUMN n 'ADD COLUMN';

INSERT INTO usage SELECT * FROM others;
"""
SAMPLE_REPLICATED = (
    SAMPLE.replace("ENGINE = Replacing", "ENGINE = ReplicatedReplacing")
    .replace("TABLE IF NOT EXISTS usage", "TABLE IF NOT EXISTS usage ON CLUSTER 'eu'")
    .replace("usage_view", "usage_view ON CLUSTER 'eu'")
    .replace("ALTER TABLE usage", "ALTER TABLE usage ON CLUSTER 'eu'")
)


def statements(script: str) -> list[str]:
    """The statements of a script, without comments and with single blanks."""
    found = Migrator.script_to_statements(script, multi_statement=True)
    return [" ".join(re.sub(r"--[^\n]*", "", statement).split()) for statement in found]


def test_the_plain_files_are_used_as_they_are() -> None:
    with rendered(MIGRATIONS_DIR, PLAIN, "db") as folder:
        assert folder == MIGRATIONS_DIR
    assert render(SAMPLE, PLAIN, "db") == SAMPLE


def test_what_shards_get_of_each_kind_of_statement() -> None:
    assert render(SAMPLE, SHARDED, "db") == SAMPLE_SHARDED


def test_what_replicas_get_of_each_kind_of_statement() -> None:
    assert render(SAMPLE, REPLICATED, "db") == SAMPLE_REPLICATED


@pytest.mark.parametrize("variant", VARIANTS, ids=IDS)
@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_a_migration_changes_in_nothing_but_engine_cluster_and_names(file: Path, variant: Variant) -> None:
    plain = statements(file.read_text())
    found = statements(render(file.read_text(), variant, "db"))
    over_all = [each for each in found if "ENGINE = Distributed(" in each]
    kept = [each for each in found if each not in over_all]
    if variant.distributed:
        names = [each.split()[5] for each in plain if each.startswith("CREATE TABLE")]
        assert [each.split()[5] for each in over_all] == names
        for each, name in zip(over_all, names, strict=True):
            key = "name" if name == "rollup_cuts" else "organization_id"
            place = f"'{variant.cluster}', 'db', '{name}_local', cityHash64({key})"
            assert each.endswith(f"ON CLUSTER '{variant.cluster}' AS db.{name}_local ENGINE = Distributed({place});")
        # An ALTER of columns is there for the Distributed table, too.
        kept = [each for each in kept if not re.match(r"ALTER TABLE \w+(?<!_local) ", each)]
    else:
        assert not over_all
    undone = [
        each.replace(f" ON CLUSTER '{variant.cluster}'", "").replace("_local", "").replace("= Replicated", "= ")
        for each in kept
    ]
    assert undone == [each.replace("_local", "") for each in plain]


@pytest.mark.parametrize("variant", VARIANTS, ids=IDS)
def test_every_table_every_view_and_every_change_is_on_the_cluster(variant: Variant) -> None:
    for file in FILES:
        for each in statements(render(file.read_text(), variant, "db")):
            wanted = variant.cluster is not None and not each.startswith("INSERT")
            assert (f"ON CLUSTER '{variant.cluster}'" in each) == wanted, each
            if "MergeTree" in each:
                engine = re.search(r"ENGINE = (\w+)( ?\([^)]*\))?", each)
                assert engine is not None
                assert engine[1].startswith("Replicated") == variant.replicated
                assert engine[2] is None or "'" not in engine[2], "path and replica are the server's"


def test_views_read_and_write_what_the_shard_has() -> None:
    views = [each for file in FILES for each in statements(render(file.read_text(), SHARDED, "db")) if " VIEW " in each]
    assert len(views) == 3
    for view in views:
        assert re.search(r" TO \w+_local AS SELECT ", view)
        assert all(name.endswith("_local") for name in re.findall(r"\b(?:FROM|JOIN) (\w+)", view))


def test_an_index_is_none_of_a_distributed_table() -> None:
    file = next(file for file in FILES if file.stem == "025_authorizations_ingested")
    (only,) = statements(render(file.read_text(), SHARDED, "db"))
    assert only.startswith("ALTER TABLE authorizations_local ON CLUSTER 'eu' ADD INDEX")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE usage (n UInt8) ENGINE = MergeTree ORDER BY n",  # not IF NOT EXISTS: could not be mended
        "CREATE TABLE IF NOT EXISTS usage (n UInt8) ENGINE = Memory",
        "CREATE TABLE IF NOT EXISTS usage (n UInt8) ENGINE = ReplicatedMergeTree ORDER BY n",
        "CREATE VIEW IF NOT EXISTS v AS SELECT 1",
        "DROP TABLE usage",
        "RENAME TABLE a TO b",
        "DELETE FROM usage WHERE n = 1",
    ],
)
def test_what_has_no_known_variant_is_refused_before_anything_runs(tmp_path: Path, statement: str) -> None:
    (tmp_path / "001_x.sql").write_text(statement + ";")
    with pytest.raises(ValueError, match=r"001_x\.sql"), rendered(tmp_path, SHARDED, "db"):
        pass


@pytest.mark.parametrize(
    "wrong",
    [
        {"distributed": True},
        {"cluster": "eu"},
        {"cluster": "a b", "replicated": True},
        {"cluster": "'", "replicated": True},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, bool | str]) -> None:
    with pytest.raises(ValueError, match="cluster"):
        Variant(**wrong)  # type: ignore[arg-type]


def test_a_cluster_shares_one_history_and_a_plain_server_has_the_tools_own() -> None:
    assert PLAIN.versions_engine is None
    assert Variant(replicated=True).versions_engine == "ReplicatedMergeTree"
    assert "{shard}-{replica}" in (SHARDED.versions_engine or "")
