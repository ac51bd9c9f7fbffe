"""A process that serves the statistics over a database of its own, and the same answers from Python."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx

from licmeter.analytics.http.tokens import make_token
from licmeter.analytics.statistics.api import Statistics
from licmeter.runtime.children import Child
from licmeter.runtime.kafka.ports import free_port
from licmeter.sinks.target import ClickHouseTarget

READY_TIMEOUT_S = 60.0


class ApiStage:
    """`tokens` are by label; `http` sends none by itself."""

    def __init__(self, target: ClickHouseTarget, folder: Path, entries: list[dict[str, Any]], **settings: Any) -> None:
        self.target = target
        self.tokens = {entry["label"]: make_token(os.urandom) for entry in entries}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        known = [
            entry | {"sha256": hashlib.sha256(self.tokens[entry["label"]].encode()).hexdigest()} for entry in entries
        ]
        environment = os.environ | {
            "LICMETER_CLICKHOUSE__URL": target.url,
            "LICMETER_CLICKHOUSE__DATABASE": target.database,
            "LICMETER_API__PORT": str(self.port),
            "LICMETER_API__TOKENS": json.dumps(known),
            **{f"LICMETER_API__{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.process = Child(["api"], log=folder / "api.log", environment=environment, clock=monotonic)
        self.http = httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def start(self) -> None:
        self.process.start()
        self.until(self.ready, "the API is ready")

    def ready(self) -> bool:
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        self.http.close()
        self.process.stop()

    def get(self, organization: str, path: str, token: str | None = "all", **headers: str) -> httpx.Response:
        if token is not None:
            headers["Authorization"] = f"Bearer {self.tokens.get(token, token)}".strip()
        return self.http.get(f"/v1/organizations/{organization}/statistics/{path}", headers=headers)

    def walk(self, organization: str, path: str, limit: int) -> Iterator[dict[str, Any]]:
        """Yield the pages of a list."""
        link: str | None = f"/v1/organizations/{organization}/statistics/{path}"
        link += f"{'&' if '?' in path else '?'}limit={limit}"
        while link is not None:
            answer = self.http.get(link, headers={"Authorization": f"Bearer {self.tokens['all']}"})
            assert answer.status_code == 200, answer.text
            link = answer.links["next"]["url"] if "next" in answer.links else None
            assert (link is None) == (answer.json()["next"] is None)
            yield answer.json()

    @contextmanager
    def statistics(self, organization: str) -> Iterator[Statistics]:
        client = self.target.connect()
        try:
            yield Statistics(client, organization)
        finally:
            client.close()

    def log(self) -> str:
        return self.process.log.read_text()

    def metric(self, name: str, **labels: str) -> float:
        """Return a counter's value; 0 before its first increment."""
        wanted = "".join(f',{key}="{value}"' for key, value in labels.items())[1:]
        line = f"{name}{{{wanted}}}" if wanted else name
        for each in self.http.get("/metrics").text.splitlines():
            if each.startswith(line + " "):
                return float(each.rpartition(" ")[2])
        return 0.0

    def until(self, condition: Any, what: str, seconds: float = READY_TIMEOUT_S) -> None:
        """Poll, because what it waits for happens in another process."""
        deadline = monotonic() + seconds
        while not condition():
            assert monotonic() < deadline, f"{what}: not within {seconds:.0f} s\n{self.process.last_words()}"
            sleep(0.05)


@contextmanager
def api_stage(
    target: ClickHouseTarget, folder: Path, entries: list[dict[str, Any]] | None = None, **settings: Any
) -> Iterator[ApiStage]:
    """Serve a database; without entries there is one token, `all`, for every organization."""
    chosen = [{"label": "all", "organization": "*"}] if entries is None else entries
    stage = ApiStage(target, folder, chosen, **settings)
    try:
        stage.start()
        yield stage
    finally:
        stage.stop()
