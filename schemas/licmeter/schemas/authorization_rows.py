"""Rows of authorizations on `usage.attributed`: blocks like those of reports, told apart by the record's key.

A row says who asked when for leave to run and what was answered. Its identity is `(source_partition,
source_offset)`; the same event always gives the same row.
"""

from typing import Final

import pyarrow as pa

__all__ = ["AUTHORIZATIONS_KEY", "AUTHORIZATION_SCHEMA"]

_WORD = pa.dictionary(pa.int32(), pa.string())

#: The key of a record that holds authorizations; blocks of reports have none.
AUTHORIZATIONS_KEY: Final = b"authorizations"
AUTHORIZATION_SCHEMA: Final = pa.schema(
    [
        ("organization_id", _WORD),
        ("project_id", _WORD),  # "" = none was named, and there is no default
        ("item_id", _WORD),  # "" = refused
        ("client_uuid", pa.string()),
        ("auth_id", pa.string()),
        ("at", pa.timestamp("ms", tz="UTC")),  # the instant of the request
        ("outcome", _WORD),  # granted, refused, duplicate
        ("code", _WORD),  # slug of domain section 12; "" = granted
        ("code_number", pa.uint16()),
        ("agrees", pa.bool_()),  # the recorded answer is the stream's verdict
        ("charge_way", _WORD),  # asked for: "auto" or one
        ("feature", _WORD),
        ("product", _WORD),
        ("version", _WORD),
        ("edition", _WORD),
        ("deployment_type", _WORD),
        ("requested_instances", pa.uint32()),
        ("local_expires_at", pa.timestamp("ms", tz="UTC")),  # 1970 = refused
        ("received_at", pa.timestamp("ms", tz="UTC")),
        ("source_partition", pa.uint16()),
        ("source_offset", pa.uint64()),
    ]
)
