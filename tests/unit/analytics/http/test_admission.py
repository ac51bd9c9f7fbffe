"""Places for questions: bounded in all, by organization, and in how long one waits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from licmeter.analytics.http.admission import Admission
from licmeter.analytics.http.problems import TooMany, Unavailable


def make(hits: list[str], **bounds: float) -> Admission:
    chosen = {
        "queries_max": 3,
        "organization_queries_max": 2,
        "waiting_max": 2,
        "organization_waiting_max": 1,
        "wait_timeout_s": 60.0,
    } | bounds
    return Admission(on_hit=hits.append, **chosen)  # type: ignore[arg-type]


@asynccontextmanager
async def waiting(admission: Admission, organization: str) -> AsyncIterator["asyncio.Task[None]"]:
    """A question that waits for its place."""

    async def ask() -> None:
        async with admission.place(organization):
            pass

    task = asyncio.create_task(ask())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    yield task
    task.cancel()
    await asyncio.wait([task])


async def test_an_organization_cannot_take_all_places() -> None:
    admission = make([])
    async with admission.place("a"), admission.place("a"), waiting(admission, "a") as third:
        assert not third.done()
        async with admission.place("b"):
            assert (admission.running, admission.waiting) == (3, 1)
    assert (admission.open, admission.running, admission.waiting) == (0, 0, 0)


async def test_who_waits_has_the_place_that_becomes_free() -> None:
    admission = make([])
    async with AsyncExitStack() as stack:
        first = AsyncExitStack()
        await first.enter_async_context(admission.place("a"))
        await stack.enter_async_context(admission.place("a"))
        async with waiting(admission, "a") as third:
            await first.aclose()
            await asyncio.wait_for(third, 5)


async def test_more_than_an_organization_may_have_wait_is_429_and_counted() -> None:
    hits: list[str] = []
    admission = make(hits)
    async with admission.place("a"), admission.place("a"), waiting(admission, "a"):
        with pytest.raises(TooMany) as refused:
            async with admission.place("a"):
                pass
    assert refused.value.headers["Retry-After"]
    assert hits == ["organization"]


async def test_more_than_may_wait_in_all_is_503_and_counted() -> None:
    hits: list[str] = []
    admission = make(hits)
    async with AsyncExitStack() as stack:
        for organization in ("a", "b", "c"):
            await stack.enter_async_context(admission.place(organization))
        for organization in ("d", "e"):
            await stack.enter_async_context(waiting(admission, organization))
        with pytest.raises(Unavailable):
            async with admission.place("f"):
                pass
    assert hits == ["queries"]


@pytest.mark.parametrize("held", [["a", "a"], ["b", "c", "d"]], ids=["its own", "all"])
async def test_who_waits_for_too_long_is_told_to_come_back_and_holds_nothing(held: list[str]) -> None:
    hits: list[str] = []
    admission = make(hits, wait_timeout_s=0.01)
    async with AsyncExitStack() as stack:
        for organization in held:
            await stack.enter_async_context(admission.place(organization))
        with pytest.raises(Unavailable):
            async with admission.place("a"):
                pass
        assert admission.open == len(held)
    assert hits == ["wait"]
    async with admission.place("a"), admission.place("a"), admission.place("b"):
        assert admission.running == 3


async def test_a_question_that_is_given_up_leaves_its_place() -> None:
    admission = make([])
    async with admission.place("a"), admission.place("a"):
        async with waiting(admission, "a") as third:
            third.cancel()
            await asyncio.wait([third])
        assert admission.open == 2
    assert admission.open == 0
