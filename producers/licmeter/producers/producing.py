"""What everybody who writes to `usage.events` has in common: a producer that repeats nothing, and where a key goes."""

from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

__all__ = ["BATCH_BYTES_MAX", "REQUEST_BYTES_MAX", "idempotent_producer", "place_of"]

#: Bytes of one batch before compression: with room below the 1 MB that a topic takes by default. A larger record
#: still goes, alone in its batch.
BATCH_BYTES_MAX: Final = 512 * 1024
#: Above the largest event that `usage.events` takes, 12 MB, and what surrounds it.
REQUEST_BYTES_MAX: Final = 13 * 1024 * 1024


def idempotent_producer(bootstrap_servers: str, *, client_id: str, request_timeout_s: float) -> AIOKafkaProducer:
    """Return a producer, not started, with acks=all; the broker may take so long for a batch, over all attempts."""
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers,
        client_id=client_id,
        enable_idempotence=True,
        acks="all",
        compression_type="lz4",
        max_batch_size=BATCH_BYTES_MAX,
        max_request_size=REQUEST_BYTES_MAX,
        request_timeout_ms=round(request_timeout_s * 1000),
    )


def place_of(key: bytes, count: int) -> int:
    """Return which of so many partitions a key goes to, as Kafka's own clients have it."""
    place: int = (murmur2(key) & 0x7FFFFFFF) % count
    return place
