"""`license.counters`: the latest absolute state of each item and of each organization.

Absolute values with the offset that they include: a repeat is harmless and the highest `applied_offset` wins.
"""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from licmeter.schemas.outcomes import ChargeWay, ItemState

__all__ = ["CounterRecord", "ItemCounters", "OrganizationCounters", "parse_counters"]


class _Counters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    organization_id: str
    source_partition: int
    applied_offset: int
    updated_at: AwareDatetime


class ItemCounters(_Counters):
    """An item: `in_quota + in_grace + over = used`, of cumulative items (domain, C3)."""

    kind: Literal["item"] = "item"
    item_id: str
    charge_way: ChargeWay
    quota: int | None
    used: int
    in_quota: int
    in_grace: int
    over: int
    attributed: int = Field(default=0, description="all units attributed to the item, of any charge way")
    active: int = Field(default=0, description="device items: live seats")
    consumed: int = Field(default=0, description="concurrency items: exceptions of the budget year")
    budget: int | None = Field(default=None, description="concurrency items: exceptions that a budget year tolerates")
    budget_year: int | None = Field(default=None, description="concurrency items: which one, from 0")
    percent: str | None = Field(
        description="used or active of the quota, consumed of the budget; half up to two decimals; null without"
    )
    state: ItemState
    in_expiry_grace: bool = False

    @property
    def key(self) -> bytes:
        """The key on the topic."""
        return f"{self.organization_id}/{self.item_id}".encode()


class OrganizationCounters(_Counters):
    """An organization's reports and authorizations by outcome; they add up to what was received."""

    kind: Literal["organization"] = "organization"
    charged: int
    uncharged: int
    duplicate: int
    rejected: int
    granted: int = Field(default=0, description="authorizations")
    refused: int = 0
    notices_withheld: int = Field(
        default=0, description="breach events not given, beyond the bound of one organization and day"
    )

    @property
    def key(self) -> bytes:
        """The key on the topic; records that name no known organization are counted per partition."""
        return f"{self.organization_id or f'#{self.source_partition}'}/".encode()


CounterRecord = Annotated[ItemCounters | OrganizationCounters, Field(discriminator="kind")]

#: Validate one record's value; raises `pydantic.ValidationError`.
parse_counters = TypeAdapter[ItemCounters | OrganizationCounters](CounterRecord).validate_json
