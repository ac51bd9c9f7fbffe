"""What a client is told; everything is checked at once, where the application starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from pydantic import TypeAdapter, ValidationError

from licmeter.producers.client.recorder import SLOT_SECONDS
from licmeter.producers.client.reports import INSTANCES_MAX
from licmeter.producers.client.tally import encode_attributes
from licmeter.schemas.catalog import OrganizationId, ProjectId
from licmeter.schemas.license_keys import parse_license_key
from licmeter.schemas.reports import Validation
from licmeter.schemas.session_passwords import password_mistake

__all__ = ["ClientOptions", "OptionsError"]

#: 30 days of 480 reports a day have some 6 MB.
SPOOL_BYTES_MAX: Final = 64 * 1024 * 1024
#: The server takes nothing older (domain, L3).
SPOOL_DAYS_MAX: Final = 30
ATTRIBUTE_CHARS_MAX: Final = 128
PORT_MAX: Final = 65_535
#: Of seconds, days and bytes: above all that is meant seriously, and below what a thread can be waited for.
NUMBER_END: Final = 2**33


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
        if self.url is not None and not _is_address(self.url):
            mistakes.append("url: http:// or https://, and a host")
        if self.url is not None and not (isinstance(self.license_key, str) and parse_license_key(self.license_key)):
            mistakes.append("license_key: lmk_… as `licmeter keys create` printed it")
        if self.kafka is not None and self.project_id is None and self.organization_id is None:
            mistakes.append("project_id or organization_id: a broker does not know whose reports these are")
        if self.session_password is not None:
            mistakes += _password_mistakes(self.session_password)
        if self.spool is not None and not _is_path(self.spool):
            mistakes.append("spool: the path of a folder")
        for name, contract in (("project_id", ProjectId), ("organization_id", OrganizationId), ("validation", None)):
            value = getattr(self, name)
            if value is not None and not _fits(contract, value):
                mistakes.append(f"{name}: is not well-formed")
        return mistakes

    def _values(self) -> list[str]:
        mistakes = []
        for name in ("product", "version", "edition", "deployment_type", "client_uuid"):
            value = getattr(self, name)
            if value is not None and not (_is_text(value) and 0 < len(value) <= ATTRIBUTE_CHARS_MAX):
                mistakes.append(f"{name}: a text of 1 to {ATTRIBUTE_CHARS_MAX} characters")
        positive = ("submit_interval_s", "request_timeout_s", "spool_bytes_max", "spool_days_max")
        bad = [name for name in positive if not _is_number(getattr(self, name)) or getattr(self, name) == 0]
        mistakes += [f"{name}: a number above 0" for name in bad]
        if not _is_number(self.exit_timeout_s):
            mistakes.append("exit_timeout_s: a number, 0 or more")
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


def _is_number(value: Any) -> bool:
    """Tell whether this is a finite number that is not negative, and within anything that is meant seriously."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < NUMBER_END


def _is_text(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(value.encode() or True)
    except UnicodeEncodeError:
        return False


def _is_address(url: Any) -> bool:
    try:
        address = httpx.URL(url)
    except (httpx.InvalidURL, TypeError, ValueError):
        return False
    return address.scheme in ("http", "https") and bool(address.host) and 0 < (address.port or 1) <= PORT_MAX


def _is_path(value: Any) -> bool:
    try:
        return "\0" not in str(Path(value).expanduser())
    except (TypeError, RuntimeError):
        return False


def _password_mistakes(password: Any) -> list[str]:
    mistake = password_mistake(password) if isinstance(password, str) else "a session password is a text"
    return [] if mistake is None else [f"session_password: {mistake}"]


def _fits(contract: Any, value: Any) -> bool:
    try:
        if contract is None:
            TypeAdapter(Validation).validate_python(dict(zip(("kind", "value"), value, strict=True)))
        else:
            TypeAdapter(contract).validate_python(value)
    except (ValidationError, ValueError, TypeError):
        return False
    return True
