"""The table of all rules, in a real browser."""

import re

import pytest
from playwright.async_api import Page, expect

from natsscaler.core.status import RuleStatus, WorkRates
from natsscaler.web.api import Leader
from tests.page.conftest import Scheme, Visitor
from tests.support.gallery import ABSENT, DEAF, LOST, Served, rule
from tests.support.looking import BOTH, SHOWN, accessible, row

UNKNOWN = "\N{EN DASH}"


async def names(page: Page) -> list[str]:
    return await page.locator(f"{SHOWN} th a").all_inner_texts()


@BOTH
async def test_every_state_is_told_in_words_and_all_of_it_is_accessible(
    visitor: Visitor, gallery: Served, scheme: Scheme
) -> None:
    gallery.gallery.every_state()
    page = await visitor.live(gallery.url, scheme=scheme)
    ground = "rgb(255, 255, 255)" if scheme == "light" else "rgb(13, 17, 23)"
    await expect(page.locator("body")).to_have_css("background-color", ground)
    await expect(row(page, "unknown-backlog")).to_contain_text("NATS cannot be reached")
    await expect(row(page, "unknown-backlog").locator(".backlog")).to_have_text(UNKNOWN)
    await expect(row(page, "not-event-driven")).to_contain_text("Polled: there is no connection to NATS")
    await expect(row(page, "not-event-driven").get_by_label("Warning")).to_be_visible()
    await expect(row(page, "missing")).to_contain_text("No such Deployment")
    await expect(row(page, "at-max")).to_contain_text("At maxReplicas")
    await expect(row(page, "steady")).to_contain_text("9 → 1")
    await accessible(page)


async def test_the_gravest_come_first_and_columns_sort(visitor: Visitor, gallery: Served) -> None:
    for name, waiting, replicas in (("b", 3, 7), ("a", 20, 2), ("c", 600, 10)):
        gallery.gallery.show(rule(name), waiting, replicas)
    page = await visitor.live(gallery.url)
    await expect(page.locator(SHOWN)).to_have_count(3)
    assert (await names(page))[0] == "c", "at maxReplicas"
    await page.get_by_role("button", name="Replicas").focus()
    await page.keyboard.press("Enter")
    assert await names(page) == ["a", "b", "c"]
    await expect(page.locator("th[aria-sort=ascending]")).to_have_text("Replicas")
    await page.keyboard.press("Enter")
    assert await names(page) == ["c", "b", "a"]


async def test_a_thousand_rules_are_found_sorted_and_kept_up_to_date(
    visitor: Visitor, gallery: Served
) -> None:
    gallery.gallery.many(1000)
    page = await visitor.live(gallery.url)
    await expect(page.locator("#shown")).to_have_text("1,000 rules")
    await expect(page.locator(SHOWN)).to_have_count(100)
    await page.get_by_role("button", name="Show 100 more of 1,000").click()
    await expect(page.locator(SHOWN)).to_have_count(200)
    await page.get_by_label("Filter the rules").fill("orders.77 shop")
    await expect(page.locator("#shown")).to_have_text("11 of 1,000 rules")
    assert "rule-0077" in await names(page)
    await page.get_by_label("Filter the rules").fill("MonitoringUnreachable")
    await expect(page.locator("#shown")).to_have_text("10 of 1,000 rules")
    await page.get_by_label("Filter the rules").fill("")
    await page.get_by_role("radio", name="Needs action").check()
    await expect(page.locator("#shown")).to_have_text("10 of 1,000 rules")
    await page.get_by_role("radio", name="All").check()
    await page.locator("#rules thead").get_by_role("button", name="Rule", exact=True).click()
    gallery.gallery.show(rule("rule-0000", subject="orders.0"), 777, 5)
    await expect(page.locator(SHOWN).first).to_contain_text("777")
    await page.locator("#rules thead").get_by_role("button", name="Rule", exact=True).click()
    await expect(page.locator(SHOWN).first).to_contain_text("rule-0999")
    await accessible(page)


async def test_rules_come_change_and_go_without_taking_the_focus(visitor: Visitor, gallery: Served) -> None:
    gallery.gallery.show(rule("a"), 20, 2)
    page = await visitor.live(gallery.url)
    link = page.locator(f"{SHOWN} a")
    await link.focus()
    gallery.gallery.show(rule("a"), 430, 10)
    await expect(page.locator(SHOWN)).to_contain_text("430")
    gallery.gallery.show(rule("b"), 430, 10)
    await expect(page.locator(SHOWN)).to_have_count(2)
    await expect(link.first).to_be_focused()
    gallery.gallery.activity.forget(rule("b").key)
    await expect(page.locator(SHOWN)).to_have_count(1)


