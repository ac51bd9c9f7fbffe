"""Where schema and contract differ: to JSON Schema `3.0` is an integer, to the stream's contract it is not."""

from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from licmeter.producers.reading import plain_event
from licmeter.schemas.reports import encode_event, parse_report

__all__ = ["follows_schema", "integral"]


def integral(value: Any) -> Any:
    """Take `3.0` for 3, and everything in lists and objects likewise."""
    if isinstance(value, dict):
        return {name: integral(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [integral(entry) for entry in value]
    return int(value) if type(value) is float and value.is_integer() else value


def follows_schema(value: bytes) -> bool:
    """Tell whether a single report that was refused follows the published schema all the same.

    A `total` that is not the sum, or an instant beyond the years of a calendar, is no matter of the schema either.
    """
    try:
        fields = integral(from_json(value))
        if not isinstance(fields, dict):
            return False
        if "specversion" not in fields:
            plain, mistakes = plain_event(fields)
            return plain is not None or all(mistake.startswith("total: is not the sum") for mistake in mistakes)
        parse_report(encode_event(fields))
    except (ValidationError, ValueError, TypeError, RecursionError, OverflowError):
        return False
    return True
