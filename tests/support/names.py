"""Host names that only a test knows."""

from collections.abc import Callable

import pytest

from natsscaler.net.allowlist import Resolver


def resolve_by(monkeypatch: pytest.MonkeyPatch, find: Callable[[str], list[str] | None]) -> None:
    """Ask `find` for the addresses of each name first; None: the name is not the test's."""
    look_up = Resolver._look_up

    async def with_names(resolver: Resolver, host: str) -> list[str]:
        found = find(host)
        return await look_up(resolver, host) if found is None else found

    monkeypatch.setattr(Resolver, "_look_up", with_names)
