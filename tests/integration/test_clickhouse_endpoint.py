"""The endpoint with the unmodified client: what it serves, and how it fails."""

import asyncio
import datetime as dt
import gzip
import http.client
import subprocess
import sys
import textwrap
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator

import clickhouse_connect
import lz4.frame  # type: ignore[import-untyped]
import psutil
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from licmeter.runtime.clickhouse import EmbeddedClickHouse
from licmeter.runtime.settings import ClickHouseSettings
from licmeter.sinks.migrate import migrate
from licmeter.sinks.target import ClickHouseTarget

pytest.importorskip("chdb", reason="the extra `embedded` is not installed")
pytestmark = pytest.mark.integration

ANY_PORT = ClickHouseSettings(port=0)


@pytest.fixture(scope="session")
def clickhouse(embedded_clickhouse: EmbeddedClickHouse) -> EmbeddedClickHouse:
    """Not the server that the other tests may run on."""
    return embedded_clickhouse


@pytest.fixture
def database(clickhouse: EmbeddedClickHouse) -> Iterator[str]:
    target = ClickHouseTarget(clickhouse.url, f"test_{uuid.uuid4().hex}")
    migrate(target)
    yield target.database
    client = target.connect()
    client.command(f"DROP DATABASE {target.database}")
    client.close()


@pytest.fixture
def client(clickhouse: EmbeddedClickHouse, database: str) -> Iterator[Client]:
    client = clickhouse_connect.get_client(dsn=clickhouse.url, database=database)
    yield client
    client.close()


