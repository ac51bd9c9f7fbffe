"""Sends dead letters again, once each, and takes out those that were delivered."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from licmeter.sinks.notify.errors import DeliveryError, FailedError
from licmeter.sinks.notify.letters import Letter
from licmeter.sinks.notify.senders import Sender

__all__ = ["Box", "Replayed", "replay"]

#: A target that fails so often in a row is left alone; its letters stay where they are.
FAILURES_MAX: Final = 5
NOT_TRIED: Final = f"not tried: {FAILURES_MAX} before it failed"


class Box(Protocol):
    """Where dead letters are kept."""

    async def put(self, letter: Letter) -> None:
        """Keep a letter."""
        ...

    async def remove(self, key: bytes) -> None:
        """Take a letter out."""
        ...


@dataclass(slots=True)
class Replayed:
    """What became of the letters."""

    delivered: list[Letter] = field(default_factory=list)
    failed: list[tuple[Letter, str]] = field(default_factory=list)


async def replay(
    letters: Sequence[Letter],
    senders: Mapping[str, Sender],
    box: Box,
    now: Callable[[], datetime],
    on_done: Callable[[], None],
) -> Replayed:
    """Send each letter once, those of a target one after another. A letter goes when its notice was delivered.

    When this is broken off between the two, the letter stays, and a replay sends it again with the same key.
    """
    by_target: dict[str, list[Letter]] = defaultdict(list)
    for letter in letters:
        by_target[letter.notice.target].append(letter)
    result = Replayed()
    await asyncio.gather(
        *(_replay_target(own, senders[target], box, now, on_done, result) for target, own in by_target.items())
    )
    return result


async def _replay_target(
    letters: Sequence[Letter],
    sender: Sender,
    box: Box,
    now: Callable[[], datetime],
    on_done: Callable[[], None],
    result: Replayed,
) -> None:
    failures = 0
    for letter in letters:
        if failures >= FAILURES_MAX:
            result.failed.append((letter, NOT_TRIED))
        else:
            reason = await _replay_one(letter, sender, box, now)
            failures = 0 if reason is None else failures + 1
            if reason is None:
                result.delivered.append(letter)
            else:
                result.failed.append((letter, reason))
        on_done()


async def _replay_one(letter: Letter, sender: Sender, box: Box, now: Callable[[], datetime]) -> str | None:
    """Send one; return why it failed, None when it was delivered."""
    try:
        refused = await sender.send(letter.notice)
    except FailedError as error:
        if error.left is not None:
            await _keep_for(letter, (*error.left, *error.refused), error.reason, box, now())
        return error.reason
    except DeliveryError as error:
        return error.reason
    if refused:
        detail = f"{len(refused)} recipient(s): {next(iter(refused.values()))}"
        await _keep_for(letter, tuple(refused), detail, box, now())
        return detail
    await box.remove(letter.key)
    return None


async def _keep_for(letter: Letter, addresses: tuple[str, ...], detail: str, box: Box, now: datetime) -> None:
    """Put a letter for those who did not get it in the place of one for more."""
    notice = letter.notice.model_copy(update={"left": tuple(sorted(addresses))})
    rest = letter.model_copy(
        update={"notice": notice, "detail": detail, "attempts": letter.attempts + 1, "given_up_at": now}
    )
    await box.put(rest)
    if rest.key != letter.key:
        await box.remove(letter.key)
