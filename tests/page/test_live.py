"""The page on a running operator, and what it does when that falls silent, in a real browser."""

import pathlib
import re
import signal
from collections.abc import AsyncIterator
from functools import partial

import pytest
from kubernetes.aio import config
from playwright.async_api import Page, expect

from natsscaler.demo.kubernetes.server import EmbeddedKubernetes
from natsscaler.demo.nats_server import NatsServer
from natsscaler.demo.ports import free_port
from tests.conftest import KubeApi
from tests.page.conftest import Visitor
from tests.support.gallery import Gallery, Served, rule, serve
from tests.support.looking import accessible, points, row
from tests.support.relay import relay
from tests.support.stage import LONG, Stage, last_scaling, listening

STALE = re.compile("Lost connection to the operator. Showing data from .* Reconnecting")


@pytest.fixture
async def stage(
    embedded: EmbeddedKubernetes, nats_server: NatsServer, tmp_path: pathlib.Path, visitor: Visitor
) -> AsyncIterator[Stage]:
    """The operator on the embedded Kubernetes API alone: a page looks the same on a real one."""
    kubeconfig = tmp_path / "kubeconfig"
    async with await config.new_client_from_config(str(kubeconfig)) as api:  # type: ignore[no-untyped-call]
        stage = Stage(KubeApi(kubeconfig, "default", api, embedded), nats_server, tmp_path)
        await stage.create_stream()
        yield stage
        await visitor.leave()
        await stage.stop()


async def test_a_burst_on_nats_moves_the_chart_and_adds_the_action(visitor: Visitor, stage: Stage) -> None:
    port = free_port()
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG, messagesPerReplica=20)
    await stage.start("--activity-port", str(port), "--host", "127.0.0.1")
    await listening(stage)
    table = await visitor.live(f"http://127.0.0.1:{port}/")
    await expect(row(table, "my-app-scaling")).to_contain_text("Steady: at minReplicas")
    page = await visitor.live(f"http://127.0.0.1:{port}/rules/{stage.namespace}/my-app-scaling")
    chart = page.locator("#chart [role=img]")
    await expect(chart).to_have_accessible_name(re.compile(r"^Backlog between 0 and 0, .* 1 and 1, min"))
    await stage.publish(100)
    await expect(chart).to_have_accessible_name(
        re.compile(r"^Backlog between \d+ and 100, thresholds 10 and 50. Replicas between \d and 5, min")
    )
    await expect(page.locator("#actions > li")).to_contain_text(
        re.compile(r"1 → 5 .*backlog 100 ?BacklogAboveThreshold: Backlog 100 at 20 per replica wants 5")
    )
    await expect(page.locator("#wakeups")).to_contain_text("Messages were published")
    await expect(row(table, "my-app-scaling")).to_contain_text("1 → 5")
    await table.get_by_role("link", name="Timeline").click()
    await expect(table.locator(".changes tbody tr")).to_have_count(1)


async def test_an_operator_that_dies_makes_the_page_stale_until_another_one_answers(
    visitor: Visitor, stage: Stage
) -> None:
    visitor.outage = True
    flags = ("--activity-port", str(free_port()), "--host", "127.0.0.1")
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG, messagesPerReplica=20)
    first = await stage.start(*flags)
    await listening(stage)
    await stage.publish(60)
    await stage.becomes((1, 3), partial(last_scaling, stage))
    address = f"http://127.0.0.1:{flags[1]}/"
    page = await visitor.live(f"{address}rules/{stage.namespace}/my-app-scaling")
    table = await visitor.live(address)
    first.kill()
    await first.wait()
    for each in (page, table):
        await expect(each.get_by_role("alert")).to_have_text(STALE)
        await accessible(each)
    await expect(page.locator("#actions > li")).to_have_count(1)
    await stage.start(*flags)
    for each in (page, table):
        await expect(each.get_by_role("alert")).to_be_hidden()
        await expect(each.locator("#connection")).to_contain_text("Live")
    await stage.publish(40)
    await expect(page.locator("#actions > li")).to_have_count(2)
    await table.get_by_role("link", name="Timeline").click()
    await expect(table.locator(".changes tbody tr")).to_have_count(2)