def poll_until(condition: Callable[[], bool], *, timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def send(
    clickhouse: EmbeddedClickHouse, body: bytes = b"", *, method: str = "POST", encoding: str = "", **url: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", urllib.parse.urlsplit(clickhouse.url).port)
    headers = {"Content-Encoding": encoding} if encoding else {}
    connection.request(method, "/?" + urllib.parse.urlencode(url), body, headers)
    response = connection.getresponse()
    answer = (response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    connection.close()
    return answer


def test_rows_go_in_and_come_back(client: Client) -> None:
    client.command(
        "CREATE TABLE t (x UInt64, s LowCardinality(String), at DateTime64(3, 'UTC')) ENGINE MergeTree ORDER BY x"
    )
    at = dt.datetime(2031, 3, 8, 14, 12, 0, 5000)  # noqa: DTZ001  # as the client returns UTC
    assert client.insert("t", [[1, "a", at]], column_names=["x", "s", "at"]).written_rows == 1
    words = pa.array(["b", "c", "b"]).dictionary_encode()
    table = pa.table({"x": pa.array([2, 3, 4], pa.uint64()), "s": words, "at": pa.array([at] * 3, pa.timestamp("ms"))})
    assert client.insert_arrow("t", table).written_rows == 3
    client.raw_insert("t", ["x", "s"], b'{"x": 5, "s": "d"}\n', fmt="JSONEachRow")
    client.raw_insert("t", ["x", "s"], b"6,e\n7,f\n", fmt="CSV")
    assert client.query("SELECT x, s FROM t ORDER BY x").result_rows == [
        (1, "a"), (2, "b"), (3, "c"), (4, "b"), (5, "d"), (6, "e"), (7, "f")
    ]  # fmt: skip
    assert client.query("SELECT at FROM t WHERE x = 4").result_rows == [(at,)]
    assert client.query_arrow("SELECT x FROM t ORDER BY x")["x"].to_pylist() == [1, 2, 3, 4, 5, 6, 7]
    client.command("INSERT INTO t VALUES (8, 'FORMAT Native', now64(3))")
    client.command("INSERT INTO t (x) SELECT number + 100 FROM numbers(10)")
    assert client.command("SELECT count() FROM t") == 18


@pytest.mark.parametrize("compression", ["lz4", "zstd", "gzip"])
def test_compressed_bodies(clickhouse: EmbeddedClickHouse, client: Client, compression: str) -> None:
    client.command("CREATE TABLE t (x UInt64) ENGINE MergeTree ORDER BY x")
    other = clickhouse_connect.get_client(dsn=clickhouse.url, database=client.database, compress=compression)
    other.insert("t", [[number] for number in range(200_000)], column_names=["x"])
    assert other.command("SELECT sum(x) FROM t") == sum(range(200_000))
    other.close()


@pytest.mark.parametrize("compress", [gzip.compress, lz4.frame.compress])
def test_a_body_of_several_frames(clickhouse: EmbeddedClickHouse, compress: Callable[[bytes], bytes]) -> None:
    body = compress(b"SELECT 1 ") + compress(b"+ 1")
    encoding = "gzip" if compress is gzip.compress else "lz4"
    assert send(clickhouse, body, encoding=encoding)[2] == b"2\n"


@pytest.mark.parametrize("value", ["plain", "tab\tquote' back\\ line\n end", "{x:String}", "ü€😀", "-- no comment", ""])
def test_parameters_are_values(client: Client, value: str) -> None:
    result = client.query("SELECT {v:String}, {n:UInt8}", parameters={"v": value, "n": 7})
    assert result.result_rows == [(value, 7)]


def test_other_parameters(client: Client) -> None:
    client.command("CREATE TABLE t (x UInt64) ENGINE MergeTree ORDER BY x")
    client.command("INSERT INTO {t:Identifier} VALUES (1)", parameters={"t": "t"})
    rows = client.query("SELECT x FROM {t:Identifier} WHERE x IN {l:Array(UInt64)}", parameters={"t": "t", "l": [1, 2]})
    assert rows.result_rows == [(1,)]
    many = list(range(3_000))  # so large that the client sends a form
    assert client.query("SELECT length({l:Array(UInt64)})", parameters={"l": many}).result_rows == [(3_000,)]


@pytest.mark.parametrize(
    ("sql", "code", "status"),
    [
        ("SELEC 1", 62, 400),
        ("SELECT nosuch", 47, 404),
        ("SELECT nosuch()", 46, 404),
        ("SELECT * FROM nosuch", 60, 404),
        ("SELECT * FROM nosuch.t", 81, 404),
        ("SELECT 1 FORMAT NoSuch", 73, 404),
        ("SELECT 'a' + 1", 43, 500),
        ("SELECT 1; SELECT 2", 62, 400),
        ("SELECT 1 INTO OUTFILE '/tmp/never'", 48, 501),
        ("INSERT INTO nosuch FORMAT JSONEachRow {}", 60, 404),
    ],
)
def test_errors_have_the_servers_code_and_status(
    clickhouse: EmbeddedClickHouse, sql: str, code: int, status: int
) -> None:
    answered, headers, body = send(clickhouse, sql.encode())
    assert (answered, headers["x-clickhouse-exception-code"]) == (status, str(code))
    assert body.startswith(f"Code: {code}. ".encode())


def test_an_unknown_setting_or_database_reaches_the_caller(clickhouse: EmbeddedClickHouse, client: Client) -> None:
    with pytest.raises(DatabaseError) as caught:
        client.query("SELECT 1", settings={"nosuch": 1})
    assert caught.value.code == 115
    assert send(clickhouse, b"SELECT 1", nosuch="1")[0] == 404
    assert send(clickhouse, b"SELECT 1", database="nosuch")[1]["x-clickhouse-exception-code"] == "81"
    assert send(clickhouse, b"SELECT 1", **{"max_threads = 1, readonly": "1"})[0] == 400
    assert client.command("SELECT 1") == 1


@pytest.mark.parametrize("session", [{}, {"session_id": "s"}], ids=["no session", "session"])
def test_settings_and_database_last_one_request(
    clickhouse: EmbeddedClickHouse, database: str, session: dict[str, str]
) -> None:
    session = {name: value + uuid.uuid4().hex for name, value in session.items()}

    def seen(**url: str) -> bytes:
        return send(clickhouse, b"SELECT getSetting('max_block_size'), currentDatabase()", **session, **url)[2]

    usual = seen()
    assert seen(max_block_size="777", database=database) == f"777\t{database}\n".encode()
    assert seen() == usual
    status, _, _ = send(clickhouse, b"SELECT nosuch", max_block_size="777", database=database, **session)
    assert status == 404
    assert seen() == usual
    assert send(clickhouse, b"SELECT 1", max_block_size="777", nosuch="1", **session)[0] == 404
    assert seen() == usual
    stream = b"SELECT throwIf(number = 900000) FROM numbers(1000000) FORMAT Native"
    assert b"__exception__" in send(clickhouse, stream, max_block_size="1000", **session)[2]
    assert seen() == usual


def test_a_session_keeps_temporary_tables_and_settings_to_itself(clickhouse: EmbeddedClickHouse) -> None:
    mine, other = (clickhouse_connect.get_client(dsn=clickhouse.url, session_id=uuid.uuid4().hex) for _ in range(2))
    mine.command("CREATE TEMPORARY TABLE words (w String)")
    mine.insert("words", [["a"], ["b"]], column_names=["w"])
    mine.command("SET max_block_size = 555")
    assert mine.query("SELECT count(), getSetting('max_block_size') FROM words").result_rows == [(2, 555)]
    with pytest.raises(DatabaseError) as caught:
        other.query("SELECT * FROM words")
    assert caught.value.code == 60
    mine.close()
    other.close()


def test_a_session_ends_at_its_timeout_and_is_for_one_at_a_time(clickhouse: EmbeddedClickHouse) -> None:
    session = uuid.uuid4().hex
    assert (
        send(clickhouse, b"SELECT 1", session_id=session, session_check="1")[1]["x-clickhouse-exception-code"] == "372"
    )
    send(clickhouse, b"CREATE TEMPORARY TABLE t (x UInt8)", session_id=session, session_timeout="1")
    again = {"session_id": session, "session_timeout": "1", "session_check": "1"}
    assert send(clickhouse, b"SELECT count() FROM t", **again)[2] == b"0\n"
    with http_stream(clickhouse, b"SELECT number FROM numbers(1000000000000) FORMAT Native", **again):
        assert send(clickhouse, b"SELECT 1", **again)[1]["x-clickhouse-exception-code"] == "373"
    assert poll_until(lambda: send(clickhouse, b"SELECT 1", session_id=session)[0] == 200)
    assert (
        send(clickhouse, b"SELECT 1", session_id="x", session_timeout="no")[1]["x-clickhouse-exception-code"] == "374"
    )
    gone = uuid.uuid4().hex
    send(clickhouse, b"CREATE TEMPORARY TABLE t (x UInt8)", session_id=gone, session_timeout="1")
    time.sleep(1.1)  # the timeout itself: the server's clock is not ours to move
    assert send(clickhouse, b"SELECT 1", session_id=gone, session_check="1")[1]["x-clickhouse-exception-code"] == "372"


class http_stream:  # noqa: N801  # used as a context manager
    """An answer that is read no further."""

    def __init__(self, clickhouse: EmbeddedClickHouse, sql: bytes, **url: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", urllib.parse.urlsplit(clickhouse.url).port)
        self._connection.request("POST", "/?" + urllib.parse.urlencode(url), sql)
        self._response = self._connection.getresponse()

    def __enter__(self) -> http.client.HTTPResponse:
        self._response.read(1000)
        return self._response

    def __exit__(self, *_: object) -> None:
        self._response.close()
        self._connection.close()


def test_large_results_are_streamed(clickhouse: EmbeddedClickHouse, client: Client) -> None:
    process = psutil.Process(clickhouse.pid)
    before = process.memory_info().rss
    with http_stream(clickhouse, b"SELECT number, number FROM numbers(40000000) FORMAT Native") as response:
        received = 1000
        while chunk := response.read(1 << 20):
            received += len(chunk)
    assert received > 640_000_000
    assert process.memory_info().rss - before < 200_000_000
    with client.query_row_block_stream("SELECT number FROM numbers(500000)") as blocks:
        assert sum(len(block) for block in blocks) == 500_000
    with client.query_arrow_stream("SELECT number FROM numbers(500000)") as tables:
        assert sum(table.num_rows for table in tables) == 500_000


def test_abandoned_streams_hold_nothing(clickhouse: EmbeddedClickHouse) -> None:
    for _ in range(20):  # more than there are connections
        with http_stream(clickhouse, b"SELECT number FROM numbers(1000000000000) FORMAT Native"):
            pass
    assert send(clickhouse, b"SELECT 1")[2] == b"1\n"


def test_an_error_in_the_middle_of_a_stream_is_seen(client: Client) -> None:
    with pytest.raises(StreamFailureError, match="395"):
        _ = client.query("SELECT throwIf(number = 900000) FROM numbers(1000000)").result_rows


@pytest.mark.parametrize("result_format", ["JSON", "ArrowStream", "Parquet", "CSVWithNames", "JSONCompact"])
def test_formats_are_whole(clickhouse: EmbeddedClickHouse, result_format: str) -> None:
    sql = f"SELECT number AS n FROM numbers(200000) FORMAT {result_format}"
    status, headers, body = send(clickhouse, sql.encode(), max_block_size="1000")
    assert (status, headers["x-clickhouse-format"]) == (200, result_format)
    if result_format == "ArrowStream":
        assert pa.ipc.open_stream(body).read_all()["n"].to_pylist() == list(range(200_000))
    if result_format == "CSVWithNames":
        assert body.count(b'"n"') == 1
    if result_format.startswith("JSON"):
        assert body.count(b'"meta"') == 1


def test_headers_ping_and_get(clickhouse: EmbeddedClickHouse) -> None:
    _, headers, body = send(clickhouse, b"SELECT 1", query_id="mine", default_format="JSONEachRow")
    assert (headers["x-clickhouse-query-id"], headers["x-clickhouse-format"]) == ("mine", "JSONEachRow")
    assert headers["x-clickhouse-timezone"]
    assert "elapsed_ns" in headers["x-clickhouse-summary"]
    assert body == b'{"1":1}\n'
    assert send(clickhouse, method="GET")[2] == b"Ok.\n"
    assert send(clickhouse, method="GET", query="SELECT 2")[2] == b"2\n"
    assert (
        send(clickhouse, method="GET", query="CREATE TABLE t (x UInt8) ENGINE Memory")[1]["x-clickhouse-exception-code"]
        == "164"
    )
    assert send(clickhouse, b"b\n", query="SELECT 'a' ||\n'")[0] == 400
    assert send(clickhouse, b"+ 1", query="SELECT 1")[2] == b"2\n"


def test_a_request_that_is_too_large_says_so(clickhouse: EmbeddedClickHouse) -> None:
    bomb = gzip.compress(bytes(300 * 1024 * 1024), compresslevel=1)
    status, headers, body = send(clickhouse, bomb, encoding="gzip")
    assert (status, headers["x-clickhouse-exception-code"]) == (413, "229")
    assert b"268435456 bytes" in body
    assert send(clickhouse, b"no gzip", encoding="gzip")[1]["x-clickhouse-exception-code"] == "89"
    assert send(clickhouse, b"x", encoding="br")[1]["x-clickhouse-exception-code"] == "89"


def test_a_half_bad_insert_writes_nothing(client: Client) -> None:
    client.command("CREATE TABLE t (x UInt64) ENGINE MergeTree ORDER BY x")
    with pytest.raises(DatabaseError) as caught:
        client.raw_insert("t", ["x"], b'{"x": 1}\n{"x": "no"}\n', fmt="JSONEachRow")
    assert caught.value.code in (27, 117)
    assert client.command("SELECT count() FROM t") == 0


async def test_the_async_client(clickhouse: EmbeddedClickHouse, database: str) -> None:
    client = await clickhouse_connect.get_async_client(dsn=clickhouse.url, database=database)
    await client.command("CREATE TABLE t (x UInt64) ENGINE MergeTree ORDER BY x")
    await asyncio.gather(*(client.insert_arrow("t", pa.table({"x": [number]})) for number in range(30)))
    results = await asyncio.gather(*(client.query(f"SELECT {number}, count() FROM t") for number in range(30)))
    assert [result.result_rows for result in results] == [[(number, 30)] for number in range(30)]
    with pytest.raises(DatabaseError) as caught:
        await client.query("SELECT 1", settings={"nosuch": 1})
    assert caught.value.code == 115
    await client.close()


WRITER = """
    import sys, clickhouse_connect, pyarrow as pa
    url, database, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
    client = clickhouse_connect.get_client(dsn=url, database=database)
    for start in range(first, first + 100_000, 10_000):
        client.insert_arrow("t", pa.table({"x": list(range(start, start + 10_000))}))
    client.close()
"""


def python(code: str, *arguments: str, **options: object) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), *arguments], **options)  # type: ignore[call-overload,no-any-return]


def test_two_processes_write_at_once(clickhouse: EmbeddedClickHouse, client: Client) -> None:
    client.command("CREATE TABLE t (x UInt64) ENGINE MergeTree ORDER BY x")
    writers = [python(WRITER, clickhouse.url, str(client.database), str(first)) for first in (0, 100_000)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert client.query("SELECT count(), uniqExact(x) FROM t").result_rows == [(200_000, 200_000)]


def test_the_memory_limit_is_in_force(clickhouse: EmbeddedClickHouse, client: Client) -> None:
    limit = client.command("SELECT value FROM system.server_settings WHERE name = 'max_server_memory_usage'")
    assert limit == ANY_PORT.max_memory_mb * 1024 * 1024
    with pytest.raises(DatabaseError) as caught:
        client.query("SELECT length(groupArray(number)) FROM numbers(1000000000)")
    assert caught.value.code == 241
