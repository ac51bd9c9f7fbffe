"""An independent count: slow, over the whole log, with nothing of the product's core but the event contract.

It knows cumulative items of projects without restrictions, which is what the generated logs have.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from licmeter.stream.batch import InputRecord


@dataclass
class Oracle:
    """Outcomes by organization, units by (organization, project, feature) and by item."""

    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    units: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    parts: dict[tuple[str, str], list[int]] = field(default_factory=dict)


def count(log: Iterable[InputRecord]) -> Oracle:
    """Count a log of good reports, duplicates, conflicts, reports of unknown projects, and catalogs."""
    oracle = Oracle()
    catalogs: dict[str, dict[str, Any]] = {}
    seen: dict[tuple[str, str, str], Any] = {}
    for record in log:
        assert record.key is not None
        organization = record.key.decode()
        try:
            event = from_json(record.value or b"")
        except ValueError:
            oracle.outcomes[organization if organization in catalogs else ""]["rejected"] += 1
            continue
        if event["type"] == "license.catalog.v1":
            catalogs[organization] = event["data"]
            continue
        _count_report(event, organization, catalogs, seen, oracle)
    return oracle


def _count_report(
    event: dict[str, Any], organization: str, catalogs: dict[str, Any], seen: dict[Any, Any], oracle: Oracle
) -> None:
    owner = organization if organization in catalogs else ""
    projects = {entry["project_id"]: entry for entry in catalogs.get(organization, {}).get("projects", [])}
    project = projects.get(event["subject"])
    if project is None:
        oracle.outcomes[owner]["rejected"] += 1
        return
    identity = (organization, event["source"], event["id"])
    content = (event["subject"], event["time"], sorted(event["data"]["counts"].items()))
    if identity in seen:
        outcome = "duplicate" if seen[identity] == content else "rejected"
        oracle.outcomes[owner][outcome] += 1
        return
    seen[identity] = content
    charged = False
    for feature, units in sorted(event["data"]["counts"].items()):
        oracle.units[organization, event["subject"], feature] += units
        charged |= _charge(units, organization, project, catalogs[organization], oracle)
    if not sum(event["data"]["counts"].values()):
        charged = bool(project.get("item_ids"))
    oracle.outcomes[owner]["charged" if charged else "uncharged"] += 1


def _charge(units: int, organization: str, project: dict[str, Any], catalog: dict[str, Any], oracle: Oracle) -> bool:
    if not units or not project.get("item_ids"):
        return False
    items = {item["item_id"]: item for file in catalog["license_files"] for item in file["items"]}
    ordered = sorted(
        (items[item_id] for item_id in project["item_ids"]),
        key=lambda item: (item["expires_at"], -item["quota"], item["item_id"]),
    )
    for unit_pass in (0, 1):
        for item in ordered:
            parts = oracle.parts.setdefault((organization, item["item_id"]), [0, 0, 0])
            grace = (item["quota"] * 5 + 50) // 100 if unit_pass else 0
            take = max(0, min(units, item["quota"] + grace - sum(parts)))
            parts[unit_pass] += take
            units -= take
    oracle.parts[organization, ordered[-1]["item_id"]][2] += units
    return True
