"""The models a key may use: patterns over names, in any case."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import translate
from functools import lru_cache

from gateway_project.lib.texts import Text, gettext_noop

LONGEST = 128  # of one pattern
MOST = 64
LONGEST_NAME = 256  # a longer name fits no pattern


@lru_cache(1024)
def matcher(pattern: str) -> Callable[[str], object]:
    """A function whose result is true for a name that fits: `*` is any text, `?` one character, all else itself."""
    literal = pattern.replace("[", "[[]")  # names such as model[1m] exist, sets of characters are not needed
    return re.compile(translate(literal), re.IGNORECASE).match


def allows(patterns: frozenset[str], names: Iterable[str]) -> bool:
    """Whether one of the names fits one of the patterns."""
    # Before the cache: names are the clients' words, and long ones would fill it.
    short_names = tuple(name for name in names if len(name) <= LONGEST_NAME)
    return _allows(patterns, short_names)


@lru_cache(4096)
def _allows(patterns: frozenset[str], names: tuple[str, ...]) -> bool:
    return any(matcher(pattern)(name) for pattern in patterns for name in names)


def flaw_of(patterns: list[str]) -> Text | None:
    """What is wrong with a list of patterns, or None."""
    # Each request of the key matches its name against all of them.
    if len(patterns) > MOST:
        return Text(gettext_noop("At most %(most)d names or patterns."), most=MOST)
    for pattern in patterns:
        if len(pattern) > LONGEST:
            return Text(gettext_noop("A name or pattern has at most %(most)d characters."), most=LONGEST)
        if not pattern.isprintable():
            return Text(gettext_noop("Names and patterns are of printable characters."))
    return None
