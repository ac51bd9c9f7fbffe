"""Whether a broker answers: one round trip in Kafka's own protocol.

A listening socket proves little: the broker opens it before it is ready. So we ask for its metadata, and take it as
ready when it lists itself, at the address that clients will be told.
"""

import socket
import struct

from licmeter.runtime.kafka.ports import HOST

__all__ = ["answers", "metadata_request", "names_broker"]

_TIMEOUT_S = 2.0  # for one answer; the caller asks again
_ANSWER_BYTES_MAX = 1 << 20  # no answer about one broker and no topics is larger; something else listens there
_METADATA_KEY = 3  # Metadata, version 1: the oldest that a 4.x broker answers with a list of brokers and no topics
_METADATA_VERSION = 1
_CORRELATION_ID = 0x6C6D  # any number; it must come back
_CLIENT_ID = b"licmeter"


def answers(port: int) -> bool:
    """Whether a broker on `port` of this machine says that it is there for clients."""
    try:
        with socket.create_connection((HOST, port), timeout=_TIMEOUT_S) as connection:
            connection.sendall(metadata_request())
            with connection.makefile("rb") as answer:
                (size,) = struct.unpack(">i", answer.read(4))
                return 0 < size <= _ANSWER_BYTES_MAX and names_broker(answer.read(size), port)
    except (OSError, struct.error):
        return False


def metadata_request() -> bytes:
    """A request for the brokers of the cluster, and for no topic."""
    head = struct.pack(">hhih", _METADATA_KEY, _METADATA_VERSION, _CORRELATION_ID, len(_CLIENT_ID)) + _CLIENT_ID
    body = head + struct.pack(">i", 0)
    return struct.pack(">i", len(body)) + body


def names_broker(answer: bytes, port: int) -> bool:
    """Whether the answer to `metadata_request` lists a broker at `port`; raises `struct.error` on one cut short."""
    correlation_id, brokers = struct.unpack_from(">ii", answer)
    if correlation_id != _CORRELATION_ID or brokers < 1:
        return False
    _node_id, host_size = struct.unpack_from(">ih", answer, 8)
    (advertised_port,) = struct.unpack_from(">i", answer, 14 + host_size)
    return bool(advertised_port == port)
