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

__all__ = ["MIGRATIONS_DIR", "MigrationError", "MigrationReport", "migrate"]

MIGRATIONS_DIR: Final = Path(__file__).parent / "migrations"
_CONNECT_TIMEOUT_S: Final = 10.0
_STATEMENT_TIMEOUT_S: Final = 300.0  # some ALTERs rewrite a table


class MigrationError(Exception):
    """The database cannot be brought to the current schema."""


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """Names of the migrations that this call applied, of those that stood before it, and of those left to do."""

    applied: tuple[str, ...]
    present: tuple[str, ...]
    pending: tuple[str, ...]


def migrate(target: ClickHouseTarget, *, dry_run: bool = False, directory: Path = MIGRATIONS_DIR) -> MigrationReport:
    """Create the database if it is missing and apply what is pending; with `dry_run` only tell.

    Raises `MigrationError` when ClickHouse refuses, and when an applied migration has changed or is not known here.
    """
    cluster = ClickhouseCluster(
        db_host=target.host,
        db_port=str(target.port),
        db_user=target.username,
        db_password=target.password,
        secure=target.secure,
        driver=CLICKHOUSE_CONNECT,
        connect_timeout=_CONNECT_TIMEOUT_S,
        query_timeout=_STATEMENT_TIMEOUT_S,
    )
    with _translated(target):
        present, pending = _status(cluster, target.database, directory)
        if dry_run or not pending:
            return MigrationReport(applied=(), present=present, pending=pending)
        cluster.migrate(target.database, directory, create_db_if_no_exists=True)
        after, left = _status(cluster, target.database, directory)
    return MigrationReport(applied=tuple(name for name in after if name not in present), present=present, pending=left)


def _status(cluster: ClickhouseCluster, database: str, directory: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the applied and the pending migrations; raises `MigrationError` for any other state."""
    names = {int(path.name.split("_")[0]): path.stem for path in directory.glob("*.sql")}
    found: dict[str, list[str]] = {STATUS_APPLIED: [], STATUS_PENDING: []}
    for row in cluster.status(database, directory):
        if row.state not in found:
            name = names.get(row.version, f"number {row.version}")
            raise MigrationError(f"migration {name} of database {database}: {row.state}")
        found[row.state].append(names[row.version])
    return tuple(found[STATUS_APPLIED]), tuple(found[STATUS_PENDING])


@contextmanager
def _translated(target: ClickHouseTarget) -> Iterator[None]:
    try:
        yield
    except (MigrationException, Error) as error:
        raise MigrationError(f"database {target.database} at {target.url}: {error}") from error
