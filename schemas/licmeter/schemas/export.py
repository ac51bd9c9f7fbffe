"""The contracts as JSON Schema (2020-12), for those who write producers and consumers in other languages."""

from typing import Any

from pydantic import TypeAdapter

from licmeter.schemas.alerts import Breach, UsageAlert
from licmeter.schemas.authorizations import AuthorizationEvent
from licmeter.schemas.catalog import CatalogEvent, Organization
from licmeter.schemas.counters import ItemCounters, OrganizationCounters
from licmeter.schemas.replays import AnyRecord
from licmeter.schemas.reports import UsageReportEvent
from licmeter.schemas.verdicts import VERDICT_TYPE, Verdict

__all__ = ["json_schemas"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of each contract by name; the same contracts always give the same schemas.

    Of breaches, usage alerts and verdicts it is the schema of `data`. Blocks of `usage.attributed` are Arrow
    (`schemas.attribution.SCHEMA`), and rejects are the original bytes.
    """
    contracts: dict[str, Any] = {
        "license.usage.report.v1": UsageReportEvent,
        "license.authorization.v1": AuthorizationEvent,
        "license.catalog.v1": CatalogEvent,
        "license.breach.v1": Breach,
        "license.usage.alert.v1": UsageAlert,
        VERDICT_TYPE: Verdict,
        "organization": Organization,
        "license.counters.item": ItemCounters,
        "license.counters.organization": OrganizationCounters,
        "usage.replays": AnyRecord,
    }
    return {
        name: {"$schema": _DIALECT, "$id": f"urn:licmeter:{name}"} | TypeAdapter(contract).json_schema()
        for name, contract in contracts.items()
    }
