"""Domain keys (domain, 6.6)."""

import ipaddress
from collections.abc import Iterable

import idna
from publicsuffixlist import PublicSuffixList

_SUFFIXES = PublicSuffixList()  # with its private section


def _host(name: str) -> str:
    """Lower case, no port, no trailing dot, IDNA to ASCII."""
    name = name.strip().lower()
    if name.startswith("["):  # an IPv6 literal, perhaps with a port
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    name = name.removesuffix(".")
    try:
        return idna.encode(name, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        return name


def domain_key(name: str, platform_suffixes: Iterable[str] = ()) -> str:
    host = _host(name)
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    if "." not in host:
        return host  # localhost
    suffixes = [_SUFFIXES.publicsuffix(host) or ""]
    suffixes += [s for s in (_host(given.lstrip("*.")) for given in platform_suffixes) if f".{host}".endswith(f".{s}")]
    suffix = max(suffixes, key=len)
    if host == suffix:
        return host  # a public suffix itself: it belongs to nobody, and matches only when listed
    return host.removesuffix(f".{suffix}").rpartition(".")[2] + f".{suffix}"


def same_value(kind: str, one: str, other: str, platform_suffixes: Iterable[str]) -> bool:
    """Whether two values of a validation field are the same; of a domain its key counts."""
    if kind != "domain":
        return one == other
    suffixes = list(platform_suffixes)
    return domain_key(one, suffixes) == domain_key(other, suffixes)
