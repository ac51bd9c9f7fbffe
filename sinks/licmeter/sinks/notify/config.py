"""Who is told of what: the document of targets, checked as a whole.

Secrets need not stand in it: `…_env` names an environment variable, `…_file` a file.
"""

from collections.abc import Mapping
from email.utils import parseaddr
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from licmeter.metering.recipients import parse_recipients
from licmeter.schemas.alerts import RecipientLists
from licmeter.schemas.catalog import Recipients
from licmeter.schemas.outcomes import BreachKind
from licmeter.sinks.notify.addresses import is_address
from licmeter.sinks.notify.wording import Words

__all__ = [
    "ALL_ORGANIZATIONS",
    "AppriseTarget",
    "ConfigError",
    "EmailTarget",
    "NotifyConfig",
    "SmtpServer",
    "Target",
    "WebhookTarget",
    "parse_config",
]

ALL_ORGANIZATIONS: Final = "*"
#: Each target is a consumer group with connections of its own. Beyond, run several processes, each with some targets.
TARGETS_MAX: Final = 200
SECRET_BYTES_MAX: Final = 64 * 1024
_PORTS: Final = {"none": 25, "starttls": 587, "tls": 465}

Seconds = Annotated[float, Field(gt=0)]


class ConfigError(Exception):
    """The document is wrong; `mistakes` names each with its path, and holds nothing of what stood there."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


class _Section(BaseModel):
    # What is refused may be a secret, so errors do not show it.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _Target(_Section):
    """What all kinds of targets have."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    organizations: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        (ALL_ORGANIZATIONS,), description="whose events; * = all"
    )
    breaches: Literal["all", "none"] | tuple[BreachKind, ...] = "all"
    usage_alerts: bool = True
    level_min: Annotated[int, Field(ge=0)] = Field(
        0, description="percent; conditions of usage alerts below are left out"
    )
    enabled: bool = True
    timeout_s: Annotated[float, Field(gt=0, le=120)] = Field(15.0, description="of one attempt, all in all")
    concurrency: Annotated[int, Field(ge=1, le=64)] = Field(4, description="attempts at a time")
    attempts_max: Annotated[int, Field(ge=1, le=1_000)] = 20
    give_up_after_s: Seconds = 6 * 3600.0
    retry_wait_s_max: Seconds = 300.0
    circuit_failures_max: Annotated[int, Field(ge=1)] = Field(5, description="in a row; then the circuit opens")
    circuit_open_s: Seconds = Field(30.0, description="at first; doubles with each probe that fails")
    circuit_open_s_max: Seconds = 600.0
    first_read_s: Annotated[float, Field(ge=0)] = Field(3600.0, description="how far back a new target begins to read")

    @property
    def kinds(self) -> frozenset[BreachKind]:
        """The kinds of breaches that are wanted."""
        if isinstance(self.breaches, str):
            return frozenset(BreachKind) if self.breaches == "all" else frozenset()
        return frozenset(self.breaches)

    def wants_organization(self, organization_id: str) -> bool:
        """Tell whether events of an organization are wanted."""
        return ALL_ORGANIZATIONS in self.organizations or organization_id in self.organizations


class _PeopleTarget(_Target):
    """A target that people read: breaches of one kind come together, in words."""

    concurrency: Annotated[int, Field(ge=1, le=8)] = Field(1, description="each attempt is a process of its own")

    digest_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        60.0, description="breaches of an organization and kind within make one message; 0 = each its own"
    )
    digest_s_max: Annotated[float, Field(ge=0, le=86_400)] = Field(
        3600.0, description="the window doubles up to this while they keep coming"
    )
    words: Mapping[BreachKind | Literal["usage_alert"], Words] = Field(
        default_factory=dict, description="own subjects and advice by kind"
    )


class AppriseTarget(_PeopleTarget):
    """Slack, Teams and whatever else apprise knows."""

    kind: Literal["apprise"]
    url: SecretStr


class SmtpServer(_Section):
    """Where mail is handed over."""

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=0, le=65535)] = Field(0, description="0 = the usual one of the security")
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = Field(None, description="certificates to trust instead of the system's")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if self.password is not None and self.security == "none" and not _is_loopback(self.host):
            raise ValueError("a password needs security starttls or tls: it would travel in the clear")
        return self

    @property
    def real_port(self) -> int:
        """The port."""
        return self.port or _PORTS[self.security]


class EmailTarget(_PeopleTarget):
    """E-mail. Usage alerts go to the organization's own recipients (W10), breaches to those that stand here."""

    kind: Literal["email"]
    smtp: SmtpServer
    sender: str = Field(alias="from")
    to: str = Field("", description="addresses, divided by ;")
    cc: str = ""
    bcc: str = ""
    use_alert_recipients: bool = Field(True, description="False: usage alerts, too, go to those that stand here")

    @field_validator("sender")
    @classmethod
    def _check_sender(cls, value: str) -> str:
        _address(parseaddr(value)[1])
        return value

    @model_validator(mode="after")
    def _check_recipients(self) -> Self:
        if not any((self.to, self.cc, self.bcc)):
            if self.breaches != "none" and "breaches" in self.model_fields_set:
                raise ValueError("breaches have no recipients of their own: give `to`, or set breaches to none")
            if not self.use_alert_recipients:
                raise ValueError("nobody to send to: give `to`, or leave use_alert_recipients on")
            return self
        lists, mistakes = parse_recipients(Recipients(to=self.to or ";", cc=self.cc, bcc=self.bcc))
        for address in (*lists.to, *lists.cc, *lists.bcc):
            _address(address)
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    @property
    def sender_address(self) -> str:
        """The address of `from`, without a name."""
        return parseaddr(self.sender)[1]

    @property
    def recipients(self) -> RecipientLists:
        """Those that stand here; empty when nobody does."""
        return parse_recipients(Recipients(to=self.to or ";", cc=self.cc, bcc=self.bcc))[0]

    @property
    def kinds(self) -> frozenset[BreachKind]:
        """Without recipients of its own it takes no breaches."""
        return super().kinds if self.recipients.to else frozenset()


