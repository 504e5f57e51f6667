"""The page of one rule, in a real browser: why it does what it does, at a glance."""

import re

import pytest
import yaml
from playwright.async_api import expect

from natsscaler.core.decision.situation import Memory
from natsscaler.web.api import Leader
from tests.page.conftest import Scheme, Visitor
from tests.support.gallery import Served, rule
from tests.support.looking import BOTH, accessible, points

WHY = {
    "unknown-backlog": ("NATS cannot be reached", "Fix: The operator must reach http://nats:8222"),
    "no-consumer": ("no consumer takes the subject", "Fix: Start the workers"),
    "paused": ("Not scaling: paused", "kubectl annotate scalingrule paused -n shop"),
    "rehearsal": ("dry run only", '"dryRun":false'),
    "off": ("switched off, the Deployment has 0 replicas", "kubectl scale deployment off-app -n shop"),
    "consumer-paused": ("the consumer is paused in NATS", "nats consumer resume"),
    "missing": ("no such Deployment", "kubectl get deployments -n shop"),
    "web": ("another scaler owns the Deployment", "HorizontalPodAutoscaler web scales Deployment shop/web"),
    "invalid": ("the rule is invalid", "spec.subject: must be a NATS subject"),
    "at-max": ("At maxReplicas", "raise spec.maxReplicas"),
    "cadence": ("Waiting for the next step up", "Next change: "),
    "stabilizing": ("stabilization window", "up to 6 were wanted in the last 300 s"),
    "within": ("the backlog asks for no change", "Next change: 31 further messages"),
    "not-event-driven": ("Polled: there is no connection to NATS", "Polled every 30 s: nats://nats:4222"),
    "fresh": ("Not evaluated yet", "has not evaluated this rule yet"),
}
"""For each state: what the page says first, and what a person can do or wait for."""
SMALL = {"width": 1024, "height": 600}


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_why_a_rule_is_not_scaling_stands_at_the_top_with_the_fix(
    visitor: Visitor, gallery: Served, scheme: Scheme
) -> None:
    gallery.gallery.every_state()
    page = await visitor.live(gallery.url, scheme=scheme, **SMALL)
    for name, (title, more) in WHY.items():
        await page.goto(gallery.rule(name))
        verdict = page.locator("#verdict")
        await expect(verdict).to_contain_text(title)
        await expect(verdict).to_contain_text(more)
        box = await verdict.bounding_box()
        assert box
        assert box["y"] + box["height"] < SMALL["height"], "it is seen without scrolling"
        await accessible(page, *(["color-contrast"] if scheme == "dark" else []))


async def test_the_decision_is_told_step_by_step(visitor: Visitor, gallery: Served) -> None:
    gallery.gallery.every_state()
    page = await visitor.live(gallery.rule("at-max"))
    steps = page.locator("#steps li")
    await expect(steps.filter(has_text="Rule: shop/at-max asks for 1 to 4 replicas")).to_be_hidden()
    await page.get_by_text("checks passed").click()
    await expect(steps.filter(has_text="Rule: shop/at-max asks for 1 to 4 replicas")).to_be_visible()
    await expect(steps.filter(has_text="Outcome: shop/at-max-app keeps 4 replicas")).to_have_count(1)
    await expect(page.locator("#wakeups")).to_contain_text("Messages were published")
    await expect(page.locator("#conditions")).to_contain_text("ScalingLimited")
    await expect(page.locator(".target")).to_contain_text("1 per 50 messages")


@BOTH
async def test_the_chart_moves_with_a_burst_and_marks_its_actions(
    visitor: Visitor, gallery: Served, scheme: Scheme
) -> None:
    made = rule("orders")
    gallery.gallery.show(made, 3, 1, ago=120)
    page = await visitor.live(gallery.rule("orders"), scheme=scheme)
    chart = page.locator("#chart [role=img]")
    await expect(chart).to_have_accessible_name(
        "Backlog between 3 and 3, thresholds 10 and 50. Replicas between 1 and 1, min 1 and max 10."
    )
    gallery.gallery.show(made, 430, 1, ago=60)
    gallery.gallery.act(made, 1, 9, 430, ago=60)
    gallery.gallery.show(made, 3, 9, ago=40)
    await expect(chart).to_have_accessible_name(
        "Backlog between 3 and 430, thresholds 10 and 50. Replicas between 1 and 9, min 1 and max 10."
    )
    await expect(page.locator("#actions > li").last).to_contain_text("1 → 9")
    await chart.focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.locator(".tip")).to_contain_text(
        "▲ 1 → 9: BacklogAboveThreshold: Backlog 430 at 50 per replica wants 9"
    )
    await accessible(page)


async def test_a_backlog_that_is_not_known_is_a_gap_and_no_zero(visitor: Visitor, gallery: Served) -> None:
    gallery.gallery.every_state()
    page = await visitor.live(gallery.rule("unknown-backlog"))
    await expect(page.locator("#chart [role=img]")).to_have_accessible_name(
        "Backlog between 40 and 40, thresholds 10 and 50. Replicas between 3 and 3, min 1 and max 10."
    )
    await page.get_by_text("Show as table").click()
    await expect(page.locator("#points tbody tr").first).to_contain_text("unknown")


