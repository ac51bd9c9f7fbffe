"""What the client says to the server and hears from it: the coroutines behind both faces."""

import asyncio
import contextlib
import json
import sqlite3
import uuid
from datetime import UTC, datetime
from typing import Any, Final

from licmeter.producers.client.answers import Authorization, AuthorizationUnavailable, TransportError
from licmeter.producers.client.core import Core
from licmeter.producers.client.courier import Courier, transport_of
from licmeter.producers.client.http import tls
from licmeter.producers.client.threads import in_thread, to_its_end

__all__ = ["Conversation"]

_LOCAL_LICENSE: Final = "local_license"
#: What of a request decides which leave is asked for; the rest is the same for the whole program.
_DECIDES: Final = ("feature", "charge_way", "requested_instances", "project_id", "product", "version", "edition")


class Conversation:
    """One session with the server, in one event loop: `start`, then anything, then `close`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._options = core.options
        if core.options.url is not None:
            tls()
        self._courier: Courier | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the spool, and begin to send what earlier sessions left."""
        if self._courier is not None:
            return
        courier = Courier(self._core, transport_of(self._options))
        try:
            await in_thread(self._core.open)
        except BaseException:
            await courier.close()
            raise
        self._courier = courier
        self._task = asyncio.create_task(self._background(courier))

    async def _background(self, courier: Courier) -> None:
        try:
            await courier.run()
        finally:
            if self._task is not None:  # not `close` ends us, but the event loop does
                await courier.close()

    async def close(self) -> None:
        """Bring everything into the spool, and try once, for `exit_timeout_s` at the most, to send it."""
        task, self._task = self._task, None
        courier, self._courier = self._courier, None
        try:
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
            await self.send_rest(courier)
        finally:
            if courier is not None:
                await courier.close()
            await to_its_end(self._core.rest)

    async def send_rest(self, courier: Courier | None = None) -> None:
        """Bring everything into the spool, and try once to send it."""
        courier = courier or self._courier
        await in_thread(self._core.collect, all_slots=True)
        if courier is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._options.exit_timeout_s):
                await courier.submit()

    async def flush(self) -> bool:
        """Report everything now, also of the slot that is still open; tell whether the server has it all."""
        courier = self._running()
        collected = await in_thread(self._core.collect, all_slots=True)
        return await courier.submit(again=True) and collected

    async def authorize(
        self, *, feature: str | None = None, charge_way: str = "auto", requested_instances: int | None = None
    ) -> Authorization:
        """Ask for leave to run (domain, section 9).

        When no server answers, a local license that still lives is the answer, marked as `cached`. Raises
        `AuthorizationUnavailable` when there is none.
        """
        courier = self._running()
        try:
            await in_thread(self._core.identify)
        except sqlite3.Error as error:
            raise AuthorizationUnavailable(f"the spool does not tell which device this is: {error}") from error
        request = self._request(feature, charge_way, requested_instances)
        name = _license_name(request)
        try:
            answer = await courier.authorize(request)
        except TransportError as error:
            kept = None if error.forbidden else await in_thread(self._kept_license, name)
            if kept is None:
                raise AuthorizationUnavailable(str(error)) from error
            return kept
        self._core.items.update({item.item_id: item for item in answer.items})
        await in_thread(self._keep_license, name, answer)
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
            "at": datetime.fromtimestamp(self._core.now(), UTC).isoformat().replace("+00:00", "Z"),
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

    def _keep_license(self, name: str, answer: Authorization) -> None:
        """Keep the leave that was given; after a refusal there is none any more."""
        if self._core.folder is None:
            return
        kept = None
        if answer.granted and answer.local_expires_at is not None:
            kept = {
                "project_id": answer.project_id,
                "item_id": answer.item_id,
                "local_expires_at": answer.local_expires_at.isoformat(),
            }
        try:
            self._core.folder.spool.remember(name, json.dumps(kept))
        except sqlite3.Error as error:  # the leave is given all the same
            self._core.failed(error)

    def _kept_license(self, name: str) -> Authorization | None:
        """Return the local license for a request, if it still lives (domain, L4)."""
        try:
            text = None if self._core.folder is None else self._core.folder.spool.recall(name)
            kept = None if text is None else json.loads(text)
            if kept is None:
                return None
            end = datetime.fromisoformat(kept["local_expires_at"])
            if end <= datetime.fromtimestamp(self._core.now(), UTC):
                return None
            return Authorization(True, kept["project_id"], kept["item_id"], end, None, None, cached=True)
        except sqlite3.Error as error:
            self._core.failed(error)
        except (ValueError, KeyError, TypeError) as error:
            self._core.say("local_license_unreadable", f"{type(error).__name__}: {error}")
        return None


def _license_name(request: dict[str, Any]) -> str:
    """Name the local license that answers a request: leave for one feature is none for another."""
    return " ".join([_LOCAL_LICENSE, *(str(request.get(name)) for name in _DECIDES)])
