import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from licmeter.schemas.alerts import Breach, Condition, UsageAlert
from licmeter.schemas.attribution import COLUMNS
from licmeter.schemas.authorization_rows import AUTHORIZATION_SCHEMA
from licmeter.schemas.counters import ItemCounters, OrganizationCounters
from licmeter.sinks.migrate import MIGRATIONS_DIR, MigrationError, migrate
from licmeter.sinks.rejected import REJECTED_SCHEMA
from licmeter.sinks.target import ClickHouseTarget
from tests.integration.clickhouse_fixture import Engine

pytestmark = pytest.mark.integration

NAMES = tuple(path.stem for path in sorted(MIGRATIONS_DIR.glob("*.sql")))
#: What the first version had.
FIRST = NAMES[:4]


@pytest.fixture
def target(clickhouse: Engine) -> Iterator[ClickHouseTarget]:
    target = clickhouse.target(f"test_{uuid.uuid4().hex}")
    yield target
    clickhouse.drop(target.database)


def test_a_dry_run_tells_and_does_nothing(target: ClickHouseTarget) -> None:
    for _ in range(2):
        report = migrate(target, dry_run=True)
        assert (report.applied, report.present, report.pending) == ((), (), NAMES)


def test_the_database_is_created_and_a_second_run_has_nothing_to_do(target: ClickHouseTarget) -> None:
    first, second = migrate(target), migrate(target)
    assert (first.applied, first.present, first.pending) == (NAMES, (), ())
    assert (second.applied, second.present, second.pending) == ((), NAMES, ())


def test_a_new_migration_is_applied_alone(target: ClickHouseTarget, tmp_path: Path) -> None:
    directory = _copy(tmp_path)
    migrate(target, directory=directory)
    (directory / "999_more.sql").write_text("CREATE TABLE IF NOT EXISTS more (x UInt8) ENGINE = MergeTree ORDER BY x;")
    assert migrate(target, dry_run=True, directory=directory).pending == ("999_more",)
    assert migrate(target, directory=directory).applied == ("999_more",)


def test_a_migration_that_failed_half_way_can_be_mended(target: ClickHouseTarget, tmp_path: Path) -> None:
    directory = _copy(tmp_path)
    good = "CREATE TABLE IF NOT EXISTS more (x UInt8) ENGINE = MergeTree ORDER BY x;\n"
    (directory / "999_more.sql").write_text(good + "CREATE TABLE IF NOT EXISTS bad (x NoSuchType) ENGINE = Memory;")
    with pytest.raises(MigrationError, match="NoSuchType"):
        migrate(target, directory=directory)
    (directory / "999_more.sql").write_text(good)
    assert migrate(target, directory=directory).applied == ("999_more",)


def test_a_changed_migration_is_refused(target: ClickHouseTarget, tmp_path: Path) -> None:
    directory = _copy(tmp_path)
    migrate(target, directory=directory)
    file = directory / "002_license_counters.sql"
    file.write_text(file.read_text() + "-- changed\n")
    with pytest.raises(MigrationError, match=r"002_license_counters.*md5"):
        migrate(target, directory=directory)


def test_a_server_that_is_not_there_is_named(target: ClickHouseTarget) -> None:
    with pytest.raises(MigrationError, match=r"http://127\.0\.0\.1:1"):
        migrate(ClickHouseTarget("http://127.0.0.1:1", database="x"))


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("usage_attributed", set(COLUMNS)),
        ("license_counters", set(ItemCounters.model_fields) - {"kind"}),
        ("organization_counters", set(OrganizationCounters.model_fields) - {"kind"}),
        ("usage_rejected", set(REJECTED_SCHEMA.names)),
        ("authorizations", set(AUTHORIZATION_SCHEMA.names)),
        ("breaches", {*Breach.model_fields, "identity_day"}),
        (
            "usage_alerts",
            # Whom it was sent to is not stored.
            {*UsageAlert.model_fields, *(f"conditions.{name}" for name in Condition.model_fields), "condition_count"}
            - {"conditions", "recipients"},
        ),
    ],
)
def test_columns_have_the_names_of_the_contracts(
    clickhouse: Engine, database: str, table: str, columns: set[str]
) -> None:
    client = clickhouse.target(database).connect()
    found = {row[0] for row in client.query(f"DESCRIBE TABLE {table}").result_rows}
    client.close()
    assert found == columns | {"ingested_at"}


def test_rows_of_the_first_version_get_the_values_of_what_came_later(target: ClickHouseTarget, tmp_path: Path) -> None:
    """It counted cumulative items only, whose parts tell the tier."""
    directory = tmp_path / "first"
    directory.mkdir()
    for name in FIRST:
        shutil.copy(MIGRATIONS_DIR / f"{name}.sql", directory)
    migrate(target, directory=directory)
    client = target.connect(final=1)
    client.command(
        "INSERT INTO usage_attributed (line, slot, item_id, in_quota, in_grace, over) VALUES "
        "(0, '2031-03-08 10:00:00', '', 0, 0, 0), (1, '2031-03-08 10:00:00', 'i', 5, 0, 0), "
        "(2, '2031-03-08 10:00:00', 'i', 5, 1, 0), (3, '2031-03-08 10:00:00', 'i', 5, 1, 1)"
    )
    client.command("INSERT INTO license_counters (item_id, used) VALUES ('i', 7)")
    client.command("INSERT INTO organization_counters (organization_id, rejected) VALUES ('acme', 1)")
    assert migrate(target).applied == NAMES[len(FIRST) :]
    assert client.query("SELECT line, tier, exceptions FROM usage_attributed ORDER BY line").result_rows == [
        (0, "", 0),
        (1, "quota", 0),
        (2, "grace", 0),
        (3, "over", 0),
    ]
    sql = "SELECT attributed, active, consumed, budget, budget_year FROM license_counters"
    assert client.query(sql).result_rows == [(7, 0, 0, None, None)]
    assert client.query("SELECT granted, refused FROM organization_counters").result_rows == [(0, 0)]
    client.close()


def _copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MIGRATIONS_DIR, tmp_path / "migrations"))
