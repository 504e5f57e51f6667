"""Asks NATS for streams and consumers over a rule's connection.

A connection may be shared by many, and its server may never answer. So each rule asks one thing at a time and
no further once that gets it nowhere, namespaces take turns on each connection, and all ends after a while.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from natsscaler.core.jetstream.sources import NotTold
from natsscaler.core.rule import RuleKey
from natsscaler.reactor.ports import ConnectionPort
from natsscaler.reactor.write_turns import Kind, Turns

AT_ONCE = 16
"""Questions on their way over one connection at the same time."""
ASK_SECONDS = 5.0
"""After how long no more is asked for one read, or for one arming."""

T = TypeVar("T")


class Questions(NamedTuple):
    """What a rule asks for, by name."""

    there: tuple[str, ...] = ()
    """What should be there: after the first that is not told of, nothing more is asked."""
    gone: tuple[str, ...] = ()
    """What may have been deleted: after the first of which that is not said, nothing more is asked."""


class Asking:
    """Who asks what on which connection."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turns: WeakKeyDictionary[ConnectionPort, Turns] = WeakKeyDictionary()

    async def ask(
        self,
        connection: ConnectionPort,
        wanted: Mapping[RuleKey, Questions],
        put: Callable[[str], Awaitable[T]],
    ) -> dict[RuleKey, dict[str, T | NotTold]]:
        """Return what each rule was told, by name; `put` asks one question on this connection."""
        until = self._clock() + ASK_SECONDS
        turns = self._turns.setdefault(connection, Turns(AT_ONCE, for_steps=0, share=AT_ONCE))
        asked: dict[tuple[str, str], asyncio.Task[T | NotTold]] = {}

        async def question(namespace: str, name: str) -> T | NotTold:
            async with turns.turn(Kind.STEP, namespace):
                return await put(name) if self._clock() < until else NotTold.NO_ANSWER

        async def answers(namespace: str, what: Questions) -> dict[str, T | NotTold]:
            told: dict[str, T | NotTold] = {}
            for name in (*what.there, *what.gone):
                if (namespace, name) not in asked:
                    task = group.create_task(question(namespace, name), name=f"ask for {name}")
                    asked[namespace, name] = task
                answer = told[name] = await asked[namespace, name]
                deleted = answer in (NotTold.NO_CONSUMER, NotTold.NO_STREAM)
                if isinstance(answer, NotTold) if name in what.there else not deleted:
                    break
            return told

        async with asyncio.TaskGroup() as group:
            rules = {
                key: group.create_task(answers(key.namespace, what), name=f"ask for {key}")
                for key, what in wanted.items()
            }
        return {key: task.result() for key, task in rules.items()}
