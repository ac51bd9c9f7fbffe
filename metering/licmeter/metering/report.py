"""A usage report as the core sees it: checked for form, with integers for instants."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

__all__ = ["CONTENT_BYTES", "IDENTITY_BYTES", "Report"]

#: 128 bits: with ten million remembered reports, the odds that two different ids ever meet are below 1e-24.
IDENTITY_BYTES: Final = 16
#: 64 bits: only compared between two reports of the same identity.
CONTENT_BYTES: Final = 8


@dataclass(slots=True)
class Report:
    """One report; not frozen only because a frozen one takes three times as long to make, on the hot path."""

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
    slot_fraction_us: int = 0  # of the stated slot start; anything but 0 is not the start of a slot
    _identity: bytes = b""
    _content: bytes = b""

    @property
    def total(self) -> int:
        """Sum of all counts; zero is a contact without use (A6)."""
        return sum(self.counts.values())

    def identity(self) -> bytes:
        """Return what makes a resubmission the same report: client and report id (A1), within an organization.

        Lengths stand before the parts, so that no two triples of strings give the same input.
        """
        if not self._identity:
            client, report = self.client_uuid.encode(), self.report_id.encode()
            text = b"%d:%d:%s%s%s" % (len(client), len(report), client, report, self.organization_id.encode())
            self._identity = blake2b(text, digest_size=IDENTITY_BYTES).digest()
        return self._identity

    def content(self) -> bytes:
        """Return a digest of all fields but `sent_at`, `attempt` and `received_at` (A1)."""
        if self._content:
            return self._content
        text = repr(
            (
                self.project_id,
                self.slot_s,
                sorted(self.counts.items()),
                self.product,
                self.version,
                self.edition,
                self.deployment_type,
                self.instances,
                self.validation,
                self.usage_kind,
            )
        )
        self._content = blake2b(text.encode(), digest_size=CONTENT_BYTES).digest()
        return self._content
