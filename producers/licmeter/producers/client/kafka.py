"""Delivers straight to Kafka: for servers that may reach the broker. No answer tells how the items stand."""

import json
from collections.abc import Sequence
from typing import Any

from licmeter.producers.client.answers import Authorization, Delivery, TransportError
from licmeter.producers.client.options import ClientOptions
from licmeter.producers.errors import SendError
from licmeter.producers.sending import send_events
from licmeter.schemas.reports import encode_event, organization_of

__all__ = ["KafkaTransport"]


class KafkaTransport:
    """Connects for each delivery: once in a submission cycle that costs less than a connection that is kept."""

    def __init__(self, options: ClientOptions) -> None:
        assert options.kafka is not None
        self._options = options
        self._servers = options.kafka
        self._timeout_s = options.request_timeout_s

    async def close(self) -> None:
        """Nothing is kept."""

    async def deliver(self, ids: Sequence[str], events: Sequence[bytes]) -> Delivery:
        """Send events; they are confirmed when the broker has them all. Raises `TransportError` otherwise."""
        records = [_owned(event, self._options) for event in events]
        try:
            await send_events(
                self._servers, records, connect_timeout_s=self._timeout_s, request_timeout_s=self._timeout_s
            )
        except SendError as error:
            raise TransportError(str(error)) from error
        return Delivery(confirmed=list(ids))

    async def authorize(self, request: dict[str, Any]) -> Authorization:
        """Raise `TransportError`: only a gateway answers requests for leave."""
        raise TransportError("leave to run is given by a gateway; use url and license_key")


def _owned(event: bytes, options: ClientOptions) -> tuple[bytes, bytes]:
    """Return a record; a report that a gateway's key would have named the owner of gets the owner of the options."""
    fields = json.loads(event)
    if fields.get("subject") is None and fields.get("organizationid") is None:
        if options.project_id is not None:
            fields["subject"] = options.project_id
        else:
            fields["organizationid"] = options.organization_id
        event = encode_event(fields)
    subject = fields.get("subject")
    owner = organization_of(subject) if subject is not None else str(fields["organizationid"])
    return owner.encode(), event
