"""What a gateway says about itself, for Prometheus: one list of names with kind, unit and meaning."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The metrics of one gateway; labels hold our own words only, never a client's."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "licmeter_gateway_requests", "Requests answered.", ["path", "status"], registry=self.registry
        )
        self.events = Counter(
            "licmeter_gateway_events",
            "Usage reports answered; reason is empty for accepted ones.",
            ["outcome", "reason"],
            registry=self.registry,
        )
        self.verdicts = Counter(
            "licmeter_gateway_verdicts", "Requests for leave answered.", ["outcome"], registry=self.registry
        )
        self.latency = Histogram(
            "licmeter_gateway_request_seconds",
            "From the request to its answer, Kafka's acknowledgment included.",
            ["path"],
            buckets=_LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "licmeter_gateway_in_flight_bytes", "Bodies that wait for Kafka.", registry=self.registry
        )
        self.organizations = Gauge(
            "licmeter_gateway_organizations", "Organizations that are known.", registry=self.registry
        )
        self.dropped_reports = Counter(
            "licmeter_gateway_client_dropped_reports",
            "Reports that clients had to drop, as they say themselves.",
            registry=self.registry,
        )

    def render(self) -> bytes:
        """Return all of it as text."""
        return generate_latest(self.registry)
