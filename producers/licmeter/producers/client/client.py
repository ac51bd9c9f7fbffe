"""The asynchronous face of the client."""

from types import TracebackType
from typing import Any, Self

from licmeter.producers.client.answers import Authorization
from licmeter.producers.client.conversation import Conversation
from licmeter.producers.client.recording import Recording

__all__ = ["UsageClient"]


class UsageClient(Recording):
    """Reports usage: `async with UsageClient(url, license_key=…, spool=…) as client: client.record("qr")`.

    The options are those of `ClientOptions`. Reports are kept in the spool until the server has confirmed them.
    """

    def __init__(self, url: str | None = None, **options: Any) -> None:
        """Check the options; raises `OptionsError` that names every mistake."""
        super().__init__(url, **options)
        self._conversation = Conversation(self._core)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Open the spool, and begin to send what earlier sessions left."""
        await self._conversation.start()

    async def close(self) -> None:
        """Bring everything into the spool, and try once, for `exit_timeout_s` at the most, to send it."""
        await self._conversation.close()

    async def flush(self) -> bool:
        """Report everything now, also of the slot that is still open; tell whether the server has it all."""
        return await self._conversation.flush()

    async def authorize(
        self, *, feature: str | None = None, charge_way: str = "auto", requested_instances: int | None = None
    ) -> Authorization:
        """Ask for leave to run (domain, section 9).

        When no server answers, a local license that still lives is the answer, marked as `cached`. Raises
        `AuthorizationUnavailable` when there is none.
        """
        return await self._conversation.authorize(
            feature=feature, charge_way=charge_way, requested_instances=requested_instances
        )
