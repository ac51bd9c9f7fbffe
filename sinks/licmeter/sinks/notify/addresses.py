"""E-mail addresses: which ones can be written to, and how they stand in a header.

The standard library's parser refuses addresses that are not ASCII, which RFC 6531 allows, so the check is our own: no
more than that an address has two parts, and nothing in it that a header could take for something else.
"""

import re
from email.headerregistry import Address
from typing import Final

__all__ = ["header_address", "is_address"]

#: RFC 5321, 4.5.3.1.
_CHARS_MAX: Final = 254
_ADDRESS: Final = re.compile(r"[^\s@<>(),;:\\\"\[\]\x00-\x20\x7f]+@[^\s@<>(),;:\\\"\[\]\x00-\x20\x7f]+\Z")


def is_address(text: str) -> bool:
    """Tell whether mail can be sent there."""
    return len(text) <= _CHARS_MAX and _ADDRESS.match(text) is not None


def header_address(address: str, name: str = "") -> Address:
    """Return an address as it stands in a header; it must be one."""
    username, _, domain = address.rpartition("@")
    return Address(name, username, domain)
