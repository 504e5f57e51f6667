"""`natsscaler top` and `natsscaler events`: what the statuses of the rules say, once or again and again."""

import asyncio
from collections.abc import AsyncIterator, Callable

from natsscaler import __version__
from natsscaler.commands.arguments import WATCH_SECONDS
from natsscaler.commands.options import Options
from natsscaler.core.explain.overview import Body, Happening, happenings, table, told
from natsscaler.core.explain.text import Style
from natsscaler.kube.connection import connect
from natsscaler.kube.reader import ClusterReader

Say = Callable[[str], None]
CLEAR = "\x1b[H\x1b[2J\x1b[3J"
"""Empties a terminal."""


async def top(options: Options, style: Callable[[], Style], say: Say, *, live: bool) -> None:
    """Show all rules; `live`: until somebody ends it. Raises KubernetesError and SettingsError."""
    async for bodies in _looks(options, again=live):
        say(f"{CLEAR if live else ''}{table(bodies, style())}")


async def events(options: Options, style: Callable[[], Style], say: Say) -> None:
    """Tell what happened, and with `follow` what happens. Raises KubernetesError and SettingsError."""
    known: set[Happening] = set()
    async for bodies in _looks(options, again=options.follow):
        for one in happenings(bodies):
            if one not in known:
                say(f"{told(one, style())}\n")
                known.add(one)


async def _looks(options: Options, *, again: bool) -> AsyncIterator[list[Body]]:
    async with await connect(options.kubeconfig, options.settings.in_cluster, options.context) as api:
        api.user_agent = f"natsscaler/{__version__}"
        cluster = ClusterReader(api)
        while True:
            yield await cluster.rules(*options.namespaces)
            if not again:
                return
            await asyncio.sleep(WATCH_SECONDS)
