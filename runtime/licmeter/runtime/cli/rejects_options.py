"""What the commands of `licmeter rejects` share: which rejects are meant."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from licmeter.runtime.cli.instants import INSTANT_HELP, instant_of
from licmeter.runtime.errors import UsageError

if TYPE_CHECKING:
    from licmeter.schemas.replays import Place
    from licmeter.sinks.replay.rejects import Selection

__all__ = ["OrganizationOption", "ReasonOption", "SinceOption", "UntilOption", "received", "selection_of"]

ReasonOption = Annotated[list[str] | None, typer.Option("--reason", help="Only this reason; repeatable.")]
OrganizationOption = Annotated[str | None, typer.Option(help="Only records with this key.")]
SinceOption = Annotated[str | None, typer.Option(help=f"Only what arrived since: {INSTANT_HELP}.")]
UntilOption = Annotated[str | None, typer.Option(help="Only what arrived before; written like --since.")]


def selection_of(
    reasons: list[str] | None,
    organization: str | None,
    since: str | None,
    until: str | None,
    now: datetime,
    places: "frozenset[Place]" = frozenset(),
) -> "Selection":
    """Return what is meant; raises `UsageError` for a reason that there is not, and for no instant."""
    from licmeter.schemas.outcomes import RejectReason
    from licmeter.sinks.replay.rejects import UNDECODABLE, Selection

    known = [*RejectReason, UNDECODABLE]
    wrong = sorted(set(reasons or ()) - set(known))
    if wrong:
        raise UsageError(f"--reason {', '.join(wrong)}: there is no such reason", hint=f"there are {', '.join(known)}")
    return Selection(
        reasons=frozenset(reasons or ()),
        organization_id=organization,
        since_ms=None if since is None else _ms(instant_of("--since", since, now)),
        until_ms=None if until is None else _ms(instant_of("--until", until, now)),
        places=places,
    )


def _ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


def received(milliseconds: int) -> datetime:
    """Return an instant of the broker's clock; one that no calendar has is the latest that there is."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.max.replace(tzinfo=UTC)
