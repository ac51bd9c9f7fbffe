"""What one web domain is (domain, O1 and O2), and how validation fields are compared."""

from functools import lru_cache
from ipaddress import ip_address
from typing import Final

import idna
from publicsuffixlist import PublicSuffixList

__all__ = ["DOMAIN_KIND", "Validation", "domain_key", "field_key"]

Validation = tuple[str, str]  # kind, value

DOMAIN_KIND: Final = "domain"
_HOSTS_MAX: Final = 65_536


@lru_cache(maxsize=1)
def _public_suffixes() -> PublicSuffixList:
    return PublicSuffixList()  # the list bundled with the package, private section included


def field_key(validation: Validation, suffixes: tuple[str, ...]) -> Validation:
    """Return a validation field in the form in which it is compared: domains by their key, others as they are."""
    kind, value = validation
    return (kind, domain_key(value, suffixes)) if kind == DOMAIN_KIND else validation


@lru_cache(maxsize=_HOSTS_MAX)
def domain_key(host: str, suffixes: tuple[str, ...] = ()) -> str:
    """Return the registrable domain of a host: `a.shop.example.org:8443` and `EXAMPLE.org.` give `example.org`.

    Under a suffix that several customers share (the list's private section, or `suffixes`) the name below it is the
    domain. An address, `localhost`, or a name that is itself a suffix stands for itself (O3).
    """
    name = _normalized(host)
    if _is_address(name):
        return name
    key: str = _public_suffixes().privatesuffix(name) or name
    for suffix in suffixes:
        shared = _normalized(suffix)
        if name.endswith("." + shared):
            below = name[: -len(shared) - 1].rpartition(".")[2]
            key = max(key, f"{below}.{shared}", key=len)
    return key


def _normalized(host: str) -> str:
    """Return lower case, without scheme, path, port and trailing dot, as ASCII (IDNA)."""
    name = host.strip().rpartition("://")[2].partition("/")[0]
    if name.startswith("["):
        return name[1:].partition("]")[0].lower()
    if name.count(":") == 1:
        name = name.partition(":")[0]
    name = name.rstrip(".").lower()
    try:
        return idna.encode(name, uts46=True).decode()
    except idna.IDNAError:
        return name  # underscores and the like: compared as it is


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