async def test_the_chart_can_be_read_by_pointing_by_range_and_as_a_table(
    visitor: Visitor, gallery: Served
) -> None:
    made = rule("orders")
    gallery.gallery.show(made, 41, 1, ago=3000)
    gallery.gallery.show(made, 42, 1, ago=120)
    page = await visitor.live(gallery.rule("orders"))
    chart = page.locator("#chart [role=img]")
    box = await chart.bounding_box()
    assert box
    tip = page.locator(".tip")
    await page.mouse.move(box["x"] + 0.95 * box["width"], box["y"] + 50)
    await expect(tip).to_contain_text(re.compile("Backlog 42 ?Replicas 1, 1 ready"))
    await page.get_by_label("1 hour").check()
    await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    await expect(tip).to_contain_text("Backlog 41")
    await page.get_by_text("Show as table").click()
    await expect(page.locator("#points tbody tr")).to_have_count(2)
    assert await points(page) == [("42", "1"), ("41", "1")]
    await accessible(page)


async def test_a_rule_that_does_not_exist_is_said_to_and_appears_once_it_does(
    visitor: Visitor, gallery: Served
) -> None:
    page = await visitor.live(gallery.rule("later"))
    await expect(page.locator("#verdict")).to_contain_text("There is no such rule")
    await accessible(page)
    gallery.gallery.show(rule("later"), 20, 2, memory=Memory())
    await expect(page.locator("#verdict")).to_contain_text("Scaling down")
    gallery.gallery.activity.forget(rule("later").key)
    await expect(page.locator("#verdict")).to_contain_text("There is no such rule")


async def test_all_rules_are_a_link_away(visitor: Visitor, gallery: Served) -> None:
    gallery.gallery.every_state()
    page = await visitor.live(gallery.url)
    await page.get_by_role("link", name="steady").click()
    await expect(page.locator("h1")).to_have_text("steady")
    await page.get_by_role("navigation").get_by_role("link", name="Rules").click()
    await expect(page.locator("h1")).to_have_text("Scaling rules")


async def test_one_that_stands_by_says_when_the_leader_wrote_and_not_when_it_looks_again(
    visitor: Visitor, gallery: Served
) -> None:
    gallery.gallery.show(rule("orders"), 20, 2)
    page = await visitor.live(gallery.rule("orders"))
    facts = page.locator("#facts")
    await expect(facts).to_contain_text("next: on a message")
    gallery.gallery.leader = Leader(identity="pod-0", is_self=False)
    gallery.gallery.show(rule("orders"), 21, 2)
    await expect(facts).to_contain_text("Reported")
    await expect(facts).not_to_contain_text("next:")


async def test_it_says_that_it_is_checked_again_when_time_alone_may_change_the_replicas(
    visitor: Visitor, gallery: Served
) -> None:
    gallery.gallery.every_state()
    page = await visitor.live(gallery.rule("cadence"))
    told = re.search(r"possible at (.+?), even", await page.inner_text("#verdict"))
    assert told, "5 s of the 30 s are over, so it is before the poll"
    await expect(page.locator("#facts")).to_contain_text(f"at the latest {told[1]}")


async def test_it_says_what_is_counted_and_since_when_something_is_wrong(
    visitor: Visitor, gallery: Served
) -> None:
    gallery.gallery.every_state()
    page = await visitor.live(gallery.rule("within"))
    await expect(page.locator(".target")).to_contain_text("counted on ORDERS/workers")
    await expect(page.locator("#verdict")).not_to_contain_text("not ready for")
    page = await visitor.live(gallery.rule("unknown-backlog"))
    await expect(page.locator("#verdict")).to_contain_text("not ready for")
    await expect(page.locator("#facts")).to_contain_text("retrying")


async def test_a_text_stays_marked_while_the_page_is_updated_and_a_command_can_be_copied(
    visitor: Visitor, gallery: Served
) -> None:
    made = rule("orders", maxReplicas=4)
    gallery.gallery.show(made, 430, 4)
    page = await visitor.live(gallery.rule("orders"))
    command = page.locator("#verdict .command")
    await page.evaluate("getSelection().selectAllChildren(document.querySelector('#verdict .command code'))")
    gallery.gallery.show(made, 431, 4)
    await expect(page.locator("#facts")).to_contain_text("431")
    told = "kubectl edit scalingrule orders -n shop"
    assert await page.evaluate("String(getSelection())") == told
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await command.get_by_role("button").click()
    await expect(command.get_by_role("button")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == told


async def test_a_drag_zooms_and_the_zone_and_the_range_stand_in_the_address(
    visitor: Visitor, gallery: Served
) -> None:
    made = rule("orders")
    gallery.gallery.show(made, 41, 1, ago=500)
    gallery.gallery.show(made, 42, 1, ago=30)
    page = await visitor.live(f"{gallery.rule('orders')}?tz=utc", timezone_id="Asia/Tokyo")
    await expect(page.locator("#zone")).to_have_text("UTC")
    chart = page.locator("#chart [role=img]")
    box = await chart.bounding_box()
    assert box
    await page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 90)
    await page.mouse.down()
    await page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 90, steps=4)
    await page.mouse.up()
    await expect(chart).to_have_accessible_name(re.compile("^Backlog between 41 and 41, "))
    await page.get_by_role("button", name="Reset zoom").click()
    await expect(chart).to_have_accessible_name(re.compile("^Backlog between 41 and 42, "))
    await page.get_by_label("24 hours").check()
    assert page.url.endswith("?tz=utc&range=86400")
    await page.locator("#zone").click()
    assert page.url.endswith("?range=86400")


async def test_the_manifest_of_a_rule_can_be_read(visitor: Visitor, gallery: Served) -> None:
    gallery.gallery.show(rule("orders", subject="orders.>"), 20, 2)
    page = await visitor.live(gallery.rule("orders"))
    await page.get_by_text("YAML").click()
    made = yaml.safe_load(await page.locator("#yaml code").inner_text())
    assert (made["kind"], made["metadata"]) == ("ScalingRule", {"name": "orders", "namespace": "shop"})
    assert (made["spec"]["subject"], made["spec"]["maxReplicas"]) == ("orders.>", 10)
