"""Who may ask NATS how much, while others ask too and it does not answer."""

import asyncio
from collections import Counter
from typing import cast

from natsscaler.core.jetstream.sources import NotTold
from natsscaler.core.rule import RuleKey
from natsscaler.reactor.ports import ConnectionPort
from natsscaler.reactor.questions import ASK_SECONDS, AT_ONCE, Asking, Questions
from tests.support.waking import in_virtual_time


class Server:
    """Answers after a while, or not at all."""

    def __init__(self, seconds: float, answer: str | NotTold = "told") -> None:
        self.asked: list[str] = []
        self.under_way: Counter[str] = Counter()
        self.most = 0
        self._seconds, self._answer = seconds, answer

    async def put(self, name: str) -> str | NotTold:
        self.asked.append(name)
        self.under_way[name] += 1
        self.most = max(self.most, self.under_way.total())
        await asyncio.sleep(self._seconds)
        self.under_way[name] -= 1
        return self._answer

    @property
    def connection(self) -> ConnectionPort:
        return cast("ConnectionPort", self)


def rules(namespace: str, count: int, names: int) -> dict[RuleKey, Questions]:
    return {
        RuleKey(namespace, f"rule-{number}"): Questions(
            tuple(f"{namespace}/{number}/{n}" for n in range(names))
        )
        for number in range(count)
    }


def asking() -> Asking:
    return Asking(lambda: asyncio.get_running_loop().time())


def test_each_is_told_what_it_asked_for_and_the_same_is_asked_once() -> None:
    async def scenario() -> None:
        server = Server(0.01)
        wanted = {RuleKey("a", "x"): Questions(("S/w", "S/v")), RuleKey("a", "y"): Questions(("S/w",))}
        told = await asking().ask(server.connection, wanted, server.put)
        assert told == {
            RuleKey("a", "x"): {"S/w": "told", "S/v": "told"},
            RuleKey("a", "y"): {"S/w": "told"},
        }
        assert sorted(server.asked) == ["S/v", "S/w"]

    in_virtual_time(scenario)


def test_a_namespace_that_asks_a_lot_keeps_no_other_waiting() -> None:
    async def scenario() -> None:
        server, shared = Server(0.1), asking()
        greedy = asyncio.create_task(
            shared.ask(server.connection, rules("greedy", 500, 10), server.put), name="greedy"
        )
        await asyncio.sleep(0.05)
        clock = asyncio.get_running_loop().time
        began = clock()
        told = await shared.ask(server.connection, rules("modest", 1, 1), server.put)
        assert list(told.values()) == [{"modest/0/0": "told"}]
        assert clock() - began < 0.3, "the next turn is its own"
        assert server.most == AT_ONCE
        await greedy
        assert clock() - began < ASK_SECONDS + 1, "all ends after a while"

    in_virtual_time(scenario)


def test_who_gets_nowhere_asks_no_further() -> None:
    async def scenario() -> None:
        for answer in NotTold:
            server = Server(0.0, answer)
            told = await asking().ask(server.connection, rules("a", 1, 100), server.put)
            assert list(told.values()) == [{"a/0/0": answer}]
            server = Server(0.0, answer)
            wanted = {RuleKey("a", "x"): Questions(gone=("S/w", "S/v"))}
            told = await asking().ask(server.connection, wanted, server.put)
            deleted = answer in (NotTold.NO_CONSUMER, NotTold.NO_STREAM)
            assert server.asked == (["S/w", "S/v"] if deleted else ["S/w"])

    in_virtual_time(scenario)
