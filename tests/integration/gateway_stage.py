"""The whole system with a gateway, two organizations with license keys, and what the gateway answers."""

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time
from typing import Any

import httpx

from licmeter.producers.sending import send_events
from licmeter.runtime.stack import GATEWAY_SERVICES, Stack
from licmeter.schemas.catalog import LicenseKey, Organization, catalog_event
from licmeter.schemas.license_keys import make_license_key
from licmeter.schemas.reports import encode_event
from licmeter.schemas.session_passwords import hash_password
from tests.integration.stage import Stage, make_settings
from tests.support.build import item

NOW = datetime.now(UTC)
PASSWORD = "open sesame"


def slot(back: int = 0) -> str:
    """A slot that is over, or older ones."""
    start = datetime.fromtimestamp((int(time()) // 180 - 1 - back) * 180, UTC)
    return start.isoformat().replace("+00:00", "Z")


def new_key(**fields: Any) -> tuple[str, LicenseKey]:
    text, key = make_license_key(os.urandom, created_at=NOW - timedelta(days=1))
    return text, key.model_copy(update=fields)


def document(name: str, projects: list[dict[str, Any]], items: list[dict[str, Any]]) -> Organization:
    return Organization.model_validate(
        {
            "organization_id": name,
            "default_project_id": projects[0]["project_id"],
            "license_files": [{"license_id": "L", "items": items}],
            "projects": projects,
        }
    )


class GatewayStage(Stage):
    """A stage whose gateway is asked by HTTP."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack)
        self.url = stack.settings.gateway_url
        self.keys: dict[str, str] = {}
        self.http = httpx.Client(base_url=self.url, timeout=30)

    @property
    def gateway(self) -> Any:
        return next(child for child in self.stack.children if child.name == "gateway")

    def post(self, path: str, body: Any, key: str | None = "A", **headers: str) -> httpx.Response:
        given = {"Content-Type": "application/json", **headers}
        if key is not None:
            given["Authorization"] = f"Bearer {self.keys.get(key, key)}"
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http.post(path, content=content, headers=given)

    def apply(self, *documents: Organization) -> None:
        """Make documents current, and wait until the gateway knows them."""
        pairs = [
            (
                each.organization_id.encode(),
                encode_event(catalog_event(each, event_id=os.urandom(8).hex(), source="test", time=NOW)),
            )
            for each in documents
        ]
        asyncio.run(send_events(self.stack.settings.bootstrap_servers, pairs))

    def known(self, key: str) -> bool:
        return self.post("/v1/events", [], key).status_code == 202


def organization(stage: GatewayStage, name: str, key_name: str) -> Organization:
    """An organization with a project of each kind that matters here."""
    keys = {}
    for suffix, fields in (
        ("", {}),
        (".rotated", {"expires_at": NOW + timedelta(days=1)}),
        (".ended", {"expires_at": NOW - timedelta(minutes=1)}),
        (".revoked", {"revoked_at": NOW - timedelta(minutes=1)}),
        (".password", {}),
    ):
        stage.keys[key_name + suffix], keys[suffix] = new_key(**fields)
    valid = {"starts_at": NOW - timedelta(days=90), "expires_at": NOW + timedelta(days=90)}
    items = [
        item("scans", quota=1_000, modules=["qr"], **valid),
        item("few", quota=20, modules=["few"], **valid),
        item("seats", charge_way="per_device", activity_period="monthly", quota=2, modules=["seat"], **valid),
    ]
    main = {
        "project_id": f"{name}-main",
        "item_ids": ["scans", "few", "seats"],
        "license_keys": [keys[each].model_dump() for each in ("", ".rotated", ".ended", ".revoked")],
    }
    secret = {
        "project_id": f"{name}-secret",
        "item_ids": ["scans"],
        "session_password_hash": hash_password(PASSWORD, b"0123456789abcdef"),
        "license_keys": [keys[".password"].model_dump()],
    }
    gone = {"project_id": f"{name}-gone", "item_ids": ["scans"], "disabled_at": NOW - timedelta(days=2)}
    return document(name, [main, secret, gone], items)


@contextmanager
def gateway_stage(folder: Path, services: Sequence[str] = GATEWAY_SERVICES) -> Iterator[GatewayStage]:
    """A running system in which the organizations `a1` and `b1` are known by their keys."""
    with Stack(make_settings(folder), services) as stack:
        stack.start(lambda _: None)
        stage = GatewayStage(stack)
        stage.apply(organization(stage, "a1", "A"), organization(stage, "b1", "B"))
        stage.until(lambda: stage.known("A") and stage.known("B"), "both organizations known", seconds=60)
        yield stage
        stage.http.close()
