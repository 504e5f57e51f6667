"""Turns to write to the Kubernetes API."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsscaler.reactor.write_turns import Kind, Turns

FEW = {"turns": 3, "for_steps": 1, "share": 1}


@contextlib.asynccontextmanager
async def all_taken(turns: Turns, number: int = 3) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for n in range(number):
            await stack.enter_async_context(turns.turn(Kind.STEP, f"busy-{n}"))
        yield


async def order(turns: Turns, *wanted: tuple[Kind, str]) -> list[str]:
    """Tell in which order writes are done that have come in this order while no turn was free."""
    done: list[str] = []

    async def write(kind: Kind, namespace: str) -> None:
        async with turns.turn(kind, namespace):
            done.append(f"{kind.name.lower()} of {namespace}")
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group, all_taken(turns):
        for kind, namespace in wanted:
            group.create_task(write(kind, namespace), name=namespace)
            await asyncio.sleep(0)
        assert done == []
    return done


async def test_steps_go_first_then_statuses_then_events() -> None:
    done = await order(
        Turns(**FEW), (Kind.EVENT, "a"), (Kind.STATUS, "b"), (Kind.STEP, "c"), (Kind.STEP, "d")
    )
    assert done == ["step of c", "step of d", "status of b", "event of a"]


async def test_a_namespace_with_many_writes_lets_the_others_in() -> None:
    done = await order(Turns(**FEW), *[(Kind.STEP, "many")] * 50, (Kind.STEP, "one"))
    assert done.index("step of one") == 1


async def test_writes_that_hang_leave_a_turn_for_steps() -> None:
    turns = Turns(**FEW)
    async with turns.turn(Kind.STATUS, "a"), turns.turn(Kind.EVENT, "b"):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), turns.turn(Kind.STATUS, "c"):
                pytest.fail("no turn is left for it")
        async with asyncio.timeout(1), turns.turn(Kind.STEP, "c"):
            pass


async def test_a_namespace_whose_writes_hang_leaves_turns_to_others() -> None:
    turns = Turns(turns=6, for_steps=1, share=2)
    async with contextlib.AsyncExitStack() as stack:
        for kind in (Kind.STEP, Kind.STEP, Kind.STATUS, Kind.EVENT):
            await stack.enter_async_context(turns.turn(kind, "hung"))
        for kind in Kind:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01), turns.turn(kind, "hung"):
                    pytest.fail("it has its share of the turns already")
        for kind in Kind:
            async with asyncio.timeout(1), turns.turn(kind, "other"):
                pass


async def test_a_turn_that_a_namespace_gives_back_is_handed_to_its_next_write() -> None:
    turns = Turns(turns=2, for_steps=0, share=1)
    done = asyncio.Event()

    async def write() -> None:
        async with turns.turn(Kind.STATUS, "a"):
            done.set()

    async with asyncio.TaskGroup() as group:
        async with turns.turn(Kind.EVENT, "a"):
            group.create_task(write(), name="next")
            await asyncio.sleep(0)
            assert not done.is_set()
        async with asyncio.timeout(1):
            await done.wait()


async def test_idle_once_nobody_writes_or_waits() -> None:
    turns = Turns(**FEW)
    async with asyncio.timeout(1):
        await turns.idle()
    async with turns.turn(Kind.EVENT, "a"):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await turns.idle()
    async with asyncio.timeout(1):
        await turns.idle()


@given(st.lists(st.tuples(st.sampled_from(Kind), st.sampled_from("abc"), st.integers(0, 3)), max_size=40))
async def test_no_turn_is_lost_or_made_whoever_gives_up(writers: list[tuple[Kind, str, int]]) -> None:
    turns, under_way = Turns(**FEW), 0

    async def write(kind: Kind, namespace: str, pause: int) -> None:
        nonlocal under_way
        async with turns.turn(kind, namespace):
            under_way += 1
            assert under_way <= FEW["turns"]
            try:
                for _ in range(pause):
                    await asyncio.sleep(0)
            finally:
                under_way -= 1

    tasks = [asyncio.create_task(write(*one), name="writer") for one in writers]
    for task, (_, _, pause) in zip(tasks, writers, strict=True):
        if pause == 3:
            await asyncio.sleep(0)
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(1):
        await turns.idle()
        async with all_taken(turns):
            pass
