"""Waits for what comes true in the Kubernetes API."""

import asyncio
from collections.abc import Callable


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not holds():  # noqa: ASYNC110 - the watch has no event for what this test waits for
            await asyncio.sleep(0.01)
