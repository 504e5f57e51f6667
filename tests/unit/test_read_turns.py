"""Turns to read monitoring endpoints."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from natsscaler.reactor.read_turns import ReadTurns


@contextlib.asynccontextmanager
async def taken(turns: ReadTurns, *namespaces: str) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for one in namespaces:
            await stack.enter_async_context(turns.turn({one}))
        yield


async def free(turns: ReadTurns, *namespaces: str) -> bool:
    """Tell whether a read for these namespaces need not wait."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.01), turns.turn(namespaces):
            return True
    return False


async def test_a_namespace_waits_for_its_own_reads_alone() -> None:
    turns = ReadTurns(each=2)
    async with taken(turns, "many", "many"):
        assert not await free(turns, "many")
        assert await free(turns, "other")
    assert await free(turns, "many")


async def test_a_read_for_several_namespaces_needs_a_turn_of_one() -> None:
    turns = ReadTurns(each=1)
    async with taken(turns, "many"):
        assert await free(turns, "many", "other")
        async with taken(turns, "other"):
            assert not await free(turns, "many", "other")


@pytest.mark.parametrize("released", ["a", "b"])
async def test_who_waits_for_several_gets_the_first_turn_that_is_given_back(released: str) -> None:
    turns, got = ReadTurns(each=1), asyncio.Event()

    async def read() -> None:
        async with turns.turn(("a", "b")):
            got.set()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        held = {name: contextlib.AsyncExitStack() for name in ("a", "b")}
        for name, stack in held.items():
            await stack.enter_async_context(turns.turn({name}))
        group.create_task(read(), name="read")
        await asyncio.sleep(0)
        assert not got.is_set()
        await held.pop(released).aclose()
        await got.wait()
        for stack in held.values():
            await stack.aclose()
    assert await free(turns, "a")
    assert await free(turns, "b")


async def test_who_is_cancelled_while_waiting_takes_no_turn() -> None:
    turns = ReadTurns(each=1)
    async with taken(turns, "a"):
        assert not await free(turns, "a")
    assert await free(turns, "a")