async def test_an_operator_that_hangs_makes_the_page_stale_too(visitor: Visitor, stage: Stage) -> None:
    port = free_port()
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG)
    operator = await stage.start("--activity-port", str(port), "--host", "127.0.0.1")
    await listening(stage)
    page = await visitor.live(f"http://127.0.0.1:{port}/")
    operator.send_signal(signal.SIGSTOP)
    await expect(page.get_by_role("alert")).to_have_text(STALE)
    operator.send_signal(signal.SIGCONT)
    await expect(page.get_by_role("alert")).to_be_hidden()


async def test_a_page_too_many_says_so_until_another_one_is_closed(
    visitor: Visitor, gallery: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor.outage = True
    monkeypatch.setattr("natsscaler.web.sse.MOST_READERS", 1)
    address = f"http://127.0.0.1:{gallery.port}/"
    first = await visitor.live(address)
    second = await visitor.visit(address)
    await expect(second.get_by_role("alert")).to_have_text(
        re.compile("The operator refuses: .* pages are served already, 1 of them to 127.0.0.1: close some")
    )
    await first.close()
    await expect(second.get_by_role("alert")).to_be_hidden()
    await expect(second.locator("#connection")).to_contain_text("Live")


async def test_after_a_cut_connection_nothing_is_missing_and_nothing_twice(
    visitor: Visitor, gallery: Served
) -> None:
    visitor.outage = True
    made = rule("orders")
    gallery.gallery.show(made, 1, 1, ago=300)
    gallery.gallery.act(made, 1, 2, 60, ago=300)
    async with relay(gallery.port) as network:
        address = f"http://127.0.0.1:{network.port}/"
        page = await visitor.live(f"{address}rules/shop/orders")
        table = await visitor.live(f"{address}timeline")
        await page.get_by_text("Show as table").click()
        await expect(page.locator("#points tbody tr")).to_have_count(1)
        await network.cut()
        for number in range(2, 8):
            gallery.gallery.show(made, number, number, ago=300 - 30 * number)
            gallery.gallery.act(made, number, number + 1, 60, ago=300 - 30 * number)
        for each in (page, table):
            await expect(each.get_by_role("alert")).to_have_text(STALE)
        await network.fix()
        for each in (page, table):
            await expect(each.get_by_role("alert")).to_be_hidden()
        await expect(page.locator("#actions > li")).to_have_count(7)
        await expect(page.locator("#points tbody tr")).to_have_count(7)
        assert await points(page) == [(str(number), str(number)) for number in (7, 6, 5, 4, 3, 2, 1)]
        await expect(table.locator(".changes tbody tr")).to_have_count(7)
        shown = await table.locator(".changes tbody .change").all_inner_texts()
        assert [text.split()[1] for text in shown] == ["7", "6", "5", "4", "3", "2", "1"]
        await visitor.leave()


async def test_with_a_token_the_browser_asks_once_and_the_page_is_live(visitor: Visitor) -> None:
    token = "hush"
    async with serve(Gallery(), activity_token=token) as served:
        served.gallery.every_state()
        page = await visitor.live(served.url, http_credentials={"username": "me", "password": token})
        await page.get_by_role("link", name="steady").click()
        await expect(page.locator("#connection")).to_contain_text("Live")
        assert token not in await page.content()
        await visitor.leave()


async def test_a_tab_that_nobody_sees_lets_go_of_the_stream_and_catches_up_when_it_is_seen(
    visitor: Visitor, gallery: Served
) -> None:
    gallery.gallery.show(rule("orders"), 20, 2)
    page = await visitor.visit(gallery.url, clock=True)
    await expect(row(page, "orders")).to_contain_text("20")
    await see(page, seen=False)
    await page.clock.run_for(40_000)
    gallery.gallery.show(rule("orders"), 21, 2)
    await expect(page.locator("#connection")).to_contain_text("Stale")
    await page.clock.run_for(40_000)
    assert "21" not in await row(page, "orders").inner_text()
    await see(page, seen=True)
    await expect(row(page, "orders")).to_contain_text("21")


async def see(page: Page, *, seen: bool) -> None:
    """Let the page believe that its tab has come to the front, or gone to the back."""
    await page.evaluate(
        "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        not seen,
    )