@BOTH
async def test_an_operator_without_rules_says_what_to_do(
    visitor: Visitor, gallery: Served, scheme: Scheme
) -> None:
    page = await visitor.live(gallery.url, scheme=scheme)
    await expect(page.locator("#shown")).to_have_text("No scaling rules")
    await expect(page.locator("#empty")).to_contain_text("kind: ScalingRule")
    await expect(page.locator("#empty")).to_contain_text("kubectl apply -f my-rule.yaml")
    await expect(page.locator("#rules")).to_be_hidden()
    await accessible(page)


async def test_it_says_who_leads(visitor: Visitor, gallery: Served) -> None:
    gallery.gallery.leader = Leader(identity="pod-0", is_self=False)
    page = await visitor.live(gallery.url)
    await expect(page.locator("#leader")).to_have_text(
        "Standby · showing the last report of the leader pod-0"
    )
    gallery.gallery.leader = Leader(identity="pod-1", is_self=True)
    await expect(page.locator("#leader")).to_have_text("Leader pod-1")
    gallery.gallery.leader = Leader(identity=None, is_self=False)
    await expect(page.get_by_role("alert")).to_contain_text("No leader: nothing is being scaled")
    await accessible(page)


async def test_it_says_what_keeps_the_process_from_its_work(visitor: Visitor, gallery: Served) -> None:
    page = await visitor.live(gallery.url)
    await expect(page.locator("#not-ready")).to_be_hidden()
    gallery.gallery.health.wrong = ["the Kubernetes API has refused all requests"]
    told = "This process is not ready: the Kubernetes API has refused all requests"
    await expect(page.locator("#not-ready")).to_have_text(told)
    gallery.gallery.health.wrong = []
    await expect(page.locator("#not-ready")).to_be_hidden()


async def test_what_stands_in_a_rule_stays_text(visitor: Visitor, gallery: Served) -> None:
    made = rule("a", subject="<img/src=x/onerror=alert(1)>")
    gallery.gallery.show(made, 20, 2)
    page = await visitor.live(gallery.url)
    await expect(page.locator(SHOWN)).to_have_count(1)
    page = await visitor.live(gallery.rule("a"))
    await expect(page.locator(".target")).to_contain_text("<img/src=x/onerror=alert(1)>")
    assert await page.locator("main img").count() == 0


async def test_nothing_that_is_unknown_is_shown_as_zero_while_the_page_loads(
    visitor: Visitor, gallery: Served
) -> None:
    visitor.outage = True
    gallery.gallery.many(3)
    page = await visitor.live(gallery.url)
    await page.route("**/api/events", lambda route: route.abort())
    await page.reload()
    await expect(page.get_by_role("alert")).to_contain_text("Lost connection to the operator.")
    assert await page.locator("#strip strong").all_inner_texts() == [UNKNOWN] * 5
    assert await page.locator("#filters b").all_inner_texts() == [UNKNOWN] * 5
    await expect(page.locator("#shown")).to_have_text("Loading the rules…")


async def test_rules_with_one_cause_are_one_line_with_the_fix(visitor: Visitor, gallery: Served) -> None:
    gallery.gallery.many(1000)
    gallery.gallery.show(rule("missing"), 0, 0, unable=ABSENT)
    page = await visitor.live(gallery.url)
    causes = page.locator(".cause")
    await expect(causes).to_have_count(2)
    await expect(causes.first).to_contain_text("NATS cannot be reached")
    await expect(causes.first).to_contain_text("10 rules")
    await causes.last.locator("summary").click()
    await expect(causes.last.locator("code").first).to_have_text("kubectl get deployments -n shop")
    await causes.first.locator("summary").click()
    await page.get_by_role("button", name="Show all 10 below").click()
    await expect(page.locator("#shown")).to_have_text("10 of 1,001 rules")
    await expect(page).to_have_title("(11) natsscaler")
    await expect(page.locator("#icon")).to_have_attribute("href", re.compile("icon-alert.svg$"))
    await accessible(page)


async def test_twenty_rules_are_seen_at_once_on_a_laptop(visitor: Visitor, gallery: Served) -> None:
    gallery.gallery.many(1000)
    page = await visitor.live(gallery.url, width=1440, height=900)
    last = await page.locator(SHOWN).nth(19).bounding_box()
    assert last
    assert last["y"] + last["height"] <= 900


