"""The files of the page: read and compressed once, and kept by browsers for as long as they are the same.

Their folder's name is a hash of all of them, so that a new version has new addresses.
"""

import gzip
import hashlib
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler

COMPRESSION = 6
"""Of gzip: the level that everybody uses."""
FOREVER = "max-age=31536000, immutable"
TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
}
PAGES = {"/": "", "/timeline": "", "/servers": "", "/rules/{namespace}/{name}": "../../"}
"""The addresses of the page, and the way from there to the root: a proxy may put a path in front."""


class Written(NamedTuple):
    """A document as it is, and compressed."""

    content_type: str
    plain: bytes
    gzip: bytes

    @classmethod
    def of(cls, content_type: str, plain: bytes) -> "Written":
        """Compress a document."""
        return cls(content_type, plain, gzip.compress(plain, COMPRESSION))

    def answer(self, request: web.Request, **headers: str) -> web.Response:
        """Give it as the reader takes it."""
        headers |= {"Content-Type": self.content_type, "Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=self.gzip, headers=headers | {"Content-Encoding": "gzip"})
        return web.Response(body=self.plain, headers=headers)


def pages() -> dict[str, Handler]:
    """Return the handler of each page, and of each file that the pages need."""
    root = files("natsscaler.web")
    assets = {path: file.read_bytes() for path, file in _walk(root.joinpath("assets"))}
    digest = hashlib.sha256(b"".join(path.encode() + body for path, body in sorted(assets.items())))
    folder = f"assets/{digest.hexdigest()[:12]}/"
    handlers = {
        f"/{folder}{path}": _handler(_written(path, body), {"Cache-Control": FOREVER})
        for path, body in assets.items()
    }
    page = root.joinpath("page.html").read_text().replace("{root}assets/", f"{{root}}{folder}")
    for route, way in PAGES.items():
        handlers[route] = _handler(_written("page.html", page.replace("{root}", way).encode()), {})
    api = _written("openapi.json", root.joinpath("openapi.json").read_bytes())
    return handlers | {"/api/openapi.json": _handler(api, {})}


def _walk(folder: Traversable, prefix: str = "") -> list[tuple[str, Traversable]]:
    found: list[tuple[str, Traversable]] = []
    for one in folder.iterdir():
        found += _walk(one, f"{prefix}{one.name}/") if one.is_dir() else [(f"{prefix}{one.name}", one)]
    return found


def _written(name: str, body: bytes) -> Written:
    return Written.of(TYPES.get(name.rpartition(".")[2], "text/plain; charset=utf-8"), body)


def _handler(written: Written, headers: dict[str, str]) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        return written.answer(request, **headers)

    return handle
