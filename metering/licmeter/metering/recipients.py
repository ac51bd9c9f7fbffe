"""Lists of addresses for usage alerts (domain, W10)."""

from licmeter.schemas.alerts import RecipientLists
from licmeter.schemas.catalog import Recipients

__all__ = ["parse_recipients"]


def parse_recipients(recipients: Recipients) -> tuple[RecipientLists, list[str]]:
    """Return the addresses, and what is wrong with the rest; a mistake does not stop the others."""
    mistakes: list[str] = []
    lists = {name: _parse(name, getattr(recipients, name), mistakes) for name in ("to", "cc", "bcc")}
    if not lists["to"]:
        mistakes.append("recipients.to: names no address")
    return RecipientLists(**lists), mistakes


def _parse(name: str, text: str, mistakes: list[str]) -> tuple[str, ...]:
    """Split at `;`, trim, drop empty ones and repeats in any case."""
    found: dict[str, str] = {}
    for entry in text.split(";"):
        address = entry.strip()
        if not address:
            continue
        if "@" not in address:
            mistakes.append(f"recipients.{name}: {address} is no address, it has no @")
        else:
            found.setdefault(address.casefold(), address)
    return tuple(found.values())
