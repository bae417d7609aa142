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
NOT = "!"


# The patterns are those of keys, so few; to translate one takes much longer than to match it.
@lru_cache(1024)
def matcher(pattern: str) -> Callable[[str], object]:
    """A function whose result is true for a name that fits: `*` is any text, `?` one character, all else itself."""
    literal = pattern.replace("[", "[[]")  # names such as model[1m] exist, sets of characters are not needed
    return re.compile(translate(literal), re.IGNORECASE).match


def allows(patterns: frozenset[str], names: Iterable[str]) -> bool:
    """Whether one of a model's names fits one of the patterns, and none fits one that begins with `!`.

    Patterns that all forbid leave everything else open.
    """
    # Before the cache: names are the clients' words, and long ones would fill it.
    short_names = tuple(name for name in names if len(name) <= LONGEST_NAME)
    return _allows(patterns, short_names)


@lru_cache(4096)
def _allows(patterns: frozenset[str], names: tuple[str, ...]) -> bool:
    allowed, forbidden = split(patterns)
    if _fit(forbidden, names):
        return False
    return _fit(allowed, names) if allowed else bool(names)


def _fit(patterns: Iterable[str], names: tuple[str, ...]) -> bool:
    return any(matcher(pattern)(name) for pattern in patterns for name in names)


def split(patterns: Iterable[str]) -> tuple[list[str], list[str]]:
    """The patterns that allow, and those that forbid without their `!`."""
    patterns = list(patterns)
    allowed = [pattern for pattern in patterns if not pattern.startswith(NOT)]
    return allowed, [pattern.removeprefix(NOT).lstrip() for pattern in patterns if pattern.startswith(NOT)]


def flaw_of(patterns: list[str]) -> Text | None:
    """What is wrong with a list of patterns, such as `claude-*` or `!claude-opus-*`; None: nothing."""
    # Each request of the key matches its name against all of them.
    if len(patterns) > MOST:
        return Text(gettext_noop("At most %(most)d names or patterns."), most=MOST)
    allowed, forbidden = split(patterns)
    for pattern in (*allowed, *forbidden):
        if not pattern:
            return Text(gettext_noop("A name or pattern is missing behind the !."))
        if len(pattern) > LONGEST:
            return Text(gettext_noop("A name or pattern has at most %(most)d characters."), most=LONGEST)
        if not pattern.isprintable():
            return Text(gettext_noop("Names and patterns are of printable characters."))
    return None
