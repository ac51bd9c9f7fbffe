"""JSON that has one form only, and is read without mercy.

The canonical form is that of RFC 8785 (JCS) for the documents that occur here: keys of ASCII letters, texts, integers,
booleans, null, lists and objects. Keys are sorted, there is no space between, texts are written in UTF-8 with the
shortest escapes, and numbers are integers within ±(2^53 - 1): no float is ever written, so nothing is ever rounded.
"""

import json
import re
from typing import Any, Final, NoReturn

__all__ = ["DEPTH_MAX", "INTEGER_MAX", "CanonicalError", "canonical", "read_json"]

#: What every JSON reader holds exactly (RFC 7493, I-JSON).
INTEGER_MAX: Final = 2**53 - 1
_DIGITS_MAX: Final = len(str(INTEGER_MAX))
#: A statement has four levels.
DEPTH_MAX: Final = 16
_KEY: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}\Z")


class CanonicalError(ValueError):
    """The text is no JSON of the canonical kind; the message says where."""


def canonical(value: Any) -> bytes:
    """Return the one form of a value; raises `CanonicalError` for what has none."""
    _check(value, "", 0)
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def read_json(text: bytes) -> Any:
    """Read a document; refuse repeated keys, floats, NaN, integers too large, deep nesting, and broken UTF-8."""
    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_object,
            parse_float=_no_float,
            parse_int=_integer,
            parse_constant=_no_float,
        )
    except CanonicalError:
        raise
    except RecursionError:
        raise CanonicalError("it is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise CanonicalError(f"it is no UTF-8, at byte {error.start}") from None
    except ValueError as error:
        raise CanonicalError(f"it is no JSON: {error}") from None
    _check(value, "", 0)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise CanonicalError(f"the key {twice[:80]!r} stands twice in one object")
    return found


def _no_float(text: str) -> NoReturn:
    raise CanonicalError(f"{text[:40]} is no integer")


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > _DIGITS_MAX:
        raise CanonicalError(f"the integer {text[:40]}… is too large")
    return int(text)


def _check(value: Any, path: str, depth: int) -> None:
    """Refuse what has no canonical form; the path says where it stands."""
    if depth > DEPTH_MAX:
        raise CanonicalError(f"{path[:80]}: it is nested too deeply")
    if isinstance(value, dict):
        for key, each in value.items():
            if not isinstance(key, str) or not _KEY.match(key):
                raise CanonicalError(f"{path or 'the document'}: {str(key)[:80]!r} is no key of a statement")
            _check(each, f"{path}.{key}" if path else key, depth + 1)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            _check(each, f"{path}[{number}]", depth + 1)
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise CanonicalError(f"{path}: a text has half of a surrogate pair") from None
    elif isinstance(value, int):
        if abs(value) > INTEGER_MAX:
            raise CanonicalError(f"{path}: {value} is beyond 2^53 - 1")
    elif value is not None:
        raise CanonicalError(f"{path}: {type(value).__name__} is no part of a statement")
