"""The usage report once more, as msgspec reads it: several times faster than the contract, and never laxer.

The contract is `reports`; it has the last word. What is refused here goes there for a verdict and a reason,
so a refusal too many costs time and nothing else. Hence:

* Unknown fields are refused: msgspec skips them without looking at their UTF-8 or their depth.
* Instants and ids with a pattern stay text: msgspec takes instants without a zone and rounds fractions that
  the contract cuts off, and the two regex engines differ in what a space is. Who reads them asks the contract.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct
from msgspec.json import Decoder

from licmeter.schemas.reports import FEATURES_MAX

__all__ = ["FastReport", "FastReportData", "FastValidation", "parse_fast"]

#: More than an instant of any use has; the contract takes longer ones too.
_Instant = Annotated[str, Meta(max_length=40)]
_Feature = Annotated[str, Meta(min_length=1, max_length=128)]


# gc=False: nothing in a report can point back to it, and fewer objects for the collector to walk.
class FastValidation(Struct, gc=False, forbid_unknown_fields=True):
    """See `reports.Validation`."""

    kind: Annotated[str, Meta(min_length=1, max_length=32)]
    value: Annotated[str, Meta(min_length=1, max_length=256)]


class FastReportData(Struct, gc=False, forbid_unknown_fields=True):
    """See `reports.UsageReportData`."""

    counts: Annotated[dict[_Feature, int], Meta(max_length=FEATURES_MAX)]
    total: int | None = None
    product: str | None = None
    version: str | None = None
    edition: str | None = None
    deployment_type: str | None = None
    instances: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    validation: FastValidation | None = None
    usage_kind: Literal["use", "reservation"] | None = None
    sent_at: _Instant | None = None
    attempt: Annotated[int, Meta(ge=1)] | None = None
    dropped_reports: Annotated[int, Meta(ge=0)] | None = None
    dropped_units: Annotated[int, Meta(ge=0)] | None = None


class FastReport(Struct, gc=False, forbid_unknown_fields=True):
    """See `reports.UsageReportEvent`."""

    specversion: Literal["1.0"]
    type: Literal["license.usage.report.v1"]
    id: Annotated[str, Meta(min_length=1, max_length=64)]
    source: Annotated[str, Meta(min_length=1, max_length=128)]
    time: _Instant
    data: FastReportData
    subject: str | None = None
    organizationid: str | None = None
    datacontenttype: str | None = None


#: Read one report from bytes; raises a `ValueError` for what msgspec does not take, which may be good all the same.
parse_fast: Final = Decoder(FastReport).decode
