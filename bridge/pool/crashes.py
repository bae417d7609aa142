"""Prompts that were being answered when the service exited: which of them did it is found out, and remembered."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from typing import Any, Literal

import msgspec

MOST = 256
"""Prompts that are remembered, those of last time; beyond, the key with the most of them forgets its oldest."""
LIFETIME_SEC = 3600

MOST_OF_KEY = 5
"""Exits that weigh for one key within BUDGET_SEC; then its turns are refused."""
BUDGET_SEC = 600

Care = Literal[0, 1, 2]
"""0: like any other. 1: alone, if that can be had soon, until something of the reply has come. 2: alone."""


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """How often the service exited while it answered a prompt, and whether the prompt did it. Times in Unix seconds."""

    exits: int
    proven: bool
    at: float
    last: str = ""
    """The last exit: the instance and its generation."""
    blamed: str = ""
    """The last one that weighs for its key; empty: none does."""
    blamed_at: float = 0.0


class Crashes:
    """What is known of each prompt, by key: nobody can have another key's prompts refused.

    A prompt is proven when nothing else was being answered at its second exit. Those in doubt are asked with care, so
    that the second exit tells who it was. One that is answered is in doubt no more.
    """

    def __init__(self) -> None:
        self.seen: dict[str, Seen] = {}
        self.unsent: dict[str, Seen | None] = {}
        """News that was not sent to the other processes yet; None: forget the prompt."""

    def concern(self, key: int) -> bool:
        """Whether prompts of this key are among them."""
        # Asked for every turn, so that the digest of a prompt is made only for keys that have any here. The table is
        # nearly always empty.
        return any(name.startswith(f"{key}:") for name in self.seen)

    def spent_for(self, key: int, now: float) -> float:
        """For how many seconds none of this key's prompts is asked, as the service has exited over too many; mostly 0.

        Else one that changes with each request costs two exits each time. What was answered in the end counts no more.
        One exit counts once, and a prompt for one of its exits.
        """
        # Counted by exits and not by prompts: one exit may have hit several prompts of the key.
        since, mine = now - BUDGET_SEC, f"{key}:"
        known = [seen for name, seen in self.seen.items() if seen.blamed_at > since and name.startswith(mine)]
        exits: dict[str, float] = {}
        for seen in known:
            exits[seen.blamed] = max(seen.blamed_at, exits.get(seen.blamed, 0.0))
        # Over again when the oldest of the exits that fill the budget leaves the window.
        return sorted(exits.values())[-MOST_OF_KEY] - since if len(exits) >= MOST_OF_KEY else 0.0

    def exited(self, name: str, which: str, *, alone: bool, now: float, weighs: bool) -> Seen:
        """The service exited while it answered this prompt; what is known of it now.

        `which` exit it was is counted once. `weighs`: it does so for the key, even if it proves nothing.
        """
        before = self.seen.get(name) or Seen(0, proven=False, at=0)
        # A prompt may have been asked twice in the same run.
        exits = before.exits + (before.last != which)
        # One exit alone may be chance: a signal from outside, or too little memory.
        proven = before.proven or (alone and exits > 1)
        blamed = (which, now) if weighs or (proven and not before.proven) else (before.blamed, before.blamed_at)
        seen = Seen(exits, proven, now, which, *blamed)
        self._note(name, seen)
        return seen

    def answered(self, name: str) -> None:
        # Nothing is sent for the usual prompt, which nobody ever doubted.
        if self.seen.pop(name, None) is not None:
            self._queue(name, None)

    def of(self, name: str, now: float) -> Seen | None:
        seen = self.seen.get(name)
        return seen if seen is not None and now - seen.at < LIFETIME_SEC else None

    def merge(self, known: dict[str, Seen]) -> None:
        """Take over what all processes know together. News that was not sent yet goes on top of it."""
        # Other processes may have forgotten some: their table replaces ours, it is not added to it.
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
        # The key with the most entries pays: no key can push out what is known of the others.
        most = Counter(map(_key_of, known)).most_common(1)[0][0]
        del known[next(name for name in known if _key_of(name) == most)]


def _key_of(name: str) -> str:
    return name.partition(":")[0]


def care_of(seen: Seen | None) -> Care:
    if seen is None:
        return 0
    return 1 if seen.exits == 1 else 2


_encode = msgspec.msgpack.Encoder().encode


def name_of(key: int, *told: object) -> str:
    """The name of a prompt of one key: a digest of all that the model gets to read. The prompt itself is not kept."""
    # By key, so that nobody can have another key's prompts refused, and by digest, as this is shared through Redis.
    return f"{key}:{blake2b(_encode(told), digest_size=16).hexdigest()}"
