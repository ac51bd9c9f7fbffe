"""What a client is told; everything is checked at once, where the application starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from licmeter.producers.client.recorder import SLOT_SECONDS
from licmeter.producers.client.tally import encode_attributes
from licmeter.schemas.catalog import OrganizationId, ProjectId
from licmeter.schemas.license_keys import parse_license_key
from licmeter.schemas.reports import Validation

__all__ = ["ClientOptions", "OptionsError"]

#: 30 days of 480 reports a day have some 6 MB.
SPOOL_BYTES_MAX: Final = 64 * 1024 * 1024
#: The server takes nothing older (domain, L3).
SPOOL_DAYS_MAX: Final = 30
INSTANCES_MAX: Final = 1_000_000
ATTRIBUTE_CHARS_MAX: Final = 128


class OptionsError(ValueError):
    """Options that cannot be used; `mistakes` names each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """Options of a client. Either `url` and `license_key`, or `kafka` and `project_id` (or `organization_id`)."""

    url: str | None = None
    license_key: str | None = None
    session_password: str | None = None
    kafka: str | None = None
    project_id: str | None = None
    organization_id: str | None = None
    spool: Path | str | None = None
    client_uuid: str | None = None
    product: str | None = None
    version: str | None = None
    edition: str | None = None
    deployment_type: str | None = None
    validation: tuple[str, str] | None = None
    instances: int = 1
    retry_in_session: bool = False
    submit_interval_s: float = SLOT_SECONDS
    request_timeout_s: float = 30.0
    exit_timeout_s: float = 3.0
    spool_bytes_max: int = SPOOL_BYTES_MAX
    spool_days_max: float = SPOOL_DAYS_MAX

    def __post_init__(self) -> None:
        mistakes = [*self._where(), *self._values()]
        if mistakes:
            raise OptionsError(mistakes)

    def _where(self) -> list[str]:
        mistakes = []
        if (self.url is None) == (self.kafka is None):
            mistakes.append("url or kafka: one of them says where reports go")
        if self.url is not None and urlsplit(self.url).scheme not in ("http", "https"):
            mistakes.append("url: begins with http:// or https://")
        if self.url is not None and (self.license_key is None or parse_license_key(self.license_key) is None):
            mistakes.append("license_key: lmk_… as `licmeter keys create` printed it")
        if self.kafka is not None and self.project_id is None and self.organization_id is None:
            mistakes.append("project_id or organization_id: a broker does not know whose reports these are")
        for name, contract in (("project_id", ProjectId), ("organization_id", OrganizationId), ("validation", None)):
            value = getattr(self, name)
            if value is not None and not _fits(contract, value):
                mistakes.append(f"{name}: is not well-formed")
        return mistakes

    def _values(self) -> list[str]:
        mistakes = []
        for name in ("product", "version", "edition", "deployment_type", "client_uuid"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and 0 < len(value) <= ATTRIBUTE_CHARS_MAX):
                mistakes.append(f"{name}: a text of 1 to {ATTRIBUTE_CHARS_MAX} characters")
        for name in ("submit_interval_s", "request_timeout_s", "spool_bytes_max", "spool_days_max"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or value <= 0:
                mistakes.append(f"{name}: a number above 0")
        if type(self.instances) is not int or not 1 <= self.instances <= INSTANCES_MAX:
            mistakes.append(f"instances: 1 to {INSTANCES_MAX:,}")
        return mistakes

    @property
    def folder(self) -> Path | None:
        """Where the spool is; None = in memory only."""
        return None if self.spool is None else Path(self.spool).expanduser()

    @property
    def attributes(self) -> str:
        """What all reports of this program say of it."""
        found: Mapping[str, Any] = {
            "project_id": self.project_id,
            "organization_id": None if self.project_id else self.organization_id,
            "product": self.product,
            "version": self.version,
            "edition": self.edition,
            "deployment_type": self.deployment_type,
            "validation": None
            if self.validation is None
            else dict(zip(("kind", "value"), self.validation, strict=True)),
        }
        return encode_attributes({name: value for name, value in found.items() if value is not None})


def _fits(contract: Any, value: Any) -> bool:
    try:
        if contract is None:
            TypeAdapter(Validation).validate_python(dict(zip(("kind", "value"), value, strict=True)))
        else:
            TypeAdapter(contract).validate_python(value)
    except (ValidationError, ValueError, TypeError):
        return False
    return True
