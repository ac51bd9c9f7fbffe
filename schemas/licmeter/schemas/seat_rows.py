"""Rows of seats on `usage.attributed`: who holds a seat of a device item, through which project, from when to when.

Blocks like those of reports, told apart by the record's key. A row says of one life of a seat what a batch of the
stream saw of it. Rows of one identity `(organization_id, item_id, client_uuid, first_at, project_id)` are merged by the
earliest `since`, the latest `last_contact_at` and the latest `expires_at`: a contact never shortens a seat (decision 8,
G1), so repeats and other bounds of batches give the same seats.
"""

from typing import Final

import pyarrow as pa

__all__ = ["EXPIRES_MS_MAX", "SEATS_KEY", "SEAT_SCHEMA"]

_WORD = pa.dictionary(pa.int32(), pa.string())

#: The key of a record that holds seats; blocks of reports have none.
SEATS_KEY: Final = b"seats"
#: A seat of an item without an end in sight; the tables hold instants up to the year 2299.
EXPIRES_MS_MAX: Final = 9_999_999_999_999
SEAT_SCHEMA: Final = pa.schema(
    [
        ("organization_id", _WORD),
        ("item_id", _WORD),
        ("client_uuid", pa.string()),
        ("first_at", pa.timestamp("ms", tz="UTC")),  # when the seat was taken; a seat that ended and comes back is new
        ("project_id", _WORD),  # "" = a contact without use, which prolongs the seat and belongs to no project
        ("since", pa.timestamp("ms", tz="UTC")),  # of the first contact through the project
        ("last_contact_at", pa.timestamp("ms", tz="UTC")),
        ("expires_at", pa.timestamp("ms", tz="UTC")),
    ]
)
