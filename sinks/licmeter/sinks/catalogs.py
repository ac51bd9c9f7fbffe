"""`license.catalog`: an organization's current document, as a row; secrets and addresses stay on the topic."""

from typing import Any, Final

import pyarrow as pa

from licmeter.schemas.catalog import Organization
from licmeter.sinks.rows import Row, RowTable

__all__ = ["CATALOGS_TABLE", "catalog_row"]

CATALOGS_TABLE: Final = RowTable(
    "catalogs", [("organization_id", pa.string()), ("document", pa.string()), ("version", pa.uint64())]
)
_KEPT_BACK: Final[dict[str, Any]] = {
    "projects": {"__all__": {"license_keys", "session_password_hash"}},
    "alerts": {"recipients"},
}


def catalog_row(value: bytes, offset: int) -> Row:
    """Return the row of one record's value; raises `pydantic.ValidationError` for anything else than a document.

    The offset on the topic is the version: of two documents the later one is in force.
    """
    document = Organization.model_validate_json(value)
    text = document.model_dump_json(exclude=_KEPT_BACK, exclude_defaults=True)
    return CATALOGS_TABLE.row({"organization_id": document.organization_id, "document": text, "version": offset})
