"""From an organization's plan to its catalog document."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from licmeter.producers.simulation.scenario import CatalogChange, OrganizationPlan
from licmeter.schemas.catalog import LicenseFile, LicenseItem, Organization, Project

__all__ = ["changed_plan", "organization_document", "project_id"]

#: Well before the oldest slot that is accepted, so that every report meets valid items.
_STARTED_DAYS_AGO: Final = 120


def project_id(organization_id: str, name: str) -> str:
    """Return the id of a project."""
    return f"{organization_id}-{name}"


def organization_document(plan: OrganizationPlan, now: datetime) -> Organization:
    """Return what the catalog says of an organization."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    items = tuple(
        LicenseItem(
            item_id=item.item_id,
            charge_way=item.charge_way,
            quota=item.quota,
            starts_at=midnight - timedelta(days=_STARTED_DAYS_AGO),
            expires_at=midnight + timedelta(days=item.expires_in_days),
            modules=item.modules,
        )
        for item in plan.items
    )
    projects = tuple(
        Project(
            project_id=project_id(plan.organization_id, project.name),
            item_ids=project.item_ids,
            usage_order=project.usage_order,
        )
        for project in plan.projects
    )
    default = next((project.name for project in plan.projects if project.as_default), None)
    return Organization(
        organization_id=plan.organization_id,
        name=plan.name,
        default_project_id=None if default is None else project_id(plan.organization_id, default),
        license_files=(LicenseFile(license_id="L1", items=items),) if items else (),
        projects=projects,
    )


def changed_plan(plan: OrganizationPlan, change: CatalogChange) -> OrganizationPlan:
    """Return the plan with the new quota."""
    items = tuple(replace(item, quota=change.quota) if item.item_id == change.item_id else item for item in plan.items)
    return replace(plan, items=items)
