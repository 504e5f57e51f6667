"""The table of all rules, in a real browser."""

from playwright.async_api import Page, expect

from natsscaler.web.api import Leader
from tests.page.conftest import Scheme, Visitor
from tests.support.gallery import Served, rule
from tests.support.looking import BOTH, SHOWN, accessible, row


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
    for text in (
        "Not scaling: NATS cannot be reached",
        "unknown",
        "Not connected",
        "MonitoringUnreachable",
    ):
        await expect(row(page, "unknown-backlog")).to_contain_text(text)
    await expect(row(page, "missing")).to_contain_text("no such Deployment")
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
    await expect(page.locator("#shown")).to_have_text("1000 rules")
    await expect(page.locator(SHOWN)).to_have_count(100)
    await page.get_by_role("button", name="Show 100 more of 1000").click()
    await expect(page.locator(SHOWN)).to_have_count(200)
    await page.get_by_label("Search").fill("orders.77 shop")
    await expect(page.locator("#shown")).to_have_text("11 of 1000 rules")
    assert "rule-0077" in await names(page)
    await page.get_by_label("Search").fill("MonitoringUnreachable")
    await expect(page.locator("#shown")).to_have_text("10 of 1000 rules")
    await page.get_by_label("Search").fill("")
    await page.get_by_role("radio", name="Broken").check()
    await expect(page.locator("#shown")).to_have_text("10 of 1000 rules")
    await page.get_by_role("radio", name="All").check()
    await page.get_by_role("button", name="Rule", exact=True).click()
    gallery.gallery.show(rule("rule-0000", subject="orders.0"), 777, 5)
    await expect(page.locator(SHOWN).first).to_contain_text("777")
    await page.get_by_role("button", name="Rule", exact=True).click()
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
    await expect(page.locator("#shown")).to_contain_text("There are no ScalingRules. Create one")
    await expect(page.locator("#rules")).to_be_hidden()
    await accessible(page)


async def test_it_says_who_leads(visitor: Visitor, gallery: Served) -> None:
    gallery.gallery.leader = Leader(identity="pod-0", is_self=False)
    page = await visitor.live(gallery.url)
    await expect(page.locator("#leader")).to_contain_text("stands by and shows what pod-0 has written")
    gallery.gallery.leader = Leader(identity="pod-1", is_self=True)
    await expect(page.locator("#leader")).to_have_text("This process leads: pod-1")


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
    await expect(page.locator(SHOWN)).to_contain_text("<img/src=x/onerror=alert(1)>")
    page = await visitor.live(gallery.rule("a"))
    await expect(page.locator("#facts")).to_contain_text("<img/src=x/onerror=alert(1)>")
    assert await page.locator("main img").count() == 0
