"""What happens when a process with clients forks: nothing is half done meanwhile, and the child begins anew."""

import logging
import os
import threading
import weakref
from collections.abc import Callable
from typing import Final, Protocol

__all__ = ["Forkable", "watch"]

_log: Final = logging.getLogger("licmeter.client")


class Forkable(Protocol):
    """What wants to know of forks."""

    def before_fork(self) -> None:
        """Wait until nothing is half done."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Begin anew."""


class _Watch:
    """One fork at a time: another thread that forks meanwhile would find the locks of the first one."""

    def __init__(self) -> None:
        self._all: weakref.WeakSet[Forkable] = weakref.WeakSet()
        self._lock = threading.RLock()
        self._forking: list[Forkable] = []

    def add(self, one: Forkable) -> None:
        with self._lock:
            self._all.add(one)

    def before(self) -> None:
        self._lock.acquire()
        self._forking = list(self._all)
        for one in self._forking:
            one.before_fork()

    def in_parent(self) -> None:
        self._after(lambda one: one.after_fork_in_parent())
        self._lock.release()

    def in_child(self) -> None:
        self._lock = threading.RLock()
        self._after(lambda one: one.after_fork_in_child())

    def _after(self, what: Callable[[Forkable], None]) -> None:
        forking, self._forking = self._forking, []
        for one in reversed(forking):
            # The others, and the program, go on; the interpreter prints what a hook raises, and so do we.
            try:
                what(one)
            except Exception:
                _log.exception("licmeter: fork_failed")


_watch = _Watch()
watch = _watch.add

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_watch.before, after_in_parent=_watch.in_parent, after_in_child=_watch.in_child)
