"""What a request asks for: the parts of ClickHouse's HTTP interface that clients use, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from licmeter.runtime.clickhouse.errors import NOT_IMPLEMENTED, SYNTAX_ERROR, QueryError
from licmeter.runtime.clickhouse.statements import Insert, Query, parse_statement

__all__ = ["HttpQuery", "parse_request"]

_PARAMETER: Final = "param_"
#: Names in the URL that are no settings.
_RESERVED: Final = frozenset(
    {
        "buffer_size",
        "client_protocol_version",
        "compress",
        "database",
        "decompress",
        "default_format",
        "password",
        "query",
        "query_id",
        "quota_key",
        "role",
        "session_check",
        "session_id",
        "session_timeout",
        "stacktrace",
        "user",
        "wait_end_of_query",
    }
)
#: Settings of the HTTP server, not of a query. Answers are never compressed: loopback is faster than any codec.
_HTTP_SETTINGS: Final = frozenset(
    {
        "cancel_http_readonly_queries_on_client_close",
        "enable_http_compression",
        "http_headers_progress_interval_ms",
        "send_progress_in_http_headers",
    }
)


@dataclass(frozen=True, slots=True)
class HttpQuery:
    """One statement with all that the URL says about it."""

    statement: Insert | Query
    parameters: Mapping[str, str]
    settings: Mapping[str, str]
    database: str | None
    query_id: str | None
    session_id: str | None
    session_timeout: str | None
    session_must_exist: bool
    readonly: bool


def parse_request(
    url: Mapping[str, str], headers: Mapping[str, str], body: bytes, form: Mapping[str, bytes], *, readonly: bool
) -> HttpQuery:
    """Put a request together; raises `QueryError`."""
    for name in ("decompress", "compress"):
        if url.get(name, "0") not in ("0", "false"):
            raise QueryError.of(NOT_IMPLEMENTED, f"{name}=1 (ClickHouse's own blocks): use Content-Encoding")
    text = {**url, **{name: value.decode() for name, value in form.items() if name.startswith(_PARAMETER)}}
    settings = {
        name: value
        for name, value in url.items()
        if name not in _RESERVED | _HTTP_SETTINGS and not name.startswith(_PARAMETER)
    }
    _check_names(settings)
    statement = _statement(url.get("query", "").encode("utf-8", "surrogateescape"), form.get("query", b"") or body)
    return HttpQuery(
        statement=parse_statement(
            statement, default_format=url.get("default_format") or headers.get("x-clickhouse-format")
        ),
        parameters={name.removeprefix(_PARAMETER): text[name] for name in text if name.startswith(_PARAMETER)},
        settings=settings,
        database=url.get("database") or headers.get("x-clickhouse-database"),
        query_id=url.get("query_id"),
        session_id=url.get("session_id"),
        session_timeout=url.get("session_timeout"),
        session_must_exist=url.get("session_check") == "1",
        readonly=readonly,
    )


def _statement(in_url: bytes, body: bytes) -> bytes:
    """Join the statement in the URL and what the body adds to it, as the server does."""
    if not in_url:
        return body
    return in_url + b"\n" + body if body else in_url


def _check_names(settings: Mapping[str, str]) -> None:
    """A name becomes part of a SET statement."""
    for name in settings:
        if not name.isascii() or not name.isidentifier():
            raise QueryError.of(SYNTAX_ERROR, f"{name!r} is no name of a setting")