class WebhookTarget(_Target):
    """A receiver of Standard Webhooks: every event in a request of its own, signed."""

    kind: Literal["webhook"]
    url: SecretStr
    secret: SecretStr = Field(description="whsec_…; several, divided by white space, while they are changed")
    public_only: bool = Field(False, description="refuse addresses that are not public (for receivers others name)")

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("is no http or https URL")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise ValueError("must be https, but for this machine: alerts would travel in the clear")
        return value

    @field_validator("secret")
    @classmethod
    def _check_secret(cls, value: SecretStr) -> SecretStr:
        from standardwebhooks import Webhook

        words = value.get_secret_value().split()
        if not words:
            raise ValueError("is empty")
        for word in words:
            try:
                key = Webhook(word)
            except Exception:
                raise ValueError("is no Standard Webhooks secret (whsec_ and base64)") from None
            if len(key._whsecret) < 24:
                raise ValueError("has less than 24 bytes (Standard Webhooks asks for 24 to 64)")
        return value

    @property
    def secrets(self) -> list[str]:
        """The secrets that sign."""
        return self.secret.get_secret_value().split()


Target = Annotated[AppriseTarget | EmailTarget | WebhookTarget, Field(discriminator="kind")]


class NotifyConfig(_Section):
    """The document."""

    targets: Annotated[tuple[Target, ...], Field(min_length=1, max_length=TARGETS_MAX)]

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [target.name for target in self.targets]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"names of targets must differ: {', '.join(twice)}")
        return self


def parse_config(document: Any, environment: Mapping[str, str], folder: Path) -> NotifyConfig:
    """Check a document and put its secrets in; raises `ConfigError`. Files are found from `folder`."""
    mistakes: list[str] = []
    resolved = _resolve(document, environment, folder, (), mistakes)
    known = {mistake.partition(":")[0].rpartition("_")[0] for mistake in mistakes}
    try:
        config = NotifyConfig.model_validate(resolved)
    except ValidationError as error:
        for mistake in error.errors():
            path = _path(mistake["loc"])
            # A list is also too short when its entries were refused.
            short = mistake["type"] == "too_short" and mistake["input"]
            if not short and (mistake["type"] != "missing" or path not in known):
                mistakes.append(f"{path}: {mistake['msg'].removeprefix('Value error, ')}")
    if mistakes:
        # Without the cause: it holds the document.
        raise ConfigError(mistakes) from None
    return config


def _path(place: tuple[int | str, ...]) -> str:
    """Write a place as in the document; a union puts the kind of a target in between, which is left out."""
    parts = [part for number, part in enumerate(place) if not (number == 2 and part in ("apprise", "email", "webhook"))]
    return ".".join(str(part) for part in parts) or "document"


def _resolve(
    node: Any, environment: Mapping[str, str], folder: Path, place: tuple[int | str, ...], mistakes: list[str]
) -> Any:
    """Replace `url_env: NAME` and `url_file: PATH` by `url: value`, wherever they stand."""
    if isinstance(node, list):
        return [_resolve(each, environment, folder, (*place, n), mistakes) for n, each in enumerate(node)]
    if not isinstance(node, Mapping):
        return node
    result: dict[Any, Any] = {}
    for key, value in node.items():
        name, _, source = str(key).rpartition("_")
        if name not in ("url", "secret", "password") or source not in ("env", "file"):
            result[key] = _resolve(value, environment, folder, (*place, key), mistakes)
            continue
        if name in node or name in result:
            mistakes.append(f"{_path((*place, key))}: {name} is given twice")
            continue
        try:
            result[name] = _read(source, str(value), environment, folder)
        except ValueError as error:
            mistakes.append(f"{_path((*place, key))}: {error}")
            result[name] = None
    return {key: value for key, value in result.items() if value is not None}


def _read(source: str, value: str, environment: Mapping[str, str], folder: Path) -> str:
    if source == "env":
        if not environment.get(value):
            raise ValueError(f"the environment has no {value}")
        return environment[value]
    try:
        with (folder / value).open("rb") as file:
            content = file.read(SECRET_BYTES_MAX).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{value} cannot be read: {getattr(error, 'strerror', None) or 'no text'}") from None
    if not content:
        raise ValueError(f"{value} is empty")
    return content


def _address(text: str) -> None:
    """Raise `ValueError` for what is no address."""
    if not is_address(text):
        raise ValueError(f"{text!r} is no address")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
