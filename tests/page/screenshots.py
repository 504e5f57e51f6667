"""Takes the pictures of docs/images: `python -m tests.page.screenshots`; `pngquant` makes them small."""

import asyncio
import pathlib

from playwright.async_api import async_playwright

from tests.page.conftest import ARGUMENTS, Visitor, find_chromium
from tests.support.gallery import ABSENT, DEAF, LOST, Gallery, rule, serve

IMAGES = pathlib.Path(__file__).parents[2] / "docs/images"
WIDTH = 1200


def shop() -> Gallery:
    """Fill a gallery with what a shop may have."""
    gallery = Gallery()
    orders = rule("orders", deploymentName="orders-worker")
    gallery.burst(orders)
    gallery.show(orders, 3, 1)
    thumbnails = rule("thumbnails", subject="images.uploaded", maxReplicas=4)
    gallery.show(thumbnails, 430, 4)
    gallery.act(thumbnails, 2, 4, 260, ago=95)
    gallery.show(rule("invoices", subject="invoices.>"), LOST, 3, events=DEAF)
    gallery.show(rule("mails", subject="mails.outgoing", paused=True), 120, 2)
    gallery.show(rule("missing", subject="returns.received"), 0, 0, unable=ABSENT)
    gallery.show(rule("search-index", subject="products.*.changed"), 20, 3, events=DEAF)
    return gallery


async def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    async with async_playwright() as playwright, serve(shop()) as served:
        program = find_chromium()
        browser = await playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        visitor = Visitor(browser)
        table = await visitor.live(served.url, width=WIDTH, height=760)
        await table.screenshot(path=IMAGES / "rules.png")
        page = await visitor.live(served.rule("orders"), width=WIDTH, height=860, scheme="dark")
        await page.screenshot(path=IMAGES / "rule.png")
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
