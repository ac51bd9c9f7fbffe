"""A request for leave to run, as the core sees it (domain, section 2, AuthEvent)."""

from dataclasses import dataclass
from hashlib import blake2b

from licmeter.metering.report import CONTENT_BYTES, IDENTITY_BYTES
from licmeter.schemas.authorizations import AuthorizationData

__all__ = ["Authorization"]


@dataclass(slots=True)
class Authorization:
    """One request; `at_ms` is the client's contact, `received_ms` its arrival here."""

    organization_id: str
    project_id: str | None  # None = the organization's default project
    client_uuid: str
    auth_id: str
    at_ms: int
    received_ms: int
    data: AuthorizationData

    def identity(self) -> bytes:
        """Return what makes a repeat the same request; never that of a report (decision 8, G3)."""
        client, auth = self.client_uuid.encode(), self.auth_id.encode()
        text = b"a%d:%d:%s%s%s" % (len(client), len(auth), client, auth, self.organization_id.encode())
        return blake2b(text, digest_size=IDENTITY_BYTES).digest()

    def content(self) -> bytes:
        """Return a digest of all fields but the arrival."""
        text = repr((self.project_id, self.at_ms, self.data.model_dump_json()))
        return blake2b(text.encode(), digest_size=CONTENT_BYTES).digest()
