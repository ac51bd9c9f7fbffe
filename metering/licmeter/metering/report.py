"""A usage report as the core sees it: checked for form, with integers for instants."""

from hashlib import blake2b
from typing import Final

from msgspec import Struct
from msgspec.msgpack import Encoder

__all__ = ["CONTENT_BYTES", "IDENTITY_BYTES", "Report"]

#: 128 bits: with ten million remembered reports, the odds that two different ids ever meet are below 1e-24.
IDENTITY_BYTES: Final = 16
#: 64 bits: only compared between two reports of the same identity.
CONTENT_BYTES: Final = 8

# Copies of an empty hash cost less than new ones with a size.
_IDENTITY_HASH: Final = blake2b(digest_size=IDENTITY_BYTES)
_CONTENT_HASH: Final = blake2b(digest_size=CONTENT_BYTES)
#: MessagePack states the type and the length of every part, so different values give different bytes; and the
#: keys of a dictionary are sorted, so equal ones give equal bytes.
_encode: Final = Encoder(order="deterministic").encode


class Report(Struct, gc=False):
    """One report; not frozen only for its two digests.

    A `Struct`, because one is made in half the time of a dataclass; without the collector, because nothing in it
    can point back to it.
    """

    organization_id: str
    project_id: str | None  # None = the organization's default project
    client_uuid: str
    report_id: str
    slot_s: int
    received_ms: int
    counts: dict[str, int]
    product: str | None = None
    version: str | None = None
    edition: str | None = None
    deployment_type: str | None = None
    instances: int | None = None
    validation: tuple[str, str] | None = None
    usage_kind: str = "use"
    sent_ms: int | None = None
    stated_total: int | None = None
    slot_fraction_us: int = 0  # of the stated slot start; anything but 0 is not the start of a slot
    _identity: bytes = b""
    _content: bytes = b""

    def identity(self) -> bytes:
        """Return what makes a resubmission the same report: client and report id (A1), within an organization."""
        if not self._identity:
            digest = _IDENTITY_HASH.copy()
            digest.update(_encode((self.client_uuid, self.report_id, self.organization_id)))
            self._identity = digest.digest()
        return self._identity

    def content(self) -> bytes:
        """Return a digest of all fields but `sent_at`, `attempt` and `received_at` (A1)."""
        if not self._content:
            fields = (
                self.project_id,
                self.slot_s,
                self.counts,
                self.product,
                self.version,
                self.edition,
                self.deployment_type,
                self.instances,
                self.validation,
                self.usage_kind,
                self.stated_total,
            )
            digest = _CONTENT_HASH.copy()
            digest.update(_encode(fields))
            self._content = digest.digest()
        return self._content
