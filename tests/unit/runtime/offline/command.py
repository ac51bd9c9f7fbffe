"""Runs the real `licmeter meter` on files that it writes, and reads what came out."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from licmeter.runtime.cli.main import app

ORGANIZATION = "300417"
KIOSK = f"{ORGANIZATION}-kiosk"
MINUTE = timedelta(minutes=1)
SLOT_LENGTH = timedelta(minutes=3)
DAY = timedelta(days=1)
START = datetime(2031, 3, 8, 10, 0, tzinfo=UTC)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def text(moment: datetime | str) -> str:
    return moment if isinstance(moment, str) else moment.isoformat().replace("+00:00", "Z")


def catalog(*items: dict[str, Any], projects: dict[str, list[str]] | None = None, **changes: Any) -> dict[str, Any]:
    """One license file; one project with all items unless `projects` (short name to items) says otherwise."""
    named = {"kiosk": [entry["item_id"] for entry in items]} if projects is None else projects
    document: dict[str, Any] = {
        "organization_id": ORGANIZATION,
        "license_files": [{"license_id": "L1", "items": list(items)}],
        "projects": [{"project_id": f"{ORGANIZATION}-{name}", "item_ids": ids} for name, ids in named.items()],
        "default_project_id": f"{ORGANIZATION}-{next(iter(named))}",
    }
    return document | changes


class Log:
    """The lines of an events file, in arrival order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def report(
        self,
        slot: datetime | str,
        counts: dict[str, int],
        client: str = "device-1",
        *,
        project: str = "kiosk",
        received: datetime | str | None = None,
        report_id: str | None = None,
        **data: Any,
    ) -> None:
        if received is None:
            assert isinstance(slot, datetime)
            received = slot + SLOT_LENGTH + timedelta(seconds=5)
        self.add("license.usage.report.v1", slot, client, received, {"counts": counts} | data, project, report_id)

    def authorize(
        self, at: datetime | str, client: str = "device-1", *, received: datetime | str | None = None, **data: Any
    ) -> None:
        self.add("license.authorization.v1", at, client, at if received is None else received, data)

    def change(self, at: datetime, document: dict[str, Any]) -> None:
        event = {"type": "license.catalog.v1", "source": "x", "subject": ORGANIZATION, "data": document}
        self.event(event | {"time": text(at), "receivedat": text(at)})

    def add(
        self,
        kind: str,
        at: datetime | str,
        client: str,
        received: datetime | str,
        data: dict[str, Any],
        project: str = "kiosk",
        event_id: str | None = None,
    ) -> None:
        event = {"type": kind, "source": client, "subject": f"{ORGANIZATION}-{project}", "time": text(at), "data": data}
        self.event(event | {"receivedat": text(received)} | ({} if event_id is None else {"id": event_id}))

    def event(self, event: dict[str, Any]) -> None:
        self.lines.append(json.dumps({"specversion": "1.0", "id": f"e{len(self.lines)}"} | event))


class Command:
    """Runs `licmeter meter` in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def arguments(self, document: dict[str, Any], lines: list[str], *options: str) -> list[str]:
        document_file, events_file = self.directory / "catalog.yaml", self.directory / "events.jsonl"
        document_file.write_text(yaml.safe_dump(document))
        events_file.write_text("".join(f"{line}\n" for line in lines))
        return ["meter", "--catalog", str(document_file), "--events", str(events_file), *options]

    def tables(self, document: dict[str, Any], log: Log, *options: str) -> str:
        result = CliRunner().invoke(app, self.arguments(document, log.lines, *options), catch_exceptions=False)
        assert result.exit_code == 0
        return result.stdout

    def __call__(self, document: dict[str, Any], log: Log | list[str], *options: str) -> "Answer":
        lines = log.lines if isinstance(log, Log) else log
        arguments = self.arguments(document, lines, "--json", *options)
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0
        return Answer(json.loads(result.stdout), result.stderr)


class Answer:
    """The JSON document that the command printed."""

    def __init__(self, document: dict[str, Any], notes: str = "") -> None:
        self.document = document
        self.notes = notes
        self.outcomes: list[dict[str, Any]] = document["outcomes"]
        self.breaches: list[dict[str, Any]] = document["breaches"]
        self.alerts: list[dict[str, Any]] = document["alerts"]
        self.totals: dict[str, int] = document["totals"]

    def item(self, item_id: str = "41") -> dict[str, Any]:
        (found,) = [entry for entry in self.document["items"] if entry["item_id"] == item_id]
        return found

    def figures(self, *names: str, item_id: str = "41") -> tuple[Any, ...]:
        entry = self.item(item_id)
        return tuple(entry[name] for name in names)

    def project(self, name: str = "kiosk") -> dict[str, Any]:
        (found,) = [entry for entry in self.document["projects"] if entry["project_id"] == f"{ORGANIZATION}-{name}"]
        return found

    def of_lines(self, name: str) -> list[Any]:
        return [entry[name] for entry in self.outcomes]

    def kinds(self) -> list[str]:
        return [breach["kind"] for breach in self.breaches]


def charges(outcome: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(c["item_id"], c["quantity"], c["in_quota"], c["in_grace"], c["over"]) for c in outcome["charges"]]
