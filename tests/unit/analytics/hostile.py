"""Words that would show if a question were put together from them."""

from datetime import UTC, datetime

NAME = "x' OR 1=1 -- \\"
NOW = datetime(2031, 3, 8, 12, tzinfo=UTC)
TABLES = (
    "usage_attributed",
    "authorizations",
    "seats",
    "client_spans",
    "usage_day",
    "client_day",
    "device_day",
    "concurrency_day",
    "authorization_day",
    "organization_counters",
    "catalogs",
)
