"""Section 15 of the domain text, against the reference, and the one shortcut that it takes."""

import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.reference import meter
from tests.support.reference.catalog import read_document
from tests.support.reference.instants import slot_start
from tests.unit.reference.building import DAY, SLOT, START, K, Log, M, document, item, row


def random_log(seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]], datetime]:
    chance = random.Random(seed)
    ways = ["per_scan", "per_page", "per_device", "per_server", "per_concurrent_device", "per_concurrent_instance"]

    def some_document() -> dict[str, Any]:
        items = []
        for n in range(chance.randint(1, 4)):
            way = chance.choice(ways)
            changes: dict[str, Any] = {"charge_way": way, "quota": chance.choice([1, 2, 5, 10, 20])}
            if way == "per_device":
                changes["activity_period"] = chance.choice(["daily", "monthly"])
            if way.startswith("per_concurrent"):
                changes["overuse_budget"] = chance.choice([3, 10])
            if chance.random() < 0.3:
                changes["expires_at"] = START + chance.randint(1, 6) * DAY
            if chance.random() < 0.1:
                changes["revoked_at"] = START + chance.randint(1, 6) * DAY
            if chance.random() < 0.3:
                changes["modules"] = ["qr"]
            items.append(item(str(n), **changes))
        doc = document(*items, alerts={"preset": chance.choice(["default", "legacy"]), "expiry_reminder_days": [2]})
        doc["projects"].append({"project_id": M, "item_ids": ["0"]})
        return doc

    first, log, t = some_document(), Log(), START
    for _ in range(60):
        t += timedelta(seconds=chance.choice([0, 5, 60, 600, 20_000]))
        client, project = f"d{chance.randint(1, 5)}", chance.choice([K, K, M])
        draw = chance.random()
        if draw < 0.03:
            log.catalog(t, some_document())
        elif draw < 0.4:
            log.auth(t - timedelta(seconds=chance.choice([0, 400, -200])), client, project, received=t)
        else:
            slot = slot_start(t) - SLOT * chance.choice([0, 0, 1, 900])
            counts = {"qr": chance.randint(0, 4), "ean": chance.randint(0, 2)}
            log.report(slot, counts, client, t, project, instances=chance.choice([None, 1, 3]))
            if chance.random() < 0.1:
                log.events.append(dict(log.events[-1]))
    return [first], log.events, t + 2 * DAY


@pytest.mark.parametrize("seed", range(40))
def test_invariants_of_random_logs(seed: int) -> None:
    documents, events, until = random_log(seed)
    result = meter(documents, events, until)
    assert result == meter(documents, events, until, skip_idle_checks=False)
    totals = result["totals"]
    assert totals["received"] == len(events) == sum(totals.values()) - totals["received"]
    twice = meter(documents, [e for e in events for _ in (1, 2)], until)
    for part in ("projects", "breaches", "alerts"):
        assert twice[part] == result[part]
    for found in result["items"]:
        assert found["used"] == found["in_quota"] + found["in_grace"] + found["over"]
        if "slots" in found and not any(o["kind"] == "catalog" for o in result["outcomes"]):
            for slot in found["slots"].values():
                assert slot["exceptions"] == max(0, slot["allotted"] - found["quota"])


def test_documents_are_checked() -> None:
    for changes in ({"quota": 0}, {"charge_way": "per_device"}, {"expires_at": START}, {"activity_period": "daily"}):
        with pytest.raises(ValueError):
            read_document(document(item(**changes)))
    log = Log().catalog(START, document(item(quota=0))).catalog(START, document(item(quota=7)))
    result = meter([document(item())], log.events)
    assert [o["outcome"] for o in result["outcomes"]] == ["rejected", "applied"]
    assert row(result)["quota"] == 7
