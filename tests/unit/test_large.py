"""Who may have large answers at the same time, and how these are decoded."""

import asyncio
import contextlib

import msgspec
import pytest

from natsscaler.core.errors import MonitoringError
from natsscaler.core.jetstream.documents import MOST_ENTRIES, MOST_PEERS, read_jsz
from natsscaler.nats import large
from natsscaler.nats.large import EACH, PLACE_SECONDS, PLACES, Intake, Places, TakenPlace, Taking
from tests.support.until import until


async def waiting(places: Places, tenant: str, count: int) -> list[asyncio.Task[TakenPlace]]:
    """Have a tenant ask for so many places, and return once it has what it gets at once."""
    tasks = [asyncio.create_task(places.take(tenant)) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


def served(tasks: list[asyncio.Task[TakenPlace]]) -> int:
    return sum(task.done() for task in tasks)


async def cancel(*tasks: asyncio.Task[TakenPlace]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_tenant_with_many_large_answers_leaves_places_to_others() -> None:
    places = Places(PLACES)
    greedy = await waiting(places, "greedy", 200)
    assert served(greedy) == EACH
    assert served(await waiting(places, "modest", 1)) == 1
    await cancel(*greedy)


async def test_tenants_have_the_only_place_in_turn() -> None:
    places, order = Places(1), []

    async def use(tenant: str) -> None:
        place = await places.take(tenant)
        order.append(tenant)
        await asyncio.sleep(0)
        place.leave()

    async with asyncio.TaskGroup() as group:
        for tenant in (*100 * ["greedy"], "modest", "other"):
            group.create_task(use(tenant))
    assert {"modest", "other"} < set(order[:4])
    assert len(order) == 102


async def test_who_no_longer_waits_takes_no_place() -> None:
    places = Places(1)
    (holder,) = await waiting(places, "a", 1)
    await cancel(*await waiting(places, "b", 5))
    (next_one,) = await waiting(places, "c", 1)
    holder.result().leave()
    (await next_one).leave()
    assert served(await waiting(places, "b", 1)) == 1


async def test_a_reading_keeps_its_place_until_nobody_uses_it() -> None:
    class Used:
        pass

    intake, used = Intake(), Used()
    for _ in range(EACH):
        with Taking(intake, "a", 100) as taking:
            async with taking.large_answer():
                assert taking.large
            taking.keep_for(used)
    (next_one,) = await waiting(intake.places, "a", 1)
    assert not next_one.done()
    del used
    await until(next_one.done, PLACE_SECONDS / 2)


async def test_a_reading_that_fails_keeps_no_place() -> None:
    intake = Intake()
    for _ in range(2 * PLACES):
        with contextlib.suppress(MonitoringError), Taking(intake, "a", 100) as taking:
            async with taking.large_answer():
                taking.count(101)


async def test_a_reading_that_is_used_for_ever_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "PLACE_SECONDS", 0.01)
    places = Places(1)
    kept = await places.take("a")
    await places.take("b")
    kept.leave()


def document(config: str = "{}", consumers: str = "", more: str = "") -> bytes:
    return (
        '{"server_id":"A","now":"2026-01-01T00:00:00Z","account_details":[{"name":"A","stream_detail":'
        f'[{{"name":"S","state":{{"messages":0}},"config":{config},"consumer_detail":[{consumers}]}}]}}]{more}}}'
    ).encode()


PEER = '{"name":"n"},'
CONSUMER = '{"name":"c","num_pending":0,"num_ack_pending":0}'


def strings(number: int) -> str:
    return "[" + number * '"a",' + '"a"]'


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(document(f'{{"subjects":{strings(MOST_ENTRIES)}}}'), id="subjects"),
        pytest.param(document(f'{{"sources":[{MOST_ENTRIES * "{},"}{{}}]}}'), id="sources"),
        pytest.param(document(consumers=MOST_ENTRIES * f"{CONSUMER}," + CONSUMER), id="consumers"),
        pytest.param(
            document(consumers=CONSUMER[:-1] + f',"config":{{"filter_subjects":{strings(MOST_ENTRIES)}}}}}'),
            id="filters",
        ),
        pytest.param(
            document(more=f',"meta_cluster":{{"replicas":[{MOST_PEERS * PEER}{PEER[:-1]}]}}'), id="nodes"
        ),
    ],
)
def test_an_answer_of_too_many_entries_is_not_decoded(raw: bytes) -> None:
    """It would take many times as much memory as it has bytes."""
    with pytest.raises(msgspec.ValidationError):
        read_jsz(raw)


def test_half_as_many_entries_are_decoded() -> None:
    half = MOST_ENTRIES // 2
    (account,) = read_jsz(document(f'{{"subjects":{strings(half)}}}')).account_details
    assert account.stream_detail[0].config
    assert len(account.stream_detail[0].config.subjects) == half + 1
