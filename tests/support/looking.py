"""What a person sees of the page."""

from importlib.resources import files

import pytest
from playwright.async_api import Locator, Page

BOTH = pytest.mark.parametrize("scheme", ["light", "dark"])


AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text()


SHOWN = "#rules tbody tr"


async def accessible(page: Page, *rules: str) -> None:
    """Assert that axe finds nothing wrong; `rules`: look at these alone."""
    await page.evaluate(AXE)
    found = (await page.evaluate("only => axe.run(only)", {"runOnly": list(rules)} if rules else {}))[
        "violations"
    ]
    assert [(one["help"], [node["html"] for node in one["nodes"]]) for one in found] == []


def row(page: Page, name: str) -> Locator:
    """Find the row of a rule."""
    return page.locator(SHOWN).filter(has=page.get_by_role("link", name=name, exact=True))


async def points(page: Page) -> list[tuple[str, str]]:
    """Give backlog and replicas of the table of points, newest first."""
    cells = await page.locator("#points tbody td:is(:nth-child(2), :nth-child(3))").all_inner_texts()
    return list(zip(cells[::2], cells[1::2], strict=True))
