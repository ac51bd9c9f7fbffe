"""What one web domain is (domain, O2), for names that are reserved for examples.

A simulation uses no names of others, so it needs no list of public suffixes: under `com`, `net` and `org` only
`example` is reserved (RFC 2606), and below `test` and `example` all names are (RFC 6761).
"""

from collections.abc import Iterable
from typing import Final

__all__ = ["domain_of", "is_reserved", "normalized"]

_SECOND_LEVEL: Final = frozenset({"example.com", "example.net", "example.org"})
_TOP_LEVEL: Final = frozenset({"test", "example"})


def normalized(host: str) -> str:
    """Return a host in lower case, without port and trailing dot."""
    return host.strip().partition(":")[0].rstrip(".").lower()


def is_reserved(host: str) -> bool:
    """Tell whether a host is a plain ASCII name that nobody owns."""
    name = normalized(host)
    labels = name.split(".")
    plain = all(label and label.isascii() and label.replace("-", "").isalnum() for label in labels)
    return plain and len(labels) > 1 and (labels[-1] in _TOP_LEVEL or ".".join(labels[-2:]) in _SECOND_LEVEL)


def domain_of(host: str, platform_suffixes: Iterable[str] = ()) -> str:
    """Return the domain that a reserved host belongs to: the longest of two labels, and one below a shared suffix."""
    name = normalized(host)
    found = ".".join(name.split(".")[-2:])
    for suffix in map(normalized, platform_suffixes):
        if name.endswith(f".{suffix}"):
            below = name.removesuffix(f".{suffix}").rpartition(".")[2]
            found = max(found, f"{below}.{suffix}", key=len)
    return found
