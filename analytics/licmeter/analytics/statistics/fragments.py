"""How facts become rollups: the SELECTs that both the rollup job and fresh answers are made of.

Each takes a condition on the facts and gives rows with the columns of its rollup table, `version` aside. So an answer
that is read from the facts and one that is read from a rollup cannot differ in what they compute. The caller reads
with `final = 1`.
"""

from typing import Final, NamedTuple

__all__ = [
    "ACCEPTED",
    "LEVELS",
    "SCOPES",
    "Grouping",
    "authorization_days",
    "client_days",
    "concurrency_days",
    "device_days",
    "in_use_by_slot",
    "usage_days",
]

#: Rows of reports that count (domain, section 5).
ACCEPTED: Final = "outcome != 'duplicate'"


class Grouping(NamedTuple):
    """Which of project and item rows are grouped by."""

    project: bool
    item: bool

    @property
    def columns(self) -> str:
        """Return the columns, each followed by a comma; one that is not grouped by is empty."""
        return ("project_id, " if self.project else "'' AS project_id, ") + (
            "item_id, " if self.item else "'' AS item_id, "
        )


#: Levels of usage_day: whether rows are grouped by item, and by feature.
LEVELS: Final = {
    "project": (False, False),
    "item": (True, False),
    "feature": (False, True),
    "line": (True, True),
}
#: Scopes of device_day and concurrency_day.
SCOPES: Final = {
    "organization": Grouping(project=False, item=False),
    "project": Grouping(project=True, item=False),
    "item": Grouping(project=False, item=True),
    "project_item": Grouping(project=True, item=True),
}
#: The items of which a device may hold several seats in a slot (I4).
_INSTANCE_ITEMS: Final = (
    "SELECT organization_id, item_id FROM license_counters WHERE charge_way = 'per_concurrent_instance'"
)


def usage_days(level: str, where: str) -> str:
    """Return units and reports by day. The first line of a report is line 0, so those count reports; reports with a
    line on an item or a feature may have several there, and are told apart by their place in the log."""
    by_item, by_feature = LEVELS[level]
    item = "item_id" if by_item else "'' AS item_id"
    feature = "feature" if by_feature else "'' AS feature"
    reports = "uniqExact(source_partition, source_offset)" if by_item or by_feature else "countIf(line = 0)"
    return f"""
        SELECT organization_id, '{level}' AS level, toDate(slot) AS day, toDate(received_at) AS received_day,
               project_id, {item}, {feature}, late, sum(quantity) AS quantity, sum(in_quota) AS in_quota,
               sum(in_grace) AS in_grace, sum(over) AS over, sum(exceptions) AS exceptions, {reports} AS reports
        FROM (
            SELECT organization_id, slot, received_at, project_id, item_id, feature, late, quantity, in_quota,
                   in_grace, over, exceptions, source_partition, source_offset, line
            FROM usage_attributed WHERE {ACCEPTED} AND {where}
        )
        GROUP BY ALL
    """


def client_days(where_slot: str, where_at: str) -> str:
    """Return which clients used what by day, by units or by a granted authorization."""
    return f"""
        SELECT organization_id, day, received_day, project_id, item_id, client_uuid, sum(units) AS quantity
        FROM (
            SELECT organization_id, toDate(slot) AS day, toDate(received_at) AS received_day, project_id, item_id,
                   client_uuid, quantity AS units
            FROM usage_attributed WHERE quantity > 0 AND {ACCEPTED} AND {where_slot}
            UNION ALL
            SELECT organization_id, toDate(at) AS day, toDate(at) AS received_day, project_id, item_id,
                   client_uuid, toUInt64(0) AS units
            FROM authorizations WHERE outcome = 'granted' AND {where_at}
        )
        GROUP BY ALL
    """


def device_days(scope: str, clients: str) -> str:
    """Return the number of devices by day, of rows like those of client_day."""
    return f"""
        SELECT organization_id, '{scope}' AS scope, day, {SCOPES[scope].columns} uniqExact(client_uuid) AS devices
        FROM ({clients}) AS clients
        GROUP BY ALL
    """


def in_use_by_slot(scope: str, where: str, arrived: str = "toDateTime(0, 'UTC')") -> str:
    """Return a(s), what was in use at once, for each slot with use (N2, I4), and for each value of `arrived`.

    Of an item of concurrent instances a client holds the most that it declared in the slot, of any other item one.
    Of a project or an organization, it holds the most that it declared there.
    """
    grouping = SCOPES[scope]
    weight, chosen = "max(instances)", where
    if grouping.item:
        weight = f"if((organization_id, item_id) IN ({_INSTANCE_ITEMS}), max(instances), 1)"
        chosen = f"item_id != '' AND {where}"
    return f"""
        SELECT organization_id, slot, arrived, project_id, item_id, sum(held) AS in_use
        FROM (
            SELECT organization_id, slot, arrived, {grouping.columns} client_uuid, {weight} AS held
            FROM (
                SELECT organization_id, slot, {arrived} AS arrived, project_id, item_id, client_uuid, instances
                FROM usage_attributed WHERE quantity > 0 AND {ACCEPTED} AND {chosen}
            )
            GROUP BY ALL
        )
        GROUP BY ALL
    """


def concurrency_days(scope: str, where: str) -> str:
    """Return the peak of each day, and in how many slots how much was in use."""
    return f"""
        SELECT organization_id, '{scope}' AS scope, toDate(slot) AS day, project_id, item_id,
               max(in_use) AS peak, sumMap(map(toUInt64(in_use), toUInt64(1))) AS slots
        FROM ({in_use_by_slot(scope, where)})
        GROUP BY ALL
    """


def authorization_days(where: str) -> str:
    """Return requests by answer and day; repeats are none."""
    return f"""
        SELECT organization_id, toDate(at) AS day, project_id, item_id, outcome, code, count() AS requests
        FROM authorizations WHERE outcome != 'duplicate' AND {where}
        GROUP BY ALL
    """
