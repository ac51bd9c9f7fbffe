"""Reads a scenario, and says all that is wrong with it at once, each mistake with its path."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from licmeter.producers.errors import ProducerError
from licmeter.producers.simulation.scenario import UNKNOWN_ORGANIZATION
from licmeter.producers.simulation.world.domains import domain_of
from licmeter.producers.simulation.world.scenario import BAD_KINDS, DEVICES_MAX, WorldScenario
from licmeter.schemas.catalog_rules import document_mistakes

__all__ = ["ScenarioError", "read_scenario"]

Mistake = tuple[str, str]  # path and sentence


class ScenarioError(ProducerError):
    """A scenario cannot be run; `mistakes` names each, with its path."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


def read_scenario(document: Any) -> WorldScenario:
    """Check a scenario given as plain values. Raises `ScenarioError`."""
    mistakes: list[str] = []
    scenario = None
    try:
        scenario = WorldScenario.model_validate(document)
    except ValidationError as error:
        mistakes += [
            _sentence(_path(each["loc"]), each["msg"].removeprefix("Value error, "))
            for each in error.errors(include_url=False, include_context=False)
        ]
    if isinstance(document, Mapping):
        mistakes += [_sentence(path, sentence) for path, sentence in _between(document)]
    if scenario is None or mistakes:
        raise ScenarioError(list(dict.fromkeys(mistakes)))
    return scenario


def _path(location: Sequence[int | str]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.lstrip(".")


def _sentence(path: str, sentence: str) -> str:
    return f"{path}: {sentence}" if path else sentence


def _between(document: Mapping[str, Any]) -> Iterator[Mistake]:
    """Look at what must hold between entries; what is ill-formed is skipped, the model's own errors name it."""
    organizations = _entries(document, "organizations")
    names = Counter(each.get("organization_id") for each in organizations)
    for name, times in names.items():
        if isinstance(name, str) and times > 1:
            yield "organizations", f"{name} stands {times} times"
    if UNKNOWN_ORGANIZATION in names:
        yield "organizations", f"{UNKNOWN_ORGANIZATION} is the name of an organization that must not be known"
    count = 0
    for number, organization in enumerate(organizations):
        counts = [group.get("count") for group in _entries(organization, "devices")]
        count += sum(each for each in counts if isinstance(each, int))
        for path, sentence in _in_organization(organization, document.get("duration_hours")):
            yield f"organizations[{number}]{'.' if path else ''}{path}", sentence
    if count > DEVICES_MAX:
        yield "organizations", f"{count} devices in all; at most {DEVICES_MAX}"
    yield from _shares(document)


def _shares(document: Mapping[str, Any]) -> Iterator[Mistake]:
    bad = document.get("bad_clients")
    if isinstance(bad, Mapping):
        for kind in bad:
            if isinstance(kind, str) and kind not in {each.value for each in BAD_KINDS}:
                yield f"bad_clients.{kind}", f"is none of {', '.join(sorted(BAD_KINDS))}"
        if sum(share for share in bad.values() if isinstance(share, int | float)) > 1:
            yield "bad_clients", "more than one bad record for each report"
    clocks = document.get("clocks")
    if isinstance(clocks, Mapping):
        shares = [clocks.get(name, 0) for name in ("off_share", "skewed_share", "ahead_share")]
        if sum(share for share in shares if isinstance(share, int | float)) > 1:
            yield "clocks", "the shares are more than all devices"


def _in_organization(organization: Mapping[str, Any], hours: Any) -> Iterator[Mistake]:
    """Run the catalog's own rules, and those on devices and changes."""
    for path, sentence in document_mistakes(_as_catalog(organization)):
        yield path.removeprefix("license_files[0]."), sentence
    projects = _entries(organization, "projects")
    names = Counter(project.get("name") for project in projects)
    for name, times in names.items():
        if isinstance(name, str) and times > 1:
            yield "projects", f"{name} stands {times} times"
    if sum(project.get("default") is True for project in projects) > 1:
        yield "projects", "only one can be the default"
    for number, group in enumerate(_entries(organization, "devices")):
        project = group.get("project")
        if isinstance(project, str) and project not in names:
            yield f"devices[{number}].project", f"no project {project}"
        default = next((each for each in projects if each.get("name") == project), {}).get("default")
        if group.get("names_organization_only") is True and default is not True:
            yield f"devices[{number}].names_organization_only", "its project must be the default one"
    known = [item.get("item_id") for item in _entries(organization, "items")]
    for number, change in enumerate(_entries(organization, "changes")):
        if isinstance(change.get("item_id"), str) and change["item_id"] not in known:
            yield f"changes[{number}].item_id", f"no item {change['item_id']}"
        ago = change.get("hours_ago")
        if isinstance(ago, int | float) and isinstance(hours, int | float) and ago > hours:
            yield f"changes[{number}].hours_ago", "is before the run"
    yield from _domains(organization)


def _domains(organization: Mapping[str, Any]) -> Iterator[Mistake]:
    """Hold the number of domains against the quota (O3; decision 8, G14)."""
    suffixes = [each for each in organization.get("platform_suffixes") or () if isinstance(each, str)]
    for number, item in enumerate(_entries(organization, "items")):
        if item.get("charge_way") != "per_domain":
            continue
        domains = {domain_of(each, suffixes) for each in item.get("domains") or () if isinstance(each, str)}
        stated = item.get("quota")
        quota = stated if isinstance(stated, int) else 1
        if len(domains) > quota:
            yield f"items[{number}].domains", f"{len(domains)} domains, and the quota is {quota}"


def _as_catalog(organization: Mapping[str, Any]) -> dict[str, Any]:
    """Put what the catalog's rules look at where they look for it; relative instants are the item's own concern."""
    items = [
        {**item, "validation_fields": [{"kind": "domain"} for _ in item.get("domains") or ()]}
        if isinstance(item.get("domains"), list | tuple)
        else item
        for item in _entries(organization, "items")
    ]
    projects = [
        {name: project.get(name) for name in ("item_ids", "usage_order")}
        for project in _entries(organization, "projects")
    ]
    return {"license_files": [{"license_id": "L1", "items": items}], "projects": projects}


def _entries(document: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Return a list's entries as mappings; what is none becomes an empty one, so that places stay right."""
    found = document.get(name)
    if not isinstance(found, list | tuple):
        return []
    return [entry if isinstance(entry, Mapping) else {} for entry in found]
