"""What the process says about itself, for Prometheus: one list of names with kind, unit and meaning."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0)


class Metrics:
    """The metrics of one process; labels hold our own words only, never a client's."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "licmeter_api_requests", "Requests answered.", ["path", "status"], registry=self.registry
        )
        self.latency = Histogram(
            "licmeter_api_request_seconds",
            "From the request to its answer, waiting and queries included.",
            ["path"],
            buckets=_LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.running = Gauge("licmeter_api_running", "Answers that are worked on.", registry=self.registry)
        self.waiting = Gauge("licmeter_api_waiting", "Requests that wait for it.", registry=self.registry)
        self.bounds_hit = Counter(
            "licmeter_api_bounds_hit",
            "Requests refused by a bound: queries, organization, wait, time, rows, memory.",
            ["bound"],
            registry=self.registry,
        )
        self.refused = Counter(
            "licmeter_api_refused",
            "Requests refused for who asks: token, organization, host.",
            ["reason"],
            registry=self.registry,
        )
        self.disconnected = Counter(
            "licmeter_api_disconnected", "Clients that went before their answer was there.", registry=self.registry
        )
        self.database_failures = Counter(
            "licmeter_api_database_failures", "Queries that ClickHouse did not answer.", registry=self.registry
        )

    def render(self) -> bytes:
        """Return all of it as text."""
        return generate_latest(self.registry)