@pytest.mark.parametrize("width", [390, 1024])
async def test_nothing_is_cut_off_on_a_small_screen(visitor: Visitor, gallery: Served, width: int) -> None:
    gallery.gallery.every_state()
    page = await visitor.live(gallery.url, width=width, height=844)
    for path in ("", "timeline", "servers", "rules/shop/steady"):
        await page.goto(f"{gallery.url}{path}")
        await expect(page.locator("#connection")).to_contain_text("Live")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, path
        await accessible(page)


async def test_the_way_back_keeps_what_was_searched_for(visitor: Visitor, gallery: Served) -> None:
    gallery.gallery.every_state()
    page = await visitor.live(gallery.url)
    await page.keyboard.press("/")
    await page.keyboard.type("scaling-up")
    await expect(page.locator("#shown")).to_have_text("1 of 17 rules")
    await page.get_by_role("link", name="scaling-up").click()
    await expect(page.locator("h1")).to_have_text("scaling-up")
    await page.go_back()
    await expect(page.locator("#shown")).to_have_text("1 of 17 rules")
    await expect(page.get_by_label("Filter the rules")).to_have_value("scaling-up")


async def test_rules_are_walked_and_opened_with_the_keyboard(visitor: Visitor, gallery: Served) -> None:
    for name in ("a", "b"):
        gallery.gallery.show(rule(name), 20, 2)
    page = await visitor.live(f"{gallery.url}?sort=rule")
    await expect(page.locator(SHOWN)).to_have_count(2)
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await accessible(page)
    await page.keyboard.press("Escape")
    for pressed in "jjk":
        await page.keyboard.press(pressed)
    await expect(row(page, "a").get_by_role("link")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("a")


async def test_rows_keep_their_places_while_somebody_points_at_them(
    visitor: Visitor, gallery: Served
) -> None:
    for name in ("a", "b", "c"):
        gallery.gallery.show(rule(name), 20, 2)
    page = await visitor.live(gallery.url)
    await row(page, "b").hover()
    gallery.gallery.show(rule("c"), LOST, 2)
    await expect(row(page, "c")).to_contain_text("NATS cannot be reached")
    assert await names(page) == ["a", "b", "c"]
    await page.locator("#connection").hover()
    await expect(page.locator(f"{SHOWN} a").first).to_have_text("c")


async def test_servers_are_told_with_the_rules_that_are_read_from_them(
    visitor: Visitor, gallery: Served
) -> None:
    gallery.gallery.show(rule("a"), 20, 2)
    gallery.gallery.show(rule("b", natsMonitoringURL="http://other:8222"), LOST, 2, events=DEAF)
    never_read = rule("c", natsMonitoringURL="http://third:8222")
    gallery.gallery.activity.learn(never_read.key, never_read, RuleStatus())
    page = await visitor.live(f"{gallery.url}servers")
    servers = page.locator(".server")
    await expect(servers).to_have_count(3)
    await expect(servers.last).to_contain_text("1 rule unknown")
    await expect(servers.first).to_contain_text("all rules known")
    other = servers.nth(1)
    await expect(other).to_contain_text("http://other:8222")
    await expect(other).to_contain_text("1 rule unknown")
    await expect(other).to_contain_text("nats://nats:4222: connection refused")


async def test_rates_and_the_time_to_drain_stand_in_the_row(visitor: Visitor, gallery: Served) -> None:
    made, never = rule("orders"), rule("stuck")
    rates = WorkRates(arriving_per_second=5.25, processing_per_second=1234.0, drain_seconds=40.0)
    gallery.gallery.activity.learn(made.key, made, RuleStatus(pending_messages=400, rates=rates))
    stuck = WorkRates(arriving_per_second=5.0, processing_per_second=0.0)
    gallery.gallery.activity.learn(never.key, never, RuleStatus(pending_messages=4_300_000, rates=stuck))
    page = await visitor.live(gallery.url, width=1440)
    shown = row(page, "orders")
    await expect(shown.locator(".in")).to_have_text(re.compile("^5.3$|^5.2$"))
    await expect(shown.locator(".out")).to_have_text("1.2K")
    await expect(shown.locator(".drains")).to_have_text("~40 s")
    await expect(row(page, "stuck").locator(".drains")).to_have_text("never")
    await expect(row(page, "stuck").locator(".backlog")).to_have_text("4.3M")
    await expect(row(page, "stuck").locator(".backlog span")).to_have_attribute("title", "4,300,000")
