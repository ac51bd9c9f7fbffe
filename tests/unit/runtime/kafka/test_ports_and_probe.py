import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from licmeter.runtime.errors import ServiceError
from licmeter.runtime.kafka.ports import HOST, free_port, is_free, require_free
from licmeter.runtime.kafka.probe import answers, metadata_request, names_broker


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((HOST, 0)) as server:
        yield server


def answer(port: int, *, correlation_id: int = 0x6C6D, brokers: int = 1) -> bytes:
    host = b"127.0.0.1"
    return (
        struct.pack(">ii", correlation_id, brokers) + struct.pack(">ih", 1, len(host)) + host + struct.pack(">i", port)
    )


def test_a_taken_port_is_named_with_its_setting(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with pytest.raises(ServiceError, match=f"port {port} .*taken") as caught:
        require_free(port)
    assert "LICMETER_KAFKA__PORT" in caught.value.hint
    assert not is_free(port)


def test_a_free_port_is_free() -> None:
    require_free(free_port())


def test_nothing_answers_on_a_free_port() -> None:
    assert not answers(free_port())


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        pytest.param(lambda port: answer(port), True, id="the broker lists itself"),
        pytest.param(lambda port: answer(port, brokers=0), False, id="it is not ready"),
        pytest.param(lambda port: answer(port + 1), False, id="another broker"),
        pytest.param(lambda port: answer(port, correlation_id=1), False, id="not to our question"),
        pytest.param(lambda port: answer(port)[:10], False, id="cut short"),
        pytest.param(lambda port: b"", False, id="closed"),
    ],
)
def test_only_a_broker_that_lists_itself_answers(listener: socket.socket, reply, expected: bool) -> None:  # type: ignore[no-untyped-def]
    port = listener.getsockname()[1]

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(len(metadata_request()))
            body = reply(port)
            connection.sendall(struct.pack(">i", len(body)) + body if body else b"")

    server = threading.Thread(target=serve)
    server.start()
    assert answers(port) is expected
    server.join()


def test_a_web_server_is_no_broker(listener: socket.socket) -> None:
    port = listener.getsockname()[1]

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = threading.Thread(target=serve)
    server.start()
    assert not answers(port)
    server.join()


def test_an_answer_cut_short_is_an_error() -> None:
    with pytest.raises(struct.error):
        names_broker(answer(9092)[:9], 9092)
