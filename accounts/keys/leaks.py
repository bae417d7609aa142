"""Finds keys of this gateway in any text, by their digests: both secrets of each key, revoked ones too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from accounts.apps import accounts_config
from accounts.models import ApiKey
from gateway_project.lib.secrets.key_secret import ALPHABET, BODY, CHECK, LENGTH, PREFIX, Digester

# How much callers should read at a time: this and a few times as much is all that a search takes of memory.
BLOCK: Final = 1 << 18
LONGEST: Final = 512
"""Bytes of a secret at most; a longer run of signs is searched for secrets of our own making alone."""
SHORTEST: Final = 8

_OWN: Final = re.compile(rb"lgw_[%(a)s]{%(p)d}_[%(a)s]{%(b)d}" % {
    b"a": re.escape(ALPHABET).encode(), b"p": PREFIX, b"b": BODY + CHECK,
})  # fmt: skip
# Imported secrets have no form of their own: all between what ends a word counts, with and without what may end one.
_RUN: Final = re.compile(rb"""[^\s"'`<>,()\[\]{}|\\]{%d,}""" % SHORTEST)
_END: Final = re.compile(rb"[=:;&?@/!#$%*.]")
MOST_ENDS: Final = 12


class Leak(NamedTuple):
    """A secret that stands in the text: of which key, whether it is the one before the last rotation, and where."""

    key_id: int
    is_previous: bool
    line: int
    """Counted from 1."""


class LeakFinder:
    """Knows the digests of all keys when it is made; what it keeps of a text is one block."""

    def __init__(self) -> None:
        self._digest = Digester(accounts_config().pepper)
        self._keys: dict[bytes, tuple[int, bool]] = {}
        rows = ApiKey.objects.order_by().values_list("pk", "digest", "previous_digest")
        for pk, digest, previous in rows.iterator(2000):
            self._keys[bytes.fromhex(digest)] = pk, False
            if previous:
                self._keys[bytes.fromhex(previous)] = pk, True

    def find(self, blocks: Iterable[bytes]) -> Iterator[Leak]:
        """Each secret of a key once, where it first stands."""
        found: set[tuple[int, bool]] = set()
        for line, text in _pieces(blocks):
            for at, secret in _candidates(text):
                key = self._keys.get(self._digest(secret))
                if key is not None and key not in found:
                    found.add(key)
                    yield Leak(*key, line + text.count(b"\n", 0, at))


def _pieces(blocks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Pieces of the text that overlap by more than any secret has, each with the number of its first line."""
    line, rest = 1, b""
    for block in blocks:
        text = rest + block
        yield line, text
        # Back to a space, so that no half of a word is taken for a whole one; a longer word is cut.
        cut = max(0, len(text) - LONGEST)
        cut = max(text.rfind(b"\n", 0, cut), text.rfind(b" ", 0, cut), cut - LONGEST, 0)
        line += text.count(b"\n", 0, cut)
        rest = text[cut:]


def _candidates(text: bytes) -> Iterator[tuple[int, str]]:
    """What may be a secret, and where it stands."""
    # By itself, although the other pattern finds most of them too: one inside of a longer run of signs, as in base64
    # or a minified file, has no end that `_RUN` would see.
    for own in _OWN.finditer(text):
        yield own.start(), own[0].decode()
    for run in _RUN.finditer(text):
        word = run[0]
        if len(word) > LONGEST:
            continue
        for part in _parts(word):
            if len(part) >= SHORTEST:
                # As a header's bytes are read: see `Digester`.
                yield run.start(), part.decode(errors="surrogateescape")


def _parts(word: bytes) -> set[bytes]:
    """The word, and what stands between any two of the signs that may end a secret or be part of it."""
    ends = list(_END.finditer(word))
    if len(ends) > MOST_ENDS:  # the number of parts grows with its square
        return {word, *_END.split(word)}
    starts = [0, *(end.end() for end in ends)]
    stops = [*(end.start() for end in ends), *(end.end() for end in ends), len(word)]
    return {word[start:stop] for start in starts for stop in stops if start < stop}


assert LENGTH < LONGEST  # noqa: S101 - else pieces would not overlap by a whole secret
