"""Whether the API server lets this process do anything at all.

A request now and then that is refused is told where it was made. Here it is about credentials that are not
accepted any more (401), and about an account that may do nothing (403 to everything).
"""

import logging
import time
from collections.abc import Callable

from natsscaler.kube.requests import FORBIDDEN, UNAUTHORIZED

REFUSED_SECONDS = 60.0
"""How long all requests may be refused before the process says that it is not ready."""
SERVER_ERRORS = 500
RESOURCE_PARTS = {"api": 3, "apis": 4}
"""How many parts a path has at least that leads to objects, and not to what there is."""

log = logging.getLogger(__name__)


class Refusals:
    """Remembers how the last request for each kind of object was answered."""

    def __init__(
        self, *, seconds: float = REFUSED_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._refused: dict[str, bool] = {}
        """Whether the last request for a kind was answered by 403."""
        self._since: float | None = None
        """Since when everything is refused."""
        self._why = ""
        self._told = False

    def note(self, path: str, status: int) -> None:
        """Take in how a request was answered; `path`: without what comes before /api or /apis."""
        if status >= SERVER_ERRORS:
            return
        kind = _kind(path)
        if kind and status != UNAUTHORIZED:
            self._refused[kind] = status == FORBIDDEN
        if status == UNAUTHORIZED:
            self._refuse("401, it does not accept the credentials: renew them")
        elif self._refused and all(self._refused.values()):
            self._refuse("403, the account may do nothing: grant it what config/rbac has")
        else:
            self._heal()

    def problem(self) -> str:
        """Say what is wrong if everything has been refused for too long; empty: nothing."""
        if self._since is None or self._clock() - self._since <= self._seconds:
            return ""
        return (
            f"The Kubernetes API has refused all requests for longer than {self._seconds:g} s ({self._why})"
        )

    def _refuse(self, why: str) -> None:
        self._why = why
        if self._since is None:
            self._since = self._clock()
        if (problem := self.problem()) and not self._told:
            self._told = True
            log.error("Not ready: %s", problem)

    def _heal(self) -> None:
        self._since = None
        if self._told:
            self._told = False
            log.info("The Kubernetes API accepts requests again")


def _kind(path: str) -> str:
    """Name what is asked for, and its namespace; empty: no objects, but what the API has."""
    parts = path.strip("/").split("/")
    least = RESOURCE_PARTS.get(parts[0])
    if least is None or len(parts) < least:
        return ""
    rest = parts[least - 1 :]
    return "/".join(rest[1:3]) if rest[0] == "namespaces" and len(rest) > 2 else rest[0]  # noqa: PLR2004 - namespaces/NAME/KIND
