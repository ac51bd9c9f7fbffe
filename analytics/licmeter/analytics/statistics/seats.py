"""Live seats at the ends of buckets, from lives of seats (domain, V3, V4)."""

from typing import Any, Final

from licmeter.analytics.statistics.sources import Source
from licmeter.analytics.statistics.words import BUCKET_SECONDS, Bucket, Split, StatisticsError

__all__ = ["active_devices", "lives"]

#: Ends of buckets in one answer; a year of hours is 8,760.
BUCKETS_MAX: Final = 200_000


def lives(source: Source, *parts: str) -> str:
    """Return lives of seats: `since` the first contact that counts, until `expires_at`.

    Without FINAL: minimum and maximum are taken here, merged or not. Through a project, a life begins with the first
    use or authorization through it; contacts without use prolong a seat, and belong to no project.
    """
    conditions = ["organization_id = {organization:String}"]
    if source.item_id is not None:
        conditions.append("item_id = {item:String}")
    by_project = source.project_id is not None or "project_id" in parts
    if not by_project:
        return f"""
            SELECT item_id, client_uuid, first_at, min(since) AS since, max(expires_at) AS expires_at,
                   max(last_contact_at) AS last_contact_at
            FROM seats WHERE {" AND ".join(conditions)} GROUP BY item_id, client_uuid, first_at
            SETTINGS final = 0
        """
    chosen = "project_id = {project:String}" if source.project_id is not None else "project_id != ''"
    return f"""
        SELECT item_id, project_id, client_uuid, first_at, since, ends.expires_at AS expires_at
        FROM (
            SELECT item_id, project_id, client_uuid, first_at, min(since) AS since
            FROM seats WHERE {" AND ".join([*conditions, chosen])} GROUP BY ALL SETTINGS final = 0
        ) AS starts
        INNER JOIN (
            SELECT item_id, client_uuid, first_at, max(expires_at) AS expires_at
            FROM seats WHERE {" AND ".join(conditions)} GROUP BY ALL SETTINGS final = 0
        ) AS ends USING (item_id, client_uuid, first_at)
    """


def active_devices(source: Source, bucket: Bucket, split: Split | None) -> tuple[str, dict[str, Any]]:
    """Return the question for live seats at the end of each bucket of the range.

    An open range begins with the first seat and ends with the last contact. Raises `StatisticsError` for more than
    `BUCKETS_MAX` buckets.
    """
    part = {None: "''", Split.PROJECT: "project_id", Split.ITEM: "item_id"}.get(split, "''")
    seconds = 86_400 if bucket is Bucket.ALL else BUCKET_SECONDS[bucket]
    first, last = source.period.first, source.period.last
    if first is not None and last is not None and (last - first).days * 86_400 // seconds > BUCKETS_MAX:
        raise StatisticsError(f"more than {BUCKETS_MAX} buckets: take a shorter range, or longer buckets")
    parameters = source.parameters | {"seconds": seconds}
    begin = "(SELECT toInt64(toUnixTimestamp(toStartOfDay(min(since)))) FROM lives)"
    end = "(SELECT toInt64(toUnixTimestamp(toStartOfDay(max(last_contact)))) + 86400 FROM known)"
    if first is not None:
        parameters["begin"] = _epoch_s(first.toordinal())
        begin = "{begin:Int64}"
    if last is not None:
        parameters["end"] = _epoch_s(last.toordinal() + 1)
        end = "{end:Int64}"
    instant = "CAST(NULL, 'Nullable(DateTime(\\'UTC\\'))')"
    named = "CAST(NULL, 'Nullable(String)')" if split is None else "part"
    if bucket is Bucket.ALL:
        text = f"""
            WITH lives AS ({lives(source, part)}),
                 known AS (SELECT max(last_contact_at) AS last_contact FROM seats
                           WHERE organization_id = {{organization:String}})
            SELECT {instant} AS bucket, {named} AS split, count() AS value
            FROM (SELECT toString({part}) AS part, since, expires_at FROM lives)
            WHERE since <= fromUnixTimestamp64Milli(toInt64({end} * 1000), 'UTC')
              AND expires_at > fromUnixTimestamp64Milli(toInt64({end} * 1000), 'UTC')
            GROUP BY split HAVING value > 0 ORDER BY split
        """
        return text, parameters
    # A life counts at the bucket ends from the first one at or after `since` to the last one before `expires_at`: one
    # up, one down, and a running sum over the buckets of the range.
    text = f"""
        WITH lives AS ({lives(source, part)}),
             known AS (SELECT max(last_contact_at) AS last_contact FROM seats
                       WHERE organization_id = {{organization:String}}),
             {begin} AS begin_s, {end} AS end_s,
             intDiv(end_s - begin_s, {{seconds:Int64}}) AS buckets,
             steps AS (
                 SELECT toString({part}) AS part,
                        greatest(0, intDiv(toUnixTimestamp64Milli(since) - begin_s * 1000
                                           + {{seconds:Int64}} * 1000 - 1, {{seconds:Int64}} * 1000) - 1) AS up,
                        intDiv(toUnixTimestamp64Milli(expires_at) - begin_s * 1000
                               + {{seconds:Int64}} * 1000 - 1, {{seconds:Int64}} * 1000) - 1 AS down
                 FROM lives
                 WHERE toUnixTimestamp64Milli(expires_at) > begin_s * 1000
             )
        SELECT toDateTime(begin_s + number * {{seconds:Int64}}, 'UTC') AS bucket, {named} AS split, live AS value
        FROM (
            SELECT part, number, sum(change) OVER (PARTITION BY part ORDER BY number) AS live
            FROM (
                SELECT part, number, sum(change) AS change
                FROM (
                    SELECT part, up AS number, 1 AS change FROM steps WHERE up < down AND up < buckets
                    UNION ALL
                    SELECT part, down AS number, -1 AS change FROM steps WHERE up < down AND down < buckets
                    UNION ALL
                    SELECT part, toInt64(arrayJoin(range(toUInt64(greatest(buckets, 0))))) AS number, 0 AS change
                    FROM (SELECT DISTINCT part FROM steps)
                )
                GROUP BY part, number
            )
        )
        WHERE live > 0 ORDER BY bucket, split
    """
    return text, parameters


def _epoch_s(ordinal: int) -> int:
    return (ordinal - 719_163) * 86_400  # 1970-01-01 is day 719,163
