"""What is wrong with a document beyond its form: what takes the domain's rules to see."""

from licmeter.metering.domains import DOMAIN_KIND, domain_key
from licmeter.schemas.catalog import Organization
from licmeter.schemas.outcomes import ChargeWay

__all__ = ["catalog_mistakes"]


def catalog_mistakes(document: Organization) -> list[str]:
    """Return every mistake, with its path (decision 8, G14)."""
    mistakes = []
    for f, file in enumerate(document.license_files):
        for i, item in enumerate(file.items):
            if item.charge_way is not ChargeWay.PER_DOMAIN:
                continue
            hosts = [field.value for field in item.validation_fields if field.kind == DOMAIN_KIND]
            keys = {domain_key(host, document.platform_suffixes) for host in hosts}
            if len(keys) > (item.quota or 1):
                mistakes.append(
                    f"license_files[{f}].items[{i}].validation_fields: {len(keys)} different domains"
                    f" ({', '.join(sorted(keys))}), the quota is {item.quota or 1}"
                )
    return mistakes
