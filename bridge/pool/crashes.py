"""Prompts that were being answered when the service exited: which of them did it is found out, and remembered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Literal, Protocol

import msgspec

MOST = 256
"""Prompts that are remembered, those of last time; beyond, the key with the most of them forgets its oldest."""
LIFETIME_SEC = 3600
MOST_SEEN = 8
"""Exits that are remembered of one prompt."""

MOST_OF_KEY = 5
"""Exits that weigh for one key within BUDGET_SEC; then its turns are refused."""
BUDGET_SEC = 600

Care = Literal[0, 1, 2]
"""0: like any other. 1: alone, if that can be had soon, until something of the reply has come. 2: alone."""


class CrashRecord(msgspec.Struct, frozen=True, array_like=True):
    """How often the service exited while it answered a prompt, and whether the prompt did it. Times in Unix seconds."""

    exits: int
    proven: bool
    at: float
    last: str = ""
    """The last exit: the instance and its generation."""
    blamed: str = ""
    """The last one that weighs for its key; empty: none does."""
    blamed_at: float = 0.0
    seen: tuple[tuple[str, bool], ...] = ()
    """The last MOST_SEEN exits, and of each whether it tells anything: the prompt was alone, or of several that were
    silent until then; not one that was killed by a signal, nor one with part of the reply out."""


class Crashes:
    """What is known of each prompt, by key: nobody can have another key's prompts refused.

    A prompt is proven when nothing else was being answered at its second exit, or when it is all that two exits had in
    common and only its key lost turns. Those in doubt are asked with care, so that the second exit shows which one did
    it. One that is answered is in doubt no more.
    """

    def __init__(self) -> None:
        self.on_note: Callable[[], None] = lambda: None
        """Called when there is something new for the other processes."""
        self.records: dict[str, CrashRecord] = {}
        self.unsent: dict[str, CrashRecord | None] = {}
        """Changes that were not sent to the other processes yet; None: forget the prompt."""

    def has_any_of(self, key: int) -> bool:
        """Whether any prompt of this key has a record."""
        # Asked for every turn, so that the digest of a prompt is made only for keys that have any here. The table is
        # nearly always empty.
        return any(name.startswith(f"{key}:") for name in self.records)

    def spent_for(self, key: int, now: float) -> float:
        """For how many seconds none of this key's prompts is asked, as the service has exited over too many; mostly 0.

        Else one that changes with each request costs two exits each time. What was answered in the end counts no more.
        One exit counts once, and a prompt for one of its exits.
        """
        # Counted by exits and not by prompts: one exit may have hit several prompts of the key.
        since, prefix = now - BUDGET_SEC, f"{key}:"
        records = [
            record for name, record in self.records.items() if record.blamed_at > since and name.startswith(prefix)
        ]
        exits: dict[str, float] = {}
        for record in records:
            exits[record.blamed] = max(record.blamed_at, exits.get(record.blamed, 0.0))
        # Over again when the oldest of the exits that fill the budget leaves the window.
        return sorted(exits.values())[-MOST_OF_KEY] - since if len(exits) >= MOST_OF_KEY else 0.0

    def exited(
        self, name: str, which: str, *, alone: bool, now: float, weighs: bool, tells: bool = False
    ) -> CrashRecord:
        """The service exited while it answered this prompt; what is known of it now.

        `which` exit it was is counted once. `weighs`: it does so for the key, even if it proves nothing. `tells`: see
        `CrashRecord.seen`.
        """
        before = self.records.get(name) or CrashRecord(0, proven=False, at=0)
        seen = dict(before.seen)
        # A prompt may have been asked twice in the same run.
        exits = before.exits + (before.last != which and which not in seen)
        seen[which] = seen.get(which, False) or alone or tells
        # One exit alone may be chance: a signal from outside, or too little memory.
        proven = before.proven or (alone and exits > 1)
        blamed = (which, now) if weighs or (proven and not before.proven) else (before.blamed, before.blamed_at)
        record = CrashRecord(exits, proven, now, which, *blamed, tuple(seen.items())[-MOST_SEEN:])
        self._note(name, record)
        return record

    def judged(self, name: str, now: float) -> CrashRecord | None:
        """The record of the prompt, proven where two exits have nothing but it in common; None: nothing is known of it.

        Asked when the turns of an exit have told what they were, not while they do: the first would always be alone.
        """
        record = self.of(name, now)
        if record is None or record.proven or record.exits < 2 or not self._is_all_in_common(name, record):
            return record
        proven = msgspec.structs.replace(record, proven=True, blamed=record.last, blamed_at=record.at)
        self._note(name, proven)
        return proven

    def _is_all_in_common(self, name: str, record: CrashRecord) -> bool:
        others = [(each, other) for each, other in self.records.items() if each != name]
        # What is proven is the reason of its exits, and nobody else in them is. Where other keys lost turns too, one of
        # those may be: nobody can have another key's prompt refused by crashing the service beside it.
        mine = {which for which, tells in record.seen if tells}
        for each, other in others:
            if other.proven or _key_of(each) != _key_of(name):
                mine.difference_update(which for which, _ in other.seen)
        return len(mine) > 1 and all(len(mine.intersection(dict(other.seen))) < 2 for _, other in others)

    def answered(self, name: str) -> None:
        # Nothing is sent for the usual prompt, which nobody ever doubted.
        if self.records.pop(name, None) is not None:
            self._queue(name, None)

    def of(self, name: str, now: float) -> CrashRecord | None:
        record = self.records.get(name)
        return record if record is not None and now - record.at < LIFETIME_SEC else None

    def merge(self, records: dict[str, CrashRecord]) -> None:
        """Take over what all processes know together. Changes that were not sent yet go on top of it."""
        # Other processes may have forgotten some: their table replaces ours, it is not added to it.
        self.records = records
        for name, record in self.unsent.items():
            if record is None:
                self.records.pop(name, None)
            else:
                self.records[name] = record
        _trim(self.records)

    def _note(self, name: str, record: CrashRecord) -> None:
        self.records.pop(name, None)
        self.records[name] = record
        _trim(self.records)
        self._queue(name, record)

    def _queue(self, name: str, record: CrashRecord | None) -> None:
        self.unsent.pop(name, None)
        self.unsent[name] = record
        _trim(self.unsent)
        self.on_note()


def _trim(records: dict[str, Any]) -> None:
    while len(records) > MOST:
        # The key with the most entries pays: no key can push out what is known of the others.
        most = Counter(map(_key_of, records)).most_common(1)[0][0]
        del records[next(name for name in records if _key_of(name) == most)]


def _key_of(name: str) -> str:
    return name.partition(":")[0]


def care_of(record: CrashRecord | None) -> Care:
    if record is None:
        return 0
    return 1 if record.exits == 1 else 2


class RetestLocks(Protocol):
    """Who asks a prompt that is in doubt: one turn at a time, over all processes and machines.

    Else each of those who ask it at once would cost an instance before the first of them has shown anything.
    """

    async def begin(self, name: str, turn: str) -> bool:
        """True: the turn may ask the prompt, until `end`. What other processes know of it is known here then."""

    async def end(self, name: str, turn: str) -> None:
        """Another may. What this process knows of the prompt is known to the others before."""


class LocalRetestLocks:
    """Of one process that knows of no other."""

    def __init__(self) -> None:
        self._held: dict[str, str] = {}

    async def begin(self, name: str, turn: str) -> bool:
        return self._held.setdefault(name, turn) == turn

    async def end(self, name: str, turn: str) -> None:
        if self._held.get(name) == turn:
            del self._held[name]


_encode = msgspec.msgpack.Encoder().encode


def name_of(key: int, *parts: object) -> str:
    """The name of a prompt of one key: a digest of all that the model gets to read. The prompt itself is not kept."""
    # By key, so that nobody can have another key's prompts refused, and by digest, as this is shared through Redis.
    return f"{key}:{blake2b(_encode(parts), digest_size=16).hexdigest()}"
