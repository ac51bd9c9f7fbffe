"""The CloudEvents 1.0 envelope in which every event of licmeter travels."""

from typing import Any, Final

__all__ = ["CLOUD_EVENT_HEADERS", "cloud_event"]

#: The headers of a record that holds an event in structured mode (CloudEvents Kafka binding, 3.3).
CLOUD_EVENT_HEADERS: Final = (("content-type", b"application/cloudevents+json"),)


def cloud_event(
    kind: str,
    *,
    event_id: str,
    source: str,
    time: Any,
    data: Any,
    subject: str | None = None,
    organization_id: str | None = None,
) -> dict[str, Any]:
    """Build an event of a type; nothing is checked here, so that a test can build bad ones.

    `organization_id` becomes the extension attribute that names an organization where there is no subject.
    """
    event: dict[str, Any] = {
        "specversion": "1.0",
        "type": kind,
        "id": event_id,
        "source": source,
        "time": time,
        "datacontenttype": "application/json",
        "data": data,
    }
    if subject is not None:
        event["subject"] = subject
    if organization_id is not None:
        event["organizationid"] = organization_id
    return event
