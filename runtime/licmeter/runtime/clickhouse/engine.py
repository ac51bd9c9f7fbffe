"""chDB in this process: one base connection that keeps the engine open, and one short-lived connection per request.

Opening a connection costs 0.2 ms, and settings, the current database and temporary tables belong to a connection.
So nothing that a request sets can reach the next one, whatever goes wrong in between. Only a session keeps its
connection; there the settings of a request are put back after it (`Connection.with_settings`).

Nothing here may run before a fork: chDB's threads do not survive one.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import chdb

from licmeter.runtime.clickhouse.errors import READONLY, SYNTAX_ERROR, QueryError, engine_error
from licmeter.runtime.clickhouse.statements import Insert, Query, quote

__all__ = ["Connection", "Engine", "Result"]

_chdb: Any = chdb._chdb  # the engine's own calls; the package wraps only some of them
_NOT_STREAMABLE: Final = "Streaming query is not supported"
_INSERT_BYTES: Final = 1024 * 1024  # handed to the engine at a time; larger pieces were not faster


class Result:
    """An answer: its first piece is there, so that the statement's errors are known; more may follow."""

    def __init__(self, raw: Any, first: bytes, stream: Any = None) -> None:
        self._raw = raw
        self._first: bytes | None = first
        self._stream = stream
        self.statistics: dict[str, int] = {}

    @classmethod
    def whole(cls, raw: Any, answer: Any) -> "Result":
        """Wrap an answer that came in one piece, and the counts that the server would put into its summary."""
        result = cls(raw, bytes(answer.bytes()))
        result.statistics = {
            "read_rows": answer.rows_read(),
            "read_bytes": answer.bytes_read(),
            "written_rows": answer.rows_written(),
            "written_bytes": answer.bytes_written(),
        }
        return result

    def next_chunk(self) -> bytes:
        """Return the next piece, b"" at the end; raises `QueryError`."""
        if self._first is not None:
            chunk, self._first = self._first, None
        elif self._stream is not None:
            with _translated():
                chunk = bytes(self._raw.streaming_fetch_result(self._stream).bytes())
        else:
            return b""
        if not chunk:
            self._stream = None
        return chunk

    def close(self) -> None:
        """Stop what still runs; harmless at the end."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with _translated():
                self._raw.streaming_cancel_query(stream)


class Connection:
    """One chDB connection: used by one request at a time, from any thread."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def close(self) -> None:
        """Forget settings, database and temporary tables."""
        self.raw.close()

    def run(self, query: Query, parameters: Mapping[str, str], *, stream: bool) -> Result:
        """Start a statement; with `stream` its answer comes in pieces, each complete in the result format."""
        with _translated():
            streamed = self._try_stream(query, parameters) if stream else None
            return streamed or Result.whole(
                self.raw, self.raw.query(query.text, query.result_format, params=dict(parameters))
            )

    def _try_stream(self, query: Query, parameters: Mapping[str, str]) -> Result | None:
        # The first piece brings the errors of the statement.
        try:
            stream = self.raw.send_query(query.text, query.result_format, params=dict(parameters))
            first = bytes(self.raw.streaming_fetch_result(stream).bytes())
        except RuntimeError as error:
            if _NOT_STREAMABLE in str(error):  # SHOW, EXPLAIN, DDL; nothing has run
                return None
            raise
        return Result(self.raw, first, stream)

    def insert(self, insert: Insert, parameters: Mapping[str, str]) -> Result:
        """Write the data of an INSERT; all of it or, on an error, nothing of the current block."""
        with _translated():
            for name, value in parameters.items():
                self.raw.query(f"SET param_{name} = {quote(value)}")
            stream = self.raw.send_insert(insert.head, insert.data_format)
            try:
                for start in range(0, len(insert.data), _INSERT_BYTES):
                    self.raw.insert_append(stream, bytes(insert.data[start : start + _INSERT_BYTES]))
            except BaseException:
                self.raw.insert_cancel(stream)
                raise
            return Result.whole(self.raw, self.raw.insert_done(stream))

    def check(self, query: Query, *, readonly: bool) -> None:
        """Refuse several statements in one request, and writing by GET, as the server does."""
        facts = self.raw.classify_query(query.text)
        if facts["statement_count"] > 1:
            raise QueryError.of(SYNTAX_ERROR, "Multi-statements are not allowed")
        if readonly and facts["query_class"] in (_chdb.query_class.MUTATING, _chdb.query_class.MUTATING_GLOBAL):
            raise QueryError.of(READONLY, "Cannot execute query in readonly mode: use POST for what writes")

    def apply(self, database: str | None, settings: Mapping[str, str]) -> None:
        """Take a database and settings; raises `QueryError`, 81 or 115, when there is no such thing."""
        with _translated():
            if database:
                self.raw.query(f"USE `{_escaped(database)}`")
            if settings:
                self.raw.query("SET " + ", ".join(f"{name} = {quote(value)}" for name, value in settings.items()))

    def state(self, settings: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """Return the current database, and what the named settings are now."""
        with _translated():
            database = self.raw.query("SELECT currentDatabase()", "TabSeparatedRaw").bytes().decode().removesuffix("\n")
            if not settings:
                return database, {}
            names = ", ".join(quote(name) for name in settings)
            sql = f"SELECT name, value FROM system.settings WHERE name IN ({names}) SETTINGS final = 0"  # noqa: S608
            rows = self.raw.query(sql, "TabSeparatedRaw").bytes().decode().splitlines()
        return database, dict(row.split("\t", 1) for row in rows)


class Engine:
    """The engine on one data directory; one per process, and one process per directory."""

    def __init__(self, data_dir: Path, *, memory_bytes_max: int) -> None:
        # Before the engine opens: SIGTERM and SIGINT belong to whoever runs us.
        _chdb.reset_signal_handlers()
        _chdb.set_signal_handlers_enabled(0)
        self._path = f"{data_dir}?max_server_memory_usage={memory_bytes_max}"
        self._base = self.connect()
        limit = self.scalar("SELECT value FROM system.server_settings WHERE name = 'max_server_memory_usage'")
        # chDB ignores options that it does not know, without a word.
        assert limit == str(memory_bytes_max), f"the memory limit did not take effect: {limit}"
        self.version = self.scalar("SELECT version()")
        self.timezone = self.scalar("SELECT timezone()")

    def connect(self) -> Connection:
        """Open one more connection."""
        with _translated():
            return Connection(_chdb.connect(self._path))

    def scalar(self, sql: str) -> str:
        """Return the one value of a query."""
        with _translated():
            return str(self._base.raw.query(sql, "TabSeparatedRaw").bytes().decode().removesuffix("\n"))

    def close(self) -> None:
        """Close the base connection, and with it the engine once all others are closed."""
        self._base.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise engine_error(error) from error


def _escaped(identifier: str) -> str:
    return identifier.replace("\\", "\\\\").replace("`", "\\`")
