"""What a kind of alert means, in one line, and what to do about it; an operator may put own words in their place."""

from collections.abc import Mapping
from dataclasses import dataclass
from string import Template
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from licmeter.schemas.outcomes import BreachKind

__all__ = ["ALERT_ADVICE", "BREACHES", "PLACEHOLDERS", "BreachWords", "Words"]

#: What own words may name, as `$value`.
PLACEHOLDERS: Final = ("organization", "project", "item", "client", "value", "quota", "limit", "percent", "count")


class Words(BaseModel):
    """Own words for one kind of alert; what is not given stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    advice: Annotated[str, Field(min_length=1, max_length=4_000)] | None = None

    @field_validator("subject", "advice")
    @classmethod
    def _check(cls, value: str | None) -> str | None:
        if value is not None:
            template = Template(value)
            unknown = sorted(set(template.get_identifiers()) - set(PLACEHOLDERS))
            if unknown or not template.is_valid():
                wrong = ", ".join(unknown) or "a $ that begins no name ($$ is a dollar)"
                raise ValueError(f"there is no {wrong}; there are {', '.join(PLACEHOLDERS)}")
        return value

    def fill(self, text: str, values: Mapping[str, str]) -> str:
        """Put the values into one of the texts."""
        return Template(text).safe_substitute(dict.fromkeys(PLACEHOLDERS, "-") | dict(values))


@dataclass(frozen=True, slots=True)
class BreachWords:
    """Words for one kind of breach."""

    one: str  # the subject of a single breach; placeholders as above
    many: str  # the subject when there are several
    meaning: str
    #: Whether its figures may still change (what is no figure but a fact stays).
    figures: bool
    advice: tuple[str, ...]


_BUY: Final = (
    "Buy more: a new item in the same project is used as soon as it is valid, and the license key stays the same."
)

BREACHES: Final[Mapping[BreachKind, BreachWords]] = {
    BreachKind.QUOTA_REACHED: BreachWords(
        "item $item has reached its quota: $value of $quota ($percent %)",
        "quota reached $count times",
        "All that was bought is used. Usage goes on in grace, if the item has any; after that it is refused.",
        True,
        (
            _BUY,
            "Look at who uses it: `licmeter stats` shows projects, features and clients.",
            "Seats of device and server items become free by themselves, a period of activity after the last contact.",
        ),
    ),
    BreachKind.GRACE_EXHAUSTED: BreachWords(
        "item $item has used up its grace, too: $value of $limit ($percent % of the quota)",
        "grace used up $count times",
        "Quota and grace are used up. New authorizations are refused with code 120; usage that is reported all the "
        "same is counted as over the limit. Devices and servers that hold a seat go on.",
        True,
        ("Applications are being refused now: act today.", _BUY),
    ),
    BreachKind.DEVICE_REFUSED: BreachWords(
        "item $item has no seat for device $client: $value of $limit are taken",
        "$count devices found no seat",
        "All seats, grace included, are taken. Devices that hold one go on; this one was refused with code 120.",
        False,
        (
            _BUY,
            "A reinstalled or reset device is a new one, and its old seat ends by itself: many of these at once may be "
            "devices that lose their identity (cleared storage, private windows, images restored).",
        ),
    ),
    BreachKind.CONCURRENCY_EXCEEDED: BreachWords(
        "item $item was used by $value at a time, $quota are allowed",
        "more at a time than allowed, in $count time slots",
        "In a time slot of 3 minutes more devices or instances were in use than the item allows. Each one above is an "
        "exception; exceptions use up the overuse budget of the year.",
        True,
        (
            "Once or twice is what the budget is for. If it comes again and again, buy a higher concurrency.",
            "`licmeter stats` shows the peak and what is left of the budget.",
        ),
    ),
    BreachKind.OVERUSE_EXHAUSTED: BreachWords(
        "item $item has used up its overuse budget: $value of $limit exceptions",
        "overuse budget used up $count times",
        "The exceptions that a year tolerates are used up. Until the budget year turns, no more than the allowed "
        "number of devices or instances is let in at a time; the rest is refused with code 120.",
        True,
        ("Applications are being refused at peak times now: buy a higher concurrency, or spread the load.",),
    ),
    BreachKind.DOMAIN_REFUSED: BreachWords(
        "item $item was used on a domain that it does not cover",
        "use on domains that are not covered, $count times",
        "A web application ran on a domain outside the item. It was refused with code 103 or 114.",
        False,
        (
            "Your own domain? Add it to the item or to the project's validation fields.",
            "Not yours? Somebody uses your license key on a site of theirs: rotate the key (`licmeter keys rotate`).",
        ),
    ),
    BreachKind.UNLICENSED_USE: BreachWords(
        "use in project $project that no license item covers",
        "use that no license item covers, $count reports",
        "The usage was reported and counted for the project, but no item of the project could take it: none matches, "
        "none is valid at that time, or all are used up.",
        False,
        (
            "Compare the application's product, version, edition and deployment type with the items of its project.",
            "Look at the dates: an item may have ended, or may not have begun.",
            "Everything used up? " + _BUY,
        ),
    ),
    BreachKind.CLOCK_SKEW: BreachWords(
        "the clock of client $client is wrong",
        "$count clients have wrong clocks",
        "Its reports are more than 5 minutes in the future, or its clock is more than 24 hours off. They are not "
        "counted; they are kept in `usage.rejected` with their reason.",
        False,
        (
            "Set the clock of the device, and let it synchronize (NTP).",
            "Many at once: look at the machines' images, and at the time of the host they run on.",
        ),
    ),
    BreachKind.UNKNOWN_PROJECT: BreachWords(
        "reports for project $project, which does not exist",
        "reports for projects that do not exist, $count times",
        "The reports are not counted; they are kept in `usage.rejected` and can be replayed once the project exists.",
        False,
        (
            "A typing mistake in the application's settings, or a license file that was not applied yet: "
            "`licmeter license list` shows what there is.",
        ),
    ),
}

ALERT_ADVICE: Final[Mapping[str, str]] = {
    "used": "Units that are used up do not come back: plan a purchase before 100 %. " + _BUY,
    "active": "Seats become free by themselves, a period of activity after the last contact. More devices to come? "
    + _BUY,
    "consumed": "More devices or instances are in use at a time than were bought. At 100 % of the budget the item is "
    "capped: look at the peaks in `licmeter stats`, and buy a higher concurrency if they stay.",
    "auth_failed_ratio": "Applications are refused. The codes say why: 120 = used up, 111 = expired, 101 = unknown "
    "project, 102 = wrong session password, 103 and 114 = domain or application does not match, 151 = clock or clone.",
    "expires_in_days": "Renew in time: a renewed item is a new one in the same project, and the license key stays "
    "the same.",
}
