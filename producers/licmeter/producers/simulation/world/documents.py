"""From a scenario's organization to its catalog document, at the end of the run."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from licmeter.producers.simulation.documents import project_id
from licmeter.producers.simulation.world import scenario as plan
from licmeter.producers.simulation.world.accounts import SLOT_S
from licmeter.schemas.catalog import LicenseFile, LicenseItem, LicenseKey, Organization, Project, ValidationField

__all__ = ["world_document"]

_SLOTS_A_DAY: Final = 480


def world_document(
    organization: plan.Organization,
    end_s: int,
    *,
    quotas: Mapping[str, int | None] | None = None,
    license_key: LicenseKey | None = None,
) -> Organization:
    """Return what the catalog says; `end_s` is the end of the run, `quotas` are those that differ from the scenario's.

    `license_key` opens the first project.
    """
    name, changed = organization.organization_id, quotas or {}
    items = tuple(_item(item, end_s, changed.get(item.item_id, item.quota)) for item in organization.items)
    projects = tuple(
        Project(
            project_id=project_id(name, project.name),
            name=project.name,
            item_ids=project.item_ids,
            usage_order=project.usage_order,
            disabled_at=None if project.disabled_days_ago is None else _instant(end_s, -project.disabled_days_ago),
            license_keys=(license_key,) if license_key is not None and not number else (),
        )
        for number, project in enumerate(organization.projects)
    )
    default = next((project.name for project in organization.projects if project.default), None)
    return Organization(
        organization_id=name,
        name=organization.name,
        default_project_id=None if default is None else project_id(name, default),
        license_files=(LicenseFile(license_id="L1", items=items),) if items else (),
        projects=projects,
        platform_suffixes=organization.platform_suffixes,
    )


def _item(item: plan.Item, end_s: int, quota: int | None) -> LicenseItem:
    revoked = item.revoked_days_ago
    return LicenseItem(
        item_id=item.item_id,
        description=item.description,
        charge_way=item.charge_way,
        quota=quota,
        starts_at=_instant(end_s, -item.starts_days_ago),
        expires_at=_instant(end_s, item.expires_in_days),
        expiry_grace_days=item.expiry_grace_days,
        revoked_at=None if revoked is None else _instant(end_s, -revoked),
        modules=item.modules,
        product=item.product,
        version=item.version,
        edition=item.edition,
        deployment_type=item.deployment_type,
        activity_period=item.activity_period,
        overuse_budget=item.overuse_budget,
        validation_fields=tuple(ValidationField(kind="domain", value=each) for each in item.domains),
    )


def _instant(end_s: int, days: float) -> datetime:
    """Return the start of a slot: so no end is 23:59:59, which means another instant (domain, section 2)."""
    return datetime.fromtimestamp(end_s + round(days * _SLOTS_A_DAY) * SLOT_S, UTC)
