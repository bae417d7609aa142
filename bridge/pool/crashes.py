"""Prompts that were being answered when the service exited: which of them did it is found out, and remembered."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from typing import Any, Literal

import msgspec

from bridge.chat.request import Message

MOST = 256
"""Prompts that are remembered, those of last time; beyond, the key with the most of them forgets its oldest."""
LIFETIME_SEC = 3600

MOST_OF_KEY = 5
"""Exits over prompts of one key, or prompts that are proven, within BUDGET_SEC; then its turns are refused."""
BUDGET_SEC = 600
AT_ONCE_SEC = 5
"""Prompts that were being answered at the same exit are noted within this time."""

Care = Literal[0, 1, 2]
"""0: like any other. 1: alone, if that can be had soon, until something of the reply has come. 2: alone."""


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """How often the service exited while it answered a prompt, and whether the prompt did it. Unix seconds.

    `weighs`: nothing else was being answered at the last exit, or the client had just gone.
    """

    exits: int
    proven: bool
    at: float
    weighs: bool = False


class Crashes:
    """What is known of each prompt, by key: nobody can have another key's prompts refused.

    A prompt is proven when nothing else was being answered at its second exit. Those in doubt are asked with care, so
    that the second exit tells who it was. One that is answered is in doubt no more.
    """

    def __init__(self) -> None:
        self.seen: dict[str, Seen] = {}
        self.unsent: dict[str, Seen | None] = {}
        """What other processes have not been told yet; None: forget it."""

    def concern(self, key: int) -> bool:
        """Whether prompts of this key are among them."""
        return any(name.startswith(f"{key}:") for name in self.seen)

    def is_spent(self, key: int, now: float) -> bool:
        """Whether the service has exited so often over prompts of this key that none is asked for a while.

        Else one that changes with each request costs two exits each time. What was answered in the end counts no more.
        """
        since, mine = now - BUDGET_SEC, f"{key}:"
        known = [seen for name, seen in self.seen.items() if seen.at > since and name.startswith(mine)]
        exits = {seen.at // AT_ONCE_SEC for seen in known if seen.weighs and not seen.proven}
        return len(exits) + sum(seen.proven for seen in known) >= MOST_OF_KEY

    def exited(self, name: str, *, alone: bool, now: float, left: bool = False) -> Seen:
        """The service exited while it answered this prompt; what is known of it now."""
        before = self.seen.get(name)
        exits = before.exits + 1 if before is not None else 1
        proven = (alone and exits > 1) or (before is not None and before.proven)
        seen = Seen(exits, proven, now, alone or left)
        self._note(name, seen)
        return seen

    def answered(self, name: str) -> None:
        """It is harmless."""
        if self.seen.pop(name, None) is not None:
            self._queue(name, None)

    def of(self, name: str, now: float) -> Seen | None:
        """What is known of a prompt."""
        seen = self.seen.get(name)
        return seen if seen is not None and now - seen.at < LIFETIME_SEC else None

    def merge(self, known: dict[str, Seen]) -> None:
        """What all processes know together; what they have not been told yet stays."""
        self.seen = known
        for name, seen in self.unsent.items():
            if seen is None:
                self.seen.pop(name, None)
            else:
                self.seen[name] = seen
        _trim(self.seen)

    def _note(self, name: str, seen: Seen) -> None:
        self.seen.pop(name, None)
        self.seen[name] = seen
        _trim(self.seen)
        self._queue(name, seen)

    def _queue(self, name: str, seen: Seen | None) -> None:
        self.unsent.pop(name, None)
        self.unsent[name] = seen
        _trim(self.unsent)


def _trim(known: dict[str, Any]) -> None:
    while len(known) > MOST:
        most = Counter(map(_key_of, known)).most_common(1)[0][0]
        del known[next(name for name in known if _key_of(name) == most)]


def _key_of(name: str) -> str:
    return name.partition(":")[0]


def care_of(seen: Seen | None) -> Care:
    """How a prompt must be asked."""
    if seen is None:
        return 0
    return 1 if seen.exits == 1 else 2


_encode = msgspec.msgpack.Encoder().encode


def name_of(key: int, messages: tuple[Message, ...]) -> str:
    """A prompt of one key, as it is remembered."""
    return f"{key}:{blake2b(_encode(messages), digest_size=16).hexdigest()}"
