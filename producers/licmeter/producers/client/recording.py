"""What both faces of the client have: recording, and what is known of it."""

import atexit
import contextlib
import functools
import inspect
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from licmeter.producers.client.answers import ItemState
from licmeter.producers.client.core import Core, Stats
from licmeter.producers.client.options import ClientOptions
from licmeter.producers.client.reports import INSTANCES_MAX

__all__ = ["Recording"]

_F = TypeVar("_F", bound=Callable[..., Any])


class Recording:
    """What both faces have: recording, and what is known of it."""

    def __init__(self, url: str | None = None, *, clock: Callable[[], float] = time.time, **options: Any) -> None:
        """Check the options (`ClientOptions`); raises `OptionsError` that names every mistake."""
        self._options = ClientOptions(url=url, **options)
        self._core = Core(self._options, clock)
        #: Count an operation, or several: `record(feature, count=1, at=None)`. Never raises, never blocks.
        self.record = self._core.recorder.record
        # It holds on to the core, so that what was recorded outlives a client that nobody closes.
        atexit.register(self._core.rest)

    @contextlib.contextmanager
    def recording(self, feature: str, count: int = 1) -> Iterator[None]:
        """Count an operation when the block ends well: only successful operations count."""
        yield
        self.record(feature, count)

    def counted(self, feature: str, count: int = 1) -> Callable[[_F], _F]:
        """Decorate a function, or a coroutine function: each call that returns is counted."""

        def decorate(function: _F) -> _F:
            if inspect.iscoroutinefunction(function):

                @functools.wraps(function)
                async def counting(*args: Any, **kwargs: Any) -> Any:
                    result = await function(*args, **kwargs)
                    self.record(feature, count)
                    return result
            else:

                @functools.wraps(function)
                def counting(*args: Any, **kwargs: Any) -> Any:
                    result = function(*args, **kwargs)
                    self.record(feature, count)
                    return result

            return counting  # type: ignore[return-value]

        return decorate

    @property
    def instances(self) -> int:
        """How many instances this device runs; a slot is reported with the highest number declared in it."""
        return self._core.recorder.instances

    @instances.setter
    def instances(self, number: int) -> None:
        if type(number) is int and 1 <= number <= INSTANCES_MAX:
            self._core.recorder.set_instances(number)
        else:
            self._core.say("misuse of instances", f"a number from 1 to {INSTANCES_MAX:,}; it stays as it was")

    @property
    def client_uuid(self) -> str:
        """The identity of this device; empty until the spool is open."""
        return self._core.client_uuid

    @property
    def items(self) -> dict[str, ItemState]:
        """How the license items stood when the server last said so."""
        return dict(self._core.items)

    @property
    def stats(self) -> Stats:
        """What became of what was recorded, in this process."""
        return self._core.snapshot()
