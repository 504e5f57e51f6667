"""The page of one rule, in a real browser: why it does what it does, at a glance."""

import re

import pytest
from playwright.async_api import expect

from natsscaler.core.decision.situation import Memory
from natsscaler.web.api import Leader
from tests.page.conftest import Scheme, Visitor
from tests.support.gallery import Served, rule
from tests.support.looking import BOTH, accessible, points

WHY = {
    "unknown-backlog": ("NATS cannot be reached", "What to do: The operator must reach http://nats:8222"),
    "no-consumer": ("no consumer takes the subject", "What to do: Start the workers"),
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
    steps = page.locator("#steps > li")
    await expect(steps.first).to_contain_text("Rule: shop/at-max asks for 1 to 4 replicas")
    await expect(steps.last).to_contain_text("Outcome: shop/at-max-app keeps 4 replicas")
    await expect(page.locator("#wakeups")).to_contain_text("Doorbell: messages were published")
    await expect(page.locator("#conditions")).to_contain_text("ScalingLimited")
    await expect(page.locator("#facts")).to_contain_text("50 messages per replica")


@BOTH
async def test_the_chart_moves_with_a_burst_and_marks_its_actions(
    visitor: Visitor, gallery: Served, scheme: Scheme
) -> None:
    made = rule("orders")
    gallery.gallery.show(made, 3, 1, ago=120)
    page = await visitor.live(gallery.rule("orders"), scheme=scheme)
    chart = page.locator("#chart svg")
    await expect(chart).to_have_accessible_name(
        "Backlog between 3 and 3, thresholds 10 and 50. Replicas between 1 and 1, bounds 1 and 10."
    )
    gallery.gallery.show(made, 430, 1, ago=60)
    gallery.gallery.act(made, 1, 9, 430, ago=60)
    gallery.gallery.show(made, 3, 9, ago=40)
    await expect(chart).to_have_accessible_name(
        "Backlog between 3 and 430, thresholds 10 and 50. Replicas between 1 and 9, bounds 1 and 10."
    )
    await expect(page.locator("#actions > li").last).to_contain_text("1 → 9 at a backlog of 430")
    await expect(chart.locator(".action title").last).to_have_text(
        "1: 1 → 9, BacklogAboveThreshold: Backlog 430 at 50 per replica wants 9"
    )
    await accessible(page)


async def test_a_backlog_that_is_not_known_is_a_gap_and_no_zero(visitor: Visitor, gallery: Served) -> None:
    gallery.gallery.every_state()
    page = await visitor.live(gallery.rule("unknown-backlog"))
    await expect(page.locator("#chart svg")).to_have_accessible_name(
        "Backlog between 40 and 40, thresholds 10 and 50. Replicas between 3 and 3, bounds 1 and 10."
    )
    await expect(page.locator("#chart .unknown").first).to_be_attached()
    await page.get_by_text("The same as a table").click()
    await expect(page.locator("#points tbody tr").first).to_contain_text("unknown")


async def test_the_chart_can_be_read_by_pointing_by_range_and_as_a_table(
    visitor: Visitor, gallery: Served
) -> None:
    made = rule("orders")
    gallery.gallery.show(made, 41, 1, ago=3000)
    gallery.gallery.show(made, 42, 1, ago=120)
    page = await visitor.live(gallery.rule("orders"))
    chart = page.locator("#chart svg")
    box = await chart.bounding_box()
    assert box
    await page.mouse.move(box["x"] + 0.95 * box["width"], box["y"] + 50)
    await expect(page.locator("#readout")).to_contain_text("backlog 42, replicas 1")
    await page.get_by_label("hour").check()
    await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    await expect(page.locator("#readout")).to_contain_text("backlog 41, replicas 1")
    await page.get_by_text("The same as a table").click()
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
    await expect(page.locator("h1")).to_have_text("shop/steady")
    await page.get_by_role("link", name="All rules").click()
    await expect(page.locator("h1")).to_have_text("Scaling activity")


async def test_one_that_stands_by_says_when_the_leader_wrote_and_not_when_it_looks_again(
    visitor: Visitor, gallery: Served
) -> None:
    gallery.gallery.show(rule("orders"), 20, 2)
    page = await visitor.live(gallery.rule("orders"))
    facts = page.locator("#facts")
    await expect(facts).to_contain_text("again with the next event")
    gallery.gallery.leader = Leader(identity="pod-0", is_self=False)
    gallery.gallery.show(rule("orders"), 21, 2)
    await expect(facts).to_contain_text("Written at")
    await expect(facts).not_to_contain_text("again with")


async def test_it_says_that_it_is_checked_again_when_time_alone_may_change_the_replicas(
    visitor: Visitor, gallery: Served
) -> None:
    gallery.gallery.every_state()
    page = await visitor.live(gallery.rule("cadence"))
    told = re.search(r"possible at (.+?), even", await page.inner_text("#verdict"))
    assert told, "5 s of the 30 s are over, so it is before the poll"
    await expect(page.locator("#facts")).to_contain_text(f"again with the next event, and at {told[1]}")


async def test_it_says_what_is_counted_and_since_when_something_is_wrong(
    visitor: Visitor, gallery: Served
) -> None:
    gallery.gallery.every_state()
    page = await visitor.live(gallery.rule("within"))
    await expect(page.locator("#facts")).to_contain_text("counted on ORDERS/workers")
    await expect(page.locator("#verdict")).not_to_contain_text("not ready since")
    page = await visitor.live(gallery.rule("unknown-backlog"))
    await expect(page.locator("#verdict")).to_contain_text("not ready since")
    await expect(page.locator("#facts")).to_contain_text("tried repeatedly")
