"""Keeps secrets out of what people read: logs, errors, tables, dead letters."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote, unquote, urlsplit

__all__ = ["MASK", "Redactor", "masked_url", "quiet_libraries"]

MASK: Final = "***"
#: Shorter parts of a URL are words such as `json` or `v1`, and hiding these would make reasons unreadable.
_PART_CHARS_MIN: Final = 6
_REASON_CHARS_MAX: Final = 300
#: Libraries whose log lines show URLs, headers or bodies, at one level or another.
_LIBRARIES: Final = ("apprise", "httpcore", "httpx", "requests", "requests_oauthlib", "urllib3")


class Redactor:
    """Replaces the secrets of one target in texts of others: a server's answer, an exception of a library."""

    def __init__(self, *, urls: Iterable[str] = (), words: Iterable[str] = ()) -> None:
        found = {word for word in words if word}
        for url in urls:
            found |= _parts(url)
        forms = {form for word in found for form in (word, quote(word, safe=""), unquote(word)) if form}
        # Longer ones first, since one may hold another.
        self._words = sorted(forms, key=lambda word: (-len(word), word))

    def __call__(self, text: object) -> str:
        """Return one line without secrets, cut to a bound."""
        line = " ".join(str(text).split())
        for word in self._words:
            line = line.replace(word, MASK)
        return line[:_REASON_CHARS_MAX]


def _parts(url: str) -> set[str]:
    """Return the URL and all that may be secret in it: user, password, path, query. A host is none."""
    try:
        parts = urlsplit(url)
        named = {part for part in (parts.password,) if part}
    except ValueError:
        return {url}
    loose = {parts.username or "", parts.path, parts.query, parts.fragment, *parts.path.split("/")}
    for pair in f"{parts.query}&{parts.fragment}".split("&"):
        loose |= {pair, *pair.split("=")}
    if parts.scheme not in ("http", "https"):
        loose |= {parts.netloc, parts.netloc.rpartition("@")[2].partition(":")[0]}  # slack://token/token/token
    return {url, *named, *(part for part in loose if len(part) >= _PART_CHARS_MIN)}


def masked_url(url: str) -> str:
    """Return what may be shown of a URL: the host of a web address, of others only the scheme."""
    try:
        parts = urlsplit(url)
        host = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        return MASK
    if parts.scheme in ("http", "https"):
        return f"{parts.scheme}://{host}/{MASK if parts.path.strip('/') or parts.query else ''}"
    return f"{parts.scheme or '?'}://{MASK}"


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Let nothing out of the logs of the libraries that talk to targets; what matters, we say ourselves."""
    before = []
    for name in _LIBRARIES:
        logger = logging.getLogger(name)
        handler = logging.NullHandler()  # without one, warnings would go to stderr
        before.append((logger, logger.propagate, handler))
        logger.propagate = False
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger, propagate, handler in before:
            logger.propagate = propagate
            logger.removeHandler(handler)
