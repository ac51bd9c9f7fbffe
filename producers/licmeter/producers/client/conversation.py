"""What the client says to the server and hears from it: the coroutines behind both faces."""

import asyncio
import contextlib
import json
import uuid
from datetime import UTC, datetime
from typing import Any, Final

from licmeter.producers.client.answers import Authorization, AuthorizationUnavailable, TransportError
from licmeter.producers.client.core import Core
from licmeter.producers.client.courier import Courier, transport_of

__all__ = ["Conversation"]

_LOCAL_LICENSE: Final = "local_license"


class Conversation:
    """One session with the server, in one event loop: `start`, then anything, then `close`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._options = core.options
        self._courier: Courier | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the spool, and begin to send what earlier sessions left."""
        await asyncio.to_thread(self._core.open)
        self._courier = Courier(self._core, transport_of(self._options))
        self._task = asyncio.create_task(self._courier.run())

    async def close(self) -> None:
        """Bring everything into the spool, and try once, for `exit_timeout_s` at the most, to send it."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.to_thread(self._core.collect, all_slots=True)
        courier, self._courier = self._courier, None
        if courier is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._options.exit_timeout_s):
                    await courier.submit()
            await courier.close()
        await asyncio.to_thread(self._core.rest)

    async def flush(self) -> bool:
        """Report everything now, also of the slot that is still open; tell whether the server has it all."""
        courier = self._running()
        await asyncio.to_thread(self._core.collect, all_slots=True)
        return await courier.submit(again=True)

    async def authorize(
        self, *, feature: str | None = None, charge_way: str = "auto", requested_instances: int | None = None
    ) -> Authorization:
        """Ask for leave to run (domain, section 9).

        When no server answers, a local license that still lives is the answer, marked as `cached`. Raises
        `AuthorizationUnavailable` when there is none.
        """
        request = self._request(feature, charge_way, requested_instances)
        try:
            answer = await self._running().authorize(request)
        except TransportError as error:
            kept = await asyncio.to_thread(self._kept_license)
            if kept is None:
                raise AuthorizationUnavailable(str(error)) from error
            return kept
        self._core.items.update({item.item_id: item for item in answer.items})
        await asyncio.to_thread(self._keep_license, answer)
        return answer

    def _running(self) -> Courier:
        if self._courier is None:
            raise RuntimeError("the client is not started: use `async with`, or await start()")
        return self._courier

    def _request(self, feature: str | None, charge_way: str, requested_instances: int | None) -> dict[str, Any]:
        options = self._options
        validation = options.validation
        fields: dict[str, Any] = {
            "client_uuid": self._core.client_uuid,
            "auth_id": uuid.uuid4().hex,
            "at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "project_id": options.project_id,
            "product": options.product,
            "version": options.version,
            "edition": options.edition,
            "deployment_type": options.deployment_type,
            "charge_way": charge_way,
            "feature": feature,
            "requested_instances": requested_instances or self._core.recorder.instances,
            "validation": None if validation is None else dict(zip(("kind", "value"), validation, strict=True)),
        }
        return {name: value for name, value in fields.items() if value is not None}

    def _keep_license(self, answer: Authorization) -> None:
        if self._core.folder is None or not answer.granted or answer.local_expires_at is None:
            return
        kept = {
            "project_id": answer.project_id,
            "item_id": answer.item_id,
            "local_expires_at": answer.local_expires_at.isoformat(),
        }
        self._core.folder.spool.remember(_LOCAL_LICENSE, json.dumps(kept))

    def _kept_license(self) -> Authorization | None:
        """Return the local license, if it still lives (domain, L4)."""
        text = None if self._core.folder is None else self._core.folder.spool.recall(_LOCAL_LICENSE)
        if text is None:
            return None
        kept = json.loads(text)
        end = datetime.fromisoformat(kept["local_expires_at"])
        if end <= datetime.fromtimestamp(self._core.clock(), UTC):
            return None
        return Authorization(True, kept["project_id"], kept["item_id"], end, None, None, cached=True)
