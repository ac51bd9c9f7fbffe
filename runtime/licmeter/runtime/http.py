"""Asks a service on this machine whether it is there."""

import urllib.error
import urllib.request
from typing import Final

__all__ = ["answers"]

PROBE_TIMEOUT_S: Final = 2.0


def answers(url: str, expected: bytes | None = None) -> bool:
    """Tell whether a GET succeeds, with exactly this body if one is expected."""
    # No proxy: the environment may name one, and it cannot reach our loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=PROBE_TIMEOUT_S) as response:
            return bool(expected is None or response.read() == expected)
    except (OSError, urllib.error.URLError):
        return False
