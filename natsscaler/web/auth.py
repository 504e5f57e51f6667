"""Who may see the page and the API: whoever has the token, if one is asked for.

Machines send it as `Authorization: Bearer`. Browsers know no such thing, but HTTP Basic, with any user name
and the token as password: they ask for it once and then send it with every request of the page, its live
streams too. So there is no session, no cookie and nothing to keep.
"""

import base64
import hmac

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

OPEN = frozenset({"/health"})
"""Says only that the process answers; those who watch that need no secret."""
CHALLENGE = {"WWW-Authenticate": 'Basic realm="natsscaler: the token is the password", charset="UTF-8"'}


def guard(token: str) -> Middleware:
    """Let only requests through that have the token."""
    expected = token.encode(errors="surrogateescape")

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = _given(request.headers.get("Authorization", "")).encode(errors="surrogateescape")
        if request.path in OPEN or hmac.compare_digest(given, expected):
            return await handler(request)
        return web.Response(status=401, text="The token is missing or wrong.", headers=CHALLENGE)

    return check


def _given(authorization: str) -> str:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
        except ValueError:
            return ""
    return ""
