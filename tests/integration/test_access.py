"""With a token, the activity port answers whoever has it, and nobody else; scaling never needs it."""

import base64
import dataclasses
import pathlib
from collections.abc import AsyncIterator

import aiohttp
import pytest

from natsscaler.core.errors import SettingsError
from natsscaler.core.status import RuleStatus
from natsscaler.settings import parse
from natsscaler.web.server import HEADERS
from natsscaler.web.static import pages
from tests.support.activity import RULE
from tests.support.serving import HOST, Reader, Running, free_settings, serve

TOKEN = "öpen sesame"
STYLE = next(path for path in pages() if path.endswith("/page.css"))
ASKED = ("/", "/rules/default/orders", STYLE, "/scaling-activity", "/none")
ASKED_API = ("/api/rules", "/api/rules/default/orders", "/api/openapi.json", "/api/events")


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    async with serve(dataclasses.replace(free_settings(), activity_token=TOKEN)) as running:
        running.activity.learn(RULE.key, RULE, RuleStatus())
        yield running


async def ask(
    running: Running, path: str, authorization: str = "", port: int | None = None
) -> tuple[int, dict[str, str], str]:
    headers = {"Authorization": authorization} if authorization else {}
    url = f"http://{HOST}:{port or running.settings.activity_port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return (
            response.status,
            dict(response.headers),
            await response.text() if response.status != 200 else "",
        )


@pytest.mark.parametrize("path", [*ASKED, *ASKED_API])
async def test_nothing_is_told_without_the_token(running: Running, path: str) -> None:
    status, headers, text = await ask(running, path)
    assert (status, text) == (401, "The token is missing or wrong.")
    assert headers["WWW-Authenticate"].startswith("Basic ")
    assert HEADERS.items() <= headers.items()
    assert TOKEN not in str(headers) + text


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            "Bearer open",
            "Bearer ",
            "Bearer",
            "Digest öpen sesame",
            TOKEN,
            "Basic öpen",
            "Basic b3BlbiBzZXNhbWU=",
        ),
        *(basic("admin", "open"), basic(TOKEN, ""), basic("admin", f"{TOKEN} "), "Basic /w=="),
    ],
)
async def test_what_is_not_the_token_is_refused(running: Running, wrong: str) -> None:
    assert (await ask(running, "/api/rules", wrong))[0] == 401


@pytest.mark.parametrize(
    "right", [f"Bearer {TOKEN}", f"bearer {TOKEN}", basic("", TOKEN), basic("me", TOKEN)]
)
async def test_the_token_opens_page_api_and_stream(running: Running, right: str) -> None:
    assert [(await ask(running, path, right))[0] for path in ASKED] == [200, 200, 200, 200, 404]
    assert [(await ask(running, path, right))[0] for path in ASKED_API[:3]] == [200, 200, 200]
    url = f"http://{HOST}:{running.settings.activity_port}/api/events"
    headers = {"Authorization": right}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        assert (await Reader(response).update())["everything"]


async def test_health_probes_and_metrics_stay_open(running: Running) -> None:
    settings = running.settings
    assert (await ask(running, "/health"))[0] == 200
    assert (await ask(running, "/readyz", port=settings.probe_port))[0] == 200
    assert (await ask(running, "/metrics", port=settings.metrics_port))[0] == 200


def test_the_token_comes_by_flag_environment_or_file_and_is_not_shown(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "token"
    file.write_text("-from-a-file\n")
    assert parse((), {}).activity_token == ""
    assert parse(("--activity-token", "by-flag"), {}).activity_token == "by-flag"
    assert parse((), {"NATSSCALER_ACTIVITY_TOKEN": "-by-environment"}).activity_token == "-by-environment"
    assert parse(("--activity-token-file", str(file)), {}).activity_token == "-from-a-file"
    settings = parse((), {"NATSSCALER_ACTIVITY_TOKEN_FILE": str(file)})
    assert settings.activity_token == "-from-a-file"
    assert "from-a-file" not in repr(settings)


@pytest.mark.parametrize("content", [None, "", " \n", b"\xff"])
def test_a_file_without_a_token_is_refused(tmp_path: pathlib.Path, content: str | bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(
        SettingsError, match=r"--activity-token-file \[NATSSCALER_ACTIVITY_TOKEN_FILE\]: .*token "
    ):
        parse(("--activity-token-file", str(file)), {})
