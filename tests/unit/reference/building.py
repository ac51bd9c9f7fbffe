"""Builds documents and logs for the tests of the reference, and reads what it answers."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.reference.instants import text

DAY = timedelta(days=1)
SLOT = timedelta(minutes=3)
START = datetime(2031, 1, 1, tzinfo=UTC)
END = datetime(2032, 1, 1, tzinfo=UTC)
ORG = "300417"
K, M = f"{ORG}-kiosk", f"{ORG}-mobile"


def at(written: str) -> datetime:
    return datetime.fromisoformat(written)


def item(item_id: str = "41", **changes: Any) -> dict[str, Any]:
    usual = {"item_id": item_id, "charge_way": "per_scan", "quota": 2000, "starts_at": START, "expires_at": END}
    return usual | changes


def document(*items: dict[str, Any], projects: dict[str, list[str]] | None = None, **changes: Any) -> dict[str, Any]:
    names = {K: [i["item_id"] for i in items]} if projects is None else projects
    return {
        "organization_id": ORG,
        "default_project_id": K,
        "license_files": [{"license_id": "L", "items": list(items)}] if items else [],
        "projects": [{"project_id": name, "item_ids": ids} for name, ids in names.items()],
        **changes,
    }


class Log:
    """Events in arrival order."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def add(self, kind: str, received: datetime, **fields: Any) -> "Log":
        number = len(self.events) + 1
        event = {"specversion": "1.0", "type": kind, "id": f"e-{number}", "source": "device-1", "receivedat": received}
        self.events.append({name: value for name, value in (event | fields).items() if value is not None})
        return self

    def report(
        self,
        slot: datetime,
        counts: int | dict[str, int] = 1,
        client: str = "device-1",
        received: datetime | None = None,
        project: str | None = K,
        envelope: dict[str, Any] | None = None,
        **data: Any,
    ) -> "Log":
        return self.add(
            "license.usage.report.v1",
            slot + timedelta(minutes=1) if received is None else received,
            time=slot,
            source=client,
            subject=project,
            data={"counts": {"qr": counts} if isinstance(counts, int) else counts, **data},
            **(envelope or {}),
        )

    def auth(self, t: datetime, client: str = "device-1", project: str | None = K, **data: Any) -> "Log":
        received = data.pop("received", t)
        return self.add("license.authorization.v1", received, time=t, source=client, subject=project, data=data)

    def catalog(self, received: datetime, doc: dict[str, Any]) -> "Log":
        plain = _json(doc)
        return self.add("license.catalog.v1", received, time=received, subject=doc["organization_id"], data=plain)


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return text(value)
    if isinstance(value, dict):
        return {name: _json(inner) for name, inner in value.items()}
    return [_json(inner) for inner in value] if isinstance(value, list) else value


def row(result: dict[str, Any], item_id: str = "41") -> dict[str, Any]:
    return next(i for i in result["items"] if i["item_id"] == item_id)


def kinds(result: dict[str, Any]) -> list[str]:
    return [breach["kind"] for breach in result["breaches"]]


def answers(result: dict[str, Any]) -> list[Any]:
    return [o["outcome"] if o["code"] is None else o["code"]["number"] for o in result["outcomes"]]
