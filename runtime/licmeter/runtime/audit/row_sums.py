"""The counters against the sums of all rows that are stored: what is left where the log cannot be counted again."""

from typing import Final

from licmeter.runtime.audit.claims import Claim
from licmeter.runtime.audit.comparing import entry_of
from licmeter.runtime.audit.log import Span
from licmeter.runtime.audit.report import Difference
from licmeter.runtime.audit.scene import Scene
from licmeter.schemas.counters import ItemCounters

__all__ = ["compare_sums"]

#: Rows are dropped by months after 400 days; an organization with rows older than this may have lost some.
ROWS_DAYS_MAX: Final = 400 - 31
#: Rows name the organization of the key; what came before it was known is counted to nobody.
_AT_MOST: Final = frozenset({"duplicate", "rejected", "refused"})
_DAY_MS: Final = 86_400_000
_OLDEST: Final = """
SELECT min(toUnixTimestamp(slot)) FROM usage_attributed WHERE organization_id = {organization:String}
"""
_ITEM: Final = """
SELECT toInt64(sum(in_quota)), toInt64(sum(in_grace)), toInt64(sum(over)), toInt64(sum(quantity)) FROM usage_attributed
WHERE organization_id = {organization:String} AND item_id = {item:String} AND source_offset <= {offset:UInt64}
"""
_ORGANIZATION: Final = """
SELECT sum(charged), sum(uncharged), sum(duplicate), sum(rejected), sum(granted), sum(refused) FROM (
    SELECT countIf(outcome = 'charged') AS charged, countIf(outcome = 'uncharged') AS uncharged,
           countIf(outcome = 'duplicate') AS duplicate, 0 AS rejected, 0 AS granted, 0 AS refused
    FROM usage_attributed
    WHERE organization_id = {organization:String} AND line = 0 AND source_offset <= {offset:UInt64}
    UNION ALL
    SELECT 0, 0, countIf(outcome = 'duplicate'), 0, countIf(outcome = 'granted'), countIf(outcome = 'refused')
    FROM authorizations WHERE organization_id = {organization:String} AND source_offset <= {offset:UInt64}
    UNION ALL
    SELECT 0, 0, 0, count(), 0, 0 FROM usage_rejected
    WHERE organization_id = {organization:String} AND source_topic = 'usage.events'
      AND source_offset <= {offset:UInt64}
)
"""


def compare_sums(scene: Scene, span: Span, claims: list[Claim]) -> None:
    """Compare the published and the stored counters of a partition with the rows up to their offsets."""
    old: dict[str, bool] = {}
    for claim in claims:
        name = claim.counters.organization_id
        if name not in old:
            old[name] = bool(name) and _may_have_lost(scene, span, name)
            if old[name]:
                scene.report.notes.append(
                    f"organization {name} has rows of more than {ROWS_DAYS_MAX} days: older ones may have been "
                    "dropped, so its counters cannot be compared with their sums"
                )
        if name and not old[name]:
            _compare(scene, claim)


def _may_have_lost(scene: Scene, span: Span, name: str) -> bool:
    (oldest,) = scene.stored.query(_OLDEST, {"organization": name})[0]
    last_ms = scene.last_ms.get(span.partition)
    return bool(oldest) and last_ms is not None and int(oldest) * 1000 < last_ms - ROWS_DAYS_MAX * _DAY_MS


def _compare(scene: Scene, claim: Claim) -> None:
    counters, entry = claim.counters, entry_of(scene, claim.counters.organization_id)
    entry.whole = False
    entry.counters += 1
    parameters = {"organization": counters.organization_id, "offset": counters.applied_offset}
    if isinstance(counters, ItemCounters):
        names = ["in_quota", "in_grace", "over", "attributed"]
        place = f"item {counters.item_id}"
        (sums,) = scene.stored.query(_ITEM, parameters | {"item": counters.item_id})
    else:
        names = ["charged", "uncharged", "duplicate", "rejected", "granted", "refused"]
        place = "the organization"
        (sums,) = scene.stored.query(_ORGANIZATION, parameters)
        entry.outcomes = dict(zip(names, map(int, sums), strict=True))
    for name, stored in zip(names, sums, strict=True):
        found = getattr(counters, name)
        if found > int(stored) if name in _AT_MOST else found != int(stored):
            what = f"{name} {found:,} ≠ {int(stored):,} in all rows up to offset {counters.applied_offset}"
            entry.note(Difference(claim.where, what, place))
