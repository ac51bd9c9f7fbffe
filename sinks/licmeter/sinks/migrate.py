"""Brings a database to the current schema: numbered SQL files, forward only, run by `clickhouse-migrations` over HTTP.

ClickHouse has no transactions for DDL. A migration that fails half-way leaves its first statements behind and is
not recorded, so each file makes or changes one object, and only what is not made or changed yet.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.exceptions import Error
from clickhouse_migrations.clickhouse_cluster import ClickhouseCluster
from clickhouse_migrations.connection import CLICKHOUSE_CONNECT
from clickhouse_migrations.exceptions import MigrationException
from clickhouse_migrations.migrator import STATUS_APPLIED, STATUS_PENDING

from licmeter.sinks.target import ClickHouseTarget
from licmeter.sinks.variants import PLAIN, Variant, rendered

__all__ = ["MIGRATIONS_DIR", "MigrationError", "MigrationReport", "check", "migrate"]

MIGRATIONS_DIR: Final = Path(__file__).parent / "migrations"
_CONNECT_TIMEOUT_S: Final = 10.0
_STATEMENT_TIMEOUT_S: Final = 300.0  # some ALTERs rewrite a table
#: An INSERT of a migration is in all shards before the migration is recorded.
_SETTINGS: Final[dict[str, object]] = {"distributed_foreground_insert": 1}


class MigrationError(Exception):
    """The database cannot be brought to the current schema."""


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """Names of the migrations that this call applied, of those that stood before it, and of those left to do.

    `differing` (of `check` alone) are those whose text was another one when they were applied, or that are not known
    here: an older licmeter before a newer database, or another variant.
    """

    applied: tuple[str, ...]
    present: tuple[str, ...]
    pending: tuple[str, ...]
    differing: tuple[str, ...] = ()

    @property
    def is_current(self) -> bool:
        """Whether nothing is left to do, or to explain."""
        return not self.pending and not self.differing


def migrate(
    target: ClickHouseTarget, *, dry_run: bool = False, directory: Path = MIGRATIONS_DIR, variant: Variant = PLAIN
) -> MigrationReport:
    """Create the database if it is missing and apply what is pending; with `dry_run` only tell.

    Raises `MigrationError` when ClickHouse refuses, and when an applied migration has changed or is not known here.
    """
    with _opened(target, directory, variant) as (cluster, folder):
        before = _status(cluster, target.database, folder)
        if before.differing:
            raise MigrationError(f"database {target.database}: {'; '.join(before.differing)}")
        if dry_run or not before.pending:
            return before
        cluster.migrate(target.database, folder, cluster_name=variant.cluster, create_db_if_no_exists=True)
        after = _status(cluster, target.database, folder)
    applied = tuple(name for name in after.present if name not in before.present)
    return MigrationReport(applied=applied, present=before.present, pending=after.pending)


def check(target: ClickHouseTarget, *, directory: Path = MIGRATIONS_DIR, variant: Variant = PLAIN) -> MigrationReport:
    """Tell how a database stands to the current schema, and change nothing.

    Raises `MigrationError` when ClickHouse refuses.
    """
    with _opened(target, directory, variant) as (cluster, folder):
        return _status(cluster, target.database, folder)


def _status(cluster: ClickhouseCluster, database: str, directory: Path) -> MigrationReport:
    names = {int(path.name.split("_")[0]): path.stem for path in directory.glob("*.sql")}
    found: dict[str, list[str]] = {STATUS_APPLIED: [], STATUS_PENDING: []}
    differing = []
    for row in cluster.status(database, directory):
        name = names.get(row.version, f"number {row.version}")
        if row.state in found:
            found[row.state].append(name)
        else:
            differing.append(f"migration {name}: {row.state}")
    return MigrationReport((), tuple(found[STATUS_APPLIED]), tuple(found[STATUS_PENDING]), tuple(differing))


@contextmanager
def _opened(target: ClickHouseTarget, directory: Path, variant: Variant) -> Iterator[tuple[ClickhouseCluster, Path]]:
    """Give the tool and the folder of the variant; raises `MigrationError` for whatever goes wrong with them."""
    cluster = ClickhouseCluster(
        db_host=target.host,
        db_port=str(target.port),
        db_user=target.username,
        db_password=target.password,
        secure=target.secure,
        driver=CLICKHOUSE_CONNECT,
        migrations_table_engine=variant.versions_engine,
        connect_timeout=_CONNECT_TIMEOUT_S,
        query_timeout=_STATEMENT_TIMEOUT_S,
        settings=_SETTINGS,
    )
    with _translated(target), rendered(directory, variant, target.database) as folder:
        yield cluster, folder


@contextmanager
def _translated(target: ClickHouseTarget) -> Iterator[None]:
    try:
        yield
    except (MigrationException, Error, ValueError) as error:
        raise MigrationError(f"database {target.database} at {target.url}: {error}") from error
