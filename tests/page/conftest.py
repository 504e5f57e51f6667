"""A real headless Chromium on the page; whatever it complains about fails the test."""

import os
import shutil
from collections.abc import AsyncIterator
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright, expect

from tests.support.gallery import Gallery, Served, serve

ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
Scheme = Literal["light", "dark"]

expect.set_options(timeout=20_000)


class Visitor:
    """Opens pages, and notes what must not be: complaints, and requests to any other host."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.complaints: list[str] = []
        self._hosts: set[str] = set()
        self.outage = False
        """Requests may fail, as a test takes the operator away."""

    async def visit(
        self,
        url: str,
        *,
        scheme: Scheme = "light",
        width: int = 1280,
        height: int = 800,
        clock: bool = False,
        **options: Any,
    ) -> Page:
        """Open a page; `clock`: the test can let its time run."""
        context = await self._browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": height}, **options
        )
        page = await context.new_page()
        self._hosts.add(urlsplit(url).netloc)
        if clock:
            await page.clock.install()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._asked)
        await page.goto(url)
        return page

    async def live(self, url: str, **options: Any) -> Page:
        """Open a page and wait until it is live."""
        page = await self.visit(url, **options)
        await expect(page.locator("#connection")).to_contain_text("Live")
        return page

    async def leave(self) -> None:
        """Close all pages."""
        for context in self._browser.contexts:
            await context.close()

    def _said(self, message: ConsoleMessage) -> None:
        failed = "net::" in message.text or "status of 503" in message.text
        if message.type in ("error", "warning") and not (self.outage and failed):
            self.complaints.append(message.text)

    def _asked(self, request: Request) -> None:
        host = urlsplit(request.url).netloc
        if host not in self._hosts:
            self.complaints.append(f"asked {host}")


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture
async def visitor() -> AsyncIterator[Visitor]:
    program = find_chromium()
    if program is None and not os.environ.get("CI"):
        pytest.skip("no Chromium: apt-get install chromium")
    assert program, "CI must have a Chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        visitor = Visitor(browser)
        yield visitor
        await browser.close()
    assert visitor.complaints == []


@pytest.fixture
async def gallery(visitor: Visitor) -> AsyncIterator[Served]:
    """A page without an operator behind it: the test says what it shows."""
    async with serve(Gallery()) as served:
        yield served
        await visitor.leave()
