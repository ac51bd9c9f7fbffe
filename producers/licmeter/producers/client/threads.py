"""Calls that block, from an event loop."""

import asyncio
import concurrent.futures.thread  # noqa: F401 - else the first call loads it, and a fork meanwhile finds half of it
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["in_thread", "to_its_end"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def in_thread(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call a function in a thread; here, when the interpreter ends and starts no more threads."""
    started = False

    def call() -> _T:
        nonlocal started
        started = True
        return function(*args, **kwargs)

    try:
        return await asyncio.to_thread(call)
    except RuntimeError:
        if started:
            raise
    return call()


async def to_its_end(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call a function in a thread, and wait for its end even when we are cancelled meanwhile."""
    task = asyncio.ensure_future(in_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
