"""What must hold between the fields of a document, over plain values: so that all mistakes can be said at once.

A model can only be asked when every field is well-formed. These rules look at whatever is there, and skip what is
ill-formed, which the model's own errors name.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from licmeter.schemas.outcomes import CONCURRENCY, SEATED, ActivityPeriod, ChargeWay

__all__ = ["Mistake", "document_mistakes", "item_mistakes", "link_mistakes"]

Mistake = tuple[str, str]  # path and sentence

_WAYS: Final = frozenset(way.value for way in ChargeWay)


def document_mistakes(document: Mapping[str, Any]) -> Iterator[Mistake]:
    """Yield every mistake between fields of an organization document, with its path."""
    for path, item in _items(document):
        for sentence in item_mistakes(item):
            yield path, sentence
    yield from link_mistakes(document)


def item_mistakes(item: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong between the fields of one item."""
    way, period, budget = item.get("charge_way"), item.get("activity_period"), item.get("overuse_budget")
    starts, expires = _instant(item.get("starts_at")), _instant(item.get("expires_at"))
    if starts is not None and expires is not None and expires <= starts:
        yield "expires_at must be later than starts_at"
    if not isinstance(way, str) or way not in _WAYS:
        return
    if way == ChargeWay.PER_DEVICE and period is None:
        yield "a per_device item needs activity_period: yearly, quarterly, monthly or daily"
    if way == ChargeWay.PER_SERVER and period not in (None, ActivityPeriod.YEARLY):
        yield "a per_server item is yearly (S2)"
    if way not in SEATED and period is not None:
        yield f"activity_period belongs to device items, not to {way}"
    if way not in CONCURRENCY and budget is not None:
        yield f"overuse_budget belongs to concurrency items, not to {way}"
    kinds = [field.get("kind") for field in _mappings(item.get("validation_fields"))]
    if way == ChargeWay.PER_DOMAIN and "domain" not in kinds:
        yield "a per_domain item names its domain: validation_fields: [{kind: domain, value: example.org}]"


def link_mistakes(document: Mapping[str, Any]) -> Iterator[Mistake]:
    """Yield ids that stand twice, and names of what does not exist."""
    items = [(path, item.get("item_id")) for path, item in _items(document)]
    projects = [(f"projects[{number}]", project) for number, project in enumerate(_mappings(document.get("projects")))]
    files = [file.get("license_id") for file in _mappings(document.get("license_files"))]
    yield from _repeated("item", [name for _, name in items])
    yield from _repeated("project", [project.get("project_id") for _, project in projects])
    yield from _repeated("license file", files)
    yield from _repeated("license key", [key.get("key_id") for _, project in projects for key in _keys(project)])
    known = {name for _, name in items if isinstance(name, str)}
    for path, project in projects:
        yield from _project_mistakes(path, project, known, document.get("organization_id"))
    default = document.get("default_project_id")
    if default is not None and default not in [project.get("project_id") for _, project in projects]:
        yield "default_project_id", f"no project {default}"


def _project_mistakes(path: str, project: Mapping[str, Any], items: set[str], owner: Any) -> Iterator[Mistake]:
    name, ids, order = project.get("project_id"), _texts(project.get("item_ids")), _texts(project.get("usage_order"))
    if isinstance(name, str) and isinstance(owner, str) and not name.startswith(f"{owner}-"):
        yield f"{path}.project_id", f"{name} must begin with {owner}-"
    for field, names in (("item_ids", ids), ("usage_order", order)):
        for twice in (each for each, times in Counter(names).items() if times > 1):
            yield f"{path}.{field}", f"names {twice} twice"
    for missing in dict.fromkeys(each for each in ids if each not in items):
        yield f"{path}.item_ids", f"no item {missing}"
    for foreign in dict.fromkeys(each for each in order if each not in ids):
        yield f"{path}.usage_order", f"names {foreign}, which is not among the project's items"


def _repeated(kind: str, names: list[Any]) -> Iterator[Mistake]:
    for name, times in Counter(name for name in names if isinstance(name, str)).items():
        if times > 1:
            yield "", f"{kind} {name} stands {times} times"


def _items(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for f, file in enumerate(_mappings(document.get("license_files"))):
        for i, item in enumerate(_mappings(file.get("items"))):
            yield f"license_files[{f}].items[{i}]", item


def _keys(project: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return _mappings(project.get("license_keys"))


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    """Return the entries of a list as mappings; what is none becomes an empty one, so that places stay right."""
    if not isinstance(value, list | tuple):
        return []
    return [entry if isinstance(entry, Mapping) else {} for entry in value]


def _texts(value: Any) -> list[str]:
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list | tuple) else []


def _instant(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return value if isinstance(value, datetime) and value.tzinfo is not None else None
