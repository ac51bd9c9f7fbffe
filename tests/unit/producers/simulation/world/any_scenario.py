"""Scenarios drawn at random: items of any charge way, limits that are met, and devices of all sorts."""

from random import Random
from typing import Any

from licmeter.producers.simulation.world import WorldScenario, read_scenario

FEATURES = ("qr", "core", "web")
HOSTS = ("a.one.test", "two.test:443", "x.apps.test", "apps.test")
PERIODS = ("daily", "monthly", "quarterly", "yearly")
WAYS = (
    "per_scan",
    "per_page",
    "per_device",
    "per_server",
    "per_concurrent_device",
    "per_concurrent_instance",
    "per_domain",
)


def _some(random: Random, of: tuple[str, ...], least: int = 0) -> list[str]:
    return random.sample(of, random.randint(least, len(of)))


def _item(random: Random, item_id: str) -> dict[str, Any]:
    way = random.choice(WAYS)
    item: dict[str, Any] = {
        "item_id": item_id,
        "charge_way": way,
        "quota": random.choice((None, random.randint(1, 12), random.randint(1, 12))),
        "modules": random.choice((_some(random, FEATURES), [])),
        "starts_days_ago": random.choice((1, 30, 365, 366)),
        "expires_in_days": random.choice((2, 30, 31)),
        "expiry_grace_days": random.choice((0, 7)),
        "product": random.choice((None, None, None, "reader", "writer")),
    }
    if way in ("per_scan", "per_page"):
        item["quota"] = random.choice((None, random.randint(1, 400), random.randint(1, 1_500)))
    elif way == "per_device":
        item["activity_period"] = random.choice(PERIODS)
    elif "concurrent" in way:
        item["overuse_budget"] = random.choice((None, random.randint(1, 200)))
    elif way == "per_domain":
        item |= {
            "quota": 2,
            "domains": random.sample(("one.test", "www.two.test", "x.apps.test"), random.randint(1, 2)),
        }
    if random.random() < 0.2:
        item |= random.choice(
            (
                {"starts_days_ago": -1, "expires_in_days": 9},
                {"starts_days_ago": 0.2},
                {"revoked_days_ago": 0.3},
                {"revoked_days_ago": -3},
                {"starts_days_ago": 40, "expires_in_days": -0.6, "expiry_grace_days": 2},
            )
        )
    if random.random() < 0.1 and way not in ("per_device", "per_server"):
        item |= {"starts_days_ago": 40, "expires_in_days": -0.3, "expiry_grace_days": 0}
    return item


def _group(random: Random, project: str) -> dict[str, Any]:
    return {
        "group": project,
        "project": project,
        "count": random.randint(1, 15),
        "features": dict.fromkeys(_some(random, FEATURES, 1), 1),
        "busy_share": 0.3,
        "instances": random.choice((None, None, (1, 1), (1, 4))),
        "hosts": _some(random, HOSTS),
        "product": random.choice((None, None, "reader", "writer")),
        "names_organization_only": project == "two" and random.random() < 0.5,
    }


def _organization(random: Random, organization_id: str) -> dict[str, Any]:
    """Up to five items, and two projects with any of them."""
    items = [_item(random, item_id) for item_id in "ABCDE"[: random.randint(0, 5)]]
    ids = tuple(item["item_id"] for item in items)
    one, two = _some(random, ids, min(1, len(ids))), _some(random, ids)
    order = random.choice((None, random.sample(one, random.randint(0, len(one)))))
    changes = [
        {"item_id": item["item_id"], "quota": random.randint(1, 60), "hours_ago": random.uniform(0.1, 6)}
        for item in items
        if item["charge_way"] != "per_domain" and random.random() < 0.3
    ]
    return {
        "organization_id": organization_id,
        "platform_suffixes": ["apps.test"],
        "items": items,
        "projects": [
            {"name": "one", "item_ids": one, "usage_order": order},
            {
                "name": "two",
                "item_ids": two,
                "default": True,
                "disabled_days_ago": random.choice((None, None, None, 0, 0.3)),
            },
        ],
        "devices": [_group(random, project) for project in ("one", "two")],
        "changes": changes,
    }


def any_scenario(random: Random) -> WorldScenario:
    """Draw half a day of two organizations."""

    def share() -> float:
        return random.choice((0, 0.1, 0.4))

    return read_scenario(
        {
            "duration_hours": 12,
            "organizations": [_organization(random, "a"), _organization(random, "b")],
            "load": {"working_hours": [0, 24], "weekend_factor": random.choice((0.1, 1))},
            "offline": {"per_day": share(), "mean_days": 0.1},
            "clocks": {"off_share": share(), "off_seconds_max": 240, "skewed_share": 0.05, "ahead_share": 0.05},
            "repeats": {"resubmitted_share": share(), "lost_answer_share": share()},
            "authorizations": {"enabled": random.random() < 0.7, "session_gap_minutes": random.choice((3, 30))},
            "contact_share": share(),
            "clone_share": share(),
            "reinstalls_per_day": share(),
            "bad_clients": {"conflict": 0.05, "tombstone": 0.02, "unknown_project": 0.02, "no_key": 0.02},
        }
    )
