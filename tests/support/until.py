"""Waits for what only asking can tell."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

SECONDS = 60.0
"""How long a condition is waited for; only a failing test waits as long."""


async def until(condition: Callable[[], Awaitable[bool] | bool], seconds: float = SECONDS) -> None:
    """Wait for a condition that can only be asked for."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = condition()
                if found if isinstance(found, bool) else await found:
                    return
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"in {seconds:g} s this did not come true: {condition}")
