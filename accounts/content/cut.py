"""Cuts texts in the middle. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

EDGE: Final = 512
"""Characters that a cut takes along on either side: half of a key would not be recognised as one."""
END_OF_KEY: Final = re.compile(r"\A(?:[^-]|-(?!----)){0,16384}+-----END [A-Z ]{0,32}PRIVATE KEY-----")


def longest_each(sizes: Collection[int], most: int) -> int:
    """The size to which the largest are cut, so that all together have no more than `most`."""
    left, count = most, len(sizes)
    for size in sorted(sizes):
        # From the smallest on: what fits its share leaves more for the others.
        if size * count > left:
            return left // count
        left -= size
        count -= 1
    return most


def cut(text: str, most: int) -> str:
    """The text, of which at most so many characters are kept: its beginning and its end."""
    if len(text) <= most:
        return text
    half = most // 2
    head, tail = before_gap(text[:half]), after_gap(text[len(text) - half :])
    return f"{head}[… {len(text) - len(head) - len(tail):,} characters left out …]{tail}"


def before_gap(text: str) -> str:
    """Without the word that was cut in two, which may be half of a secret."""
    end, stop = len(text), max(0, len(text) - EDGE)
    # Printable ASCII without blanks, as secrets are: a Chinese text has no words to be cut off.
    while end > stop and "!" <= text[end - 1] <= "~":
        end -= 1
    return text[:end]


def after_gap(text: str) -> str:
    """The same for the text behind; also without the rest of a private key, which nothing shows any more."""
    text = END_OF_KEY.sub("", text)
    start, stop = 0, min(len(text), EDGE)
    while start < stop and "!" <= text[start] <= "~":
        start += 1
    return text[start:]
