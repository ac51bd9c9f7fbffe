"""Mistakes in a scenario: all at once, each with its path."""

from typing import Any

import pytest
import yaml

from licmeter.producers.errors import ProducerError
from licmeter.producers.simulation.world import ScenarioError, example_scenario, read_scenario


def mistakes(document: Any) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        read_scenario(document)
    assert isinstance(caught.value, ProducerError)
    return list(caught.value.mistakes)


def changed(**organization: Any) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(example_scenario())
    document["organizations"][0] |= organization
    return document


def item(**fields: Any) -> dict[str, Any]:
    plain = {"item_id": "X", "charge_way": "per_scan"} | fields
    projects = [{"name": "main", "item_ids": ["X"], "default": True}]
    return changed(items=[plain], projects=projects, changes=[])


def test_all_mistakes_at_once() -> None:
    document: dict[str, Any] = yaml.safe_load(example_scenario())
    first = document["organizations"][0]
    first["items"][0]["quota"] = 0
    first["items"][1]["activity_period"] = "monthly"
    first["items"][6]["domains"] = ["shop.microsoft.com"]
    first["projects"][0]["item_ids"].append("gone")
    first["devices"][0]["project"] = "nowhere"
    first["devices"][1]["colour"] = "green"
    first["changes"][0]["item_id"] = "gone"
    document["organizations"][1]["organization_id"] = "port"
    document["bad_clients"]["late"] = 0.1
    document["duration_hours"] = 1_000
    found = mistakes(document)
    paths = [mistake.partition(": ")[0] for mistake in found]
    assert sorted(paths) == sorted(
        [
            "organizations[0].items[0].quota",
            "organizations[0].items[1]",
            "organizations[0].items[6].domains[0]",
            "organizations[0].projects[0].item_ids",
            "organizations[0].devices[0].project",
            "organizations[0].devices[1].colour",
            "organizations[0].changes[0].item_id",
            "organizations",
            "bad_clients.late",
            "duration_hours",
        ]
    )


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (None, "valid dictionary"),
        ({}, "duration_hours: Field required"),
        (item(starts_days_ago=-0.5), "starts_days_ago: falls into the run"),
        (item(expires_in_days=0.5), "expires_in_days: falls into the run"),
        (item(expires_in_days=-6.5), "expires_in_days with expiry_grace_days: falls into the run"),
        (item(revoked_days_ago=-0.1), "revoked_days_ago: falls into the run"),
        (item(starts_days_ago=1, expires_in_days=-1), "must be later than the start"),
        (item(charge_way="per_server", expires_in_days=-8), "must outlive the run"),
        (item(charge_way="per_server", expires_in_days=-0.5), "seats would end in the run"),
        (item(charge_way="per_concurrent_device", starts_days_ago=364.5), "a budget year"),
        (item(domains=["a.test"]), "domains belong to per_domain items"),
        (item(charge_way="per_domain", domains=["a.test", "b.test"]), "2 domains, and the quota is 1"),
        (item(charge_way="per_domain"), "names its domain"),
        (item(charge_way="per_device"), "needs activity_period"),
        (item(overuse_budget=3), "overuse_budget belongs to concurrency items"),
        (changed(projects=[{"name": "main"}, {"name": "main"}]), "main stands 2 times"),
        (changed(projects=[{"name": "a", "default": True}, {"name": "b", "default": True}]), "only one can be"),
        (changed(projects=[{"name": "main"}]), "its project must be the default one"),
        (changed(changes=[{"item_id": "scans", "quota": 5, "hours_ago": 50}]), "is before the run"),
        (changed(organization_id="unregistered"), "must not be known"),
        (changed(load={"working_hours": [9, 9]}), "the first must be before the second"),
        (changed() | {"clocks": {"off_share": 0.6, "ahead_share": 0.6}}, "more than all devices"),
        (changed() | {"bad_clients": {"tombstone": 0.6, "too_old": 0.6}}, "more than one bad record"),
    ],
)
def test_a_mistake_is_said(document: Any, said: str) -> None:
    assert any(said in mistake for mistake in mistakes(document)), mistakes(document)


def test_there_is_a_bound_on_devices() -> None:
    document = changed()
    for group in document["organizations"][0]["devices"]:
        group["count"] = 600_000
    assert any("at most 1000000" in mistake for mistake in mistakes(document))
