"""A gateway for the tests of the browser module: a real HTTP server that keeps books, and fails as it is told.

It reads requests with the gateway's own reader and checks every event against the contract. Its CORS is the gateway's.
"""

import json
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from licmeter.producers.browser import browser_file
from licmeter.producers.gateway.incoming import read_request
from licmeter.schemas.reports import parse_report

ALLOWED_HEADERS = {"authorization", "content-type", "content-encoding", "licmeter-session-password"}
EVENTS_MAX = 1_000
CUT = "cut"  # count what came, and close the connection without an answer


@dataclass(frozen=True)
class Delivery:
    """One event, as often as it came."""

    event: dict[str, Any]
    beacon: bool
    key: str
    batch: int

    @property
    def identity(self) -> tuple[str, str]:
        return self.event["source"], self.event["id"]


@dataclass
class Books:
    """What arrived, and what of it counts: the pair (source, id) is the identity."""

    deliveries: list[Delivery] = field(default_factory=list)
    counted: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    authorizations: list[dict[str, Any]] = field(default_factory=list)
    passwords: set[str] = field(default_factory=set)

    def enter(self, delivery: Delivery) -> None:
        counts = delivery.event["data"]["counts"]
        if self.counted.setdefault(delivery.identity, counts) != counts:
            self.faults.append(f"conflict: {delivery.event['id']} was {self.counted[delivery.identity]}, is {counts}")

    @property
    def units(self) -> dict[str, int]:
        total: Counter[str] = Counter()
        for counts in list(self.counted.values()):
            total.update(counts)
        return dict(total)

    @property
    def slots(self) -> dict[str, dict[str, int]]:
        """Units by slot and feature."""
        total: dict[str, Counter[str]] = {}
        times = {delivery.identity: delivery.event["time"] for delivery in self.deliveries}
        for identity, counts in self.counted.items():
            total.setdefault(times[identity], Counter()).update(counts)
        return {time: dict(counts) for time, counts in sorted(total.items())}

    def times(self, identity: tuple[str, str]) -> int:
        return sum(delivery.identity == identity for delivery in self.deliveries)


class Gateway:
    """The server; it may be stopped and started again on its port, and told what to do with the next requests."""

    def __init__(self) -> None:
        self.books = Books()
        self.next: deque[Any] = deque()  # CUT, or (status, headers), for the next requests that bring events
        self.rejecting: dict[str, str] = {}  # feature -> reason
        self.batch_max = EVENTS_MAX
        self.verdict: Callable[[dict[str, Any]], tuple[int, dict[str, Any]]] = granted
        self.port = 0
        self._server: _Server | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.gateway = self
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def granted(asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Leave for a month."""
    answer = {"request_id": "1", "auth_id": asked["auth_id"], "at": asked["at"], "granted": True, "item_id": "41"}
    standing = [{"item_id": "41", "state": "active", "percent": "12.00"}]
    return 200, {**answer, "local_expires_at": "2099-01-01T00:00:00Z", "code": None, "items": standing}


class _Server(ThreadingHTTPServer):
    gateway: Gateway
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away is no error; all others are told by the books."""


class _Handler(BaseHTTPRequestHandler):
    # One connection for each request, so that a server that was stopped does not go on with the open ones.
    protocol_version = "HTTP/1.0"
    server: _Server

    PAGES: ClassVar = {"/": b"<!doctype html><title>shop</title>", "/other": b"<!doctype html><title>other</title>"}

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_OPTIONS(self) -> None:
        asked = self.headers.get("Access-Control-Request-Headers", "")
        unknown = {name.strip().lower() for name in asked.split(",") if name} - ALLOWED_HEADERS
        self._answer(400 if unknown else 200, b"", **{"Access-Control-Allow-Headers": ", ".join(ALLOWED_HEADERS)})

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if self.path in self.PAGES:
            self._answer(200, self.PAGES[self.path], **{"Content-Type": "text/html"})
        elif self.path.startswith("/sandbox"):
            inner = "<script>window.ready = true</script>"
            page = f'<!doctype html><iframe name="inner" sandbox="allow-scripts" srcdoc="{inner}"></iframe>'
            self._answer(200, page.encode(), **{"Content-Type": "text/html"})
        elif name in ("licmeter.js", "licmeter.d.ts"):
            body, media_type = browser_file(name)
            self._answer(200, body, **{"Content-Type": media_type})
        else:
            self._answer(404, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        gateway = self.server.gateway
        if (password := self.headers.get("Licmeter-Session-Password")) is not None:
            gateway.books.passwords.add(password)
        if self.path.startswith("/v1/authorizations"):
            asked = json.loads(body)
            gateway.books.authorizations.append(asked)
            self._json(*gateway.verdict(asked))
        else:
            self._events(gateway, body)

    def _events(self, gateway: Gateway, body: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        events = [json.loads(each.value) for each in self._read(gateway, headers, body)]
        order = gateway.next.popleft() if gateway.next else None
        if isinstance(order, tuple):
            self._json(order[0], {"title": "as told", "status": order[0]}, **order[1])
            return
        if len(events) > gateway.batch_max:
            self._json(413, {"title": "too large", "status": 413})
            return
        query = parse_qs(urlsplit(self.path).query)
        key = headers.get("authorization", "").removeprefix("Bearer ") or query.get("license_key", [""])[0]
        results = []
        for event in events:
            delivery = Delivery(event, beacon="license_key" in query, key=key, batch=len(events))
            gateway.books.deliveries.append(delivery)
            results.append(self._judge(gateway, delivery))
        if order == CUT:
            self.close_connection = True
            return
        self._json(202, {"request_id": "1", "received_at": "2031-03-08T10:02:11.123Z", "results": results})

    def _read(self, gateway: Gateway, headers: dict[str, str], body: bytes) -> list[Any]:
        try:
            request = read_request(headers.get("content-type", ""), headers, body, EVENTS_MAX)
            for incoming in request.events:
                parse_report(incoming.value)
        except Exception as error:
            gateway.books.faults.append(f"not the contract: {error}")
            raise
        return request.events

    def _judge(self, gateway: Gateway, delivery: Delivery) -> dict[str, Any]:
        result: dict[str, Any] = {"id": delivery.event["id"], "source": delivery.event["source"]}
        for feature in delivery.event["data"]["counts"]:
            if feature in gateway.rejecting:
                return result | {"outcome": "rejected", "reason": gateway.rejecting[feature], "detail": "as told"}
        gateway.books.enter(delivery)
        return result | {"outcome": "accepted", "items": [{"item_id": "41", "state": "grace", "percent": "100.50"}]}

    def _json(self, status: int, document: dict[str, Any], **headers: str) -> None:
        kind = "application/json" if status < 400 else "application/problem+json"
        self._answer(status, json.dumps(document).encode(), **{"Content-Type": kind, **headers})

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        always = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "request-id, retry-after"}
        for name, value in {**always, **headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
