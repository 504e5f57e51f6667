"""What a NATS server does not permit a connection, of all that was asked of it.

A server may tell of anything, as often as it likes. So who keeps a denial here has asked for it; and of these
no more than LIMIT are kept: the oldest is forgotten, and found out anew when it is asked for again.
"""

from collections.abc import Iterable, Sequence

LIMIT = 1000


class Denials:
    """Subjects that may not be used. Who tells of them writes them in lower case, as nats-py does."""

    def __init__(self, never_forgotten: Iterable[str] = ()) -> None:
        self._own = {subject.lower() for subject in never_forgotten}
        self._kept: dict[str, str] = {}

    def __contains__(self, subject: str) -> bool:
        return subject.lower() in self._kept

    def __bool__(self) -> bool:
        return bool(self._kept)

    @property
    def subjects(self) -> Sequence[str]:
        """As they were asked for."""
        return tuple(self._kept.values())

    def add(self, subject: str) -> bool:
        """Keep a subject as it was asked for; tell whether it is a new one."""
        new = subject not in self
        if new and len(self._kept) >= LIMIT:
            del self._kept[next(one for one in self._kept if one not in self._own)]
        self._kept.setdefault(subject.lower(), subject)
        return new

    def remove(self, subjects: Iterable[str]) -> None:
        """Forget what is permitted now."""
        for subject in subjects:
            self._kept.pop(subject.lower(), None)

    def clear(self) -> None:
        """Begin anew."""
        self._kept.clear()
