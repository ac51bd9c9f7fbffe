"""Runs the variants on chDB, in a process of its own: a cluster of two shards that are databases of one engine.

chDB has no Keeper that lasts and no DDL over a cluster, so ON CLUSTER is left out; whatever else of a statement runs.
"""

import datetime as dt
import json
import sys
from pathlib import Path
from typing import Any

import clickhouse_connect
from clickhouse_migrations.migrator import Migrator

from licmeter.sinks.migrate import MIGRATIONS_DIR
from licmeter.sinks.variants import Variant, render

SHARDS = ("shard_1", "shard_2")
SHARD = (
    "<shard><replica><host>{host}</host><port>9000</port><default_database>{name}</default_database></replica></shard>"
)
CONFIG = """
<clickhouse>
  <tcp_port>9000</tcp_port><!-- opens nothing: tells that the shards are this process -->
  <default_replica_path>/clickhouse/tables/{{database}}/{{table}}</default_replica_path>
  <remote_servers><eu>{shards}</eu></remote_servers>
  <macros><shard>1</shard><replica>r1</replica></macros>
  <zookeeper><implementation>testkeeper</implementation></zookeeper>
</clickhouse>
"""


def main(folder: Path) -> None:
    hosts = ("localhost", "127.0.0.1")
    shards = "".join(SHARD.format(host=host, name=name) for host, name in zip(hosts, SHARDS, strict=True))
    (folder / "config.xml").write_text(CONFIG.format(shards=shards))
    client = clickhouse_connect.get_client(
        interface="chdb", path=str(folder / "engine"), chdb_options={"config-file": str(folder / "config.xml")}
    )
    report = {"replicated": replicated(client), "shards": sharded(client)}
    (folder / "report.json").write_text(json.dumps(report))


def scripts(variant: Variant, database: str) -> list[str]:
    text = "".join(render(file.read_text(), variant, database) for file in sorted(MIGRATIONS_DIR.glob("*.sql")))
    return [each.replace(" ON CLUSTER 'eu'", "") for each in Migrator.script_to_statements(text, multi_statement=True)]


def replicated(client: Any) -> list[list[str]]:
    """Make the tables of the replicated variant; they cannot be written to here. Return their engines."""
    client.command("CREATE DATABASE replicas")
    client.command("USE replicas")
    for statement in scripts(Variant(replicated=True, cluster="eu"), "replicas"):
        if (
            not statement.startswith(("ALTER", "INSERT"))
            and "INSERT INTO" not in statement
            and "ALTER" not in statement
        ):
            client.command(statement)
    sql = "SELECT name, engine, engine_full FROM system.tables WHERE database = 'replicas' ORDER BY name"
    return [list(row) for row in client.query(sql).result_rows]


def sharded(client: Any) -> dict[str, Any]:
    """Make the tables of two shards, write through the Distributed ones, and read."""
    for name in SHARDS:
        client.command(f"CREATE DATABASE {name}")
        client.command(f"USE {name}")
        for statement in scripts(Variant(cluster="eu", distributed=True), name):
            # Each shard is a database here, where it is a server: its tables are those of its default database.
            client.command(statement.replace(f"Distributed('eu', '{name}',", "Distributed('eu', '',"))
    client.command("SET distributed_foreground_insert = 1, final = 1")
    for _ in range(2):  # what comes twice replaces itself
        write(client)
    return read(client)


def write(client: Any) -> None:
    client.command(
        "INSERT INTO usage_attributed (organization_id, project_id, item_id, client_uuid, slot, outcome, quantity, "
        "received_at, source_offset) SELECT concat('o', toString(number % 20)), 'p', 'i', toString(number % 7), "
        "toDateTime('2031-03-08 10:00:00', 'UTC') + 180 * (number % 480), 'charged', number % 5, "
        "toDateTime64('2031-03-09 00:00:00', 3, 'UTC'), number FROM numbers(10000)"
    )
    client.command(
        "INSERT INTO license_counters (organization_id, item_id, used, applied_offset, updated_at) "
        "SELECT concat('o', toString(number % 20)), 'i', number, number, "
        "toDateTime64('2031-03-09 00:00:00', 3, 'UTC') + number FROM numbers(100)"
    )
    client.command(
        "INSERT INTO breaches (organization_id, kind, breach_id, slot, at) SELECT concat('o', toString(number % 20)), "
        "'quota_reached', toString(number % 50), toDateTime('2031-03-08 10:00:00', 'UTC') + number, "
        "toDateTime64('2031-03-08 10:00:00', 3, 'UTC') + number FROM numbers(100)"
    )


def read(client: Any) -> dict[str, Any]:
    def one(sql: str) -> list[Any]:
        return [
            value.isoformat() if isinstance(value, dt.date) else value for value in client.query(sql).result_rows[0]
        ]

    local = "SELECT count(), uniqExact(organization_id) FROM {}.usage_attributed_local"
    return {
        "reports": one("SELECT count(), sum(quantity), uniqExact(organization_id) FROM usage_attributed"),
        "locals": [one(local.format(name)) for name in SHARDS],
        "counters": one("SELECT count(), min(used), sum(attributed) FROM license_counters"),
        "history": one("SELECT count() FROM counter_history"),
        "spans": one("SELECT count(), uniqExact(organization_id) FROM client_spans"),
        "breaches": one("SELECT count(), countIf(identity_day = '1970-01-01') FROM breaches"),
        "tier": one("SELECT uniqExact(tier), max(exceptions) FROM usage_attributed"),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
