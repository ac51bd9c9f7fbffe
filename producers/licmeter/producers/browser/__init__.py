"""The client for browsers: an ES module and its types, as files that the gateway serves."""

from importlib.resources import files
from typing import Final

__all__ = ["browser_file"]

_MEDIA_TYPES: Final = {"licmeter.js": "text/javascript", "licmeter.d.ts": "text/plain"}


def browser_file(name: str) -> tuple[bytes, str]:
    """Return a file's bytes and its media type; raises `KeyError` for a name that is none of ours."""
    media_type = _MEDIA_TYPES[name]
    return files(__name__).joinpath(name).read_bytes(), media_type
