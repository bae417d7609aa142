"""A text as the deltas of a stream, and its size in tokens."""

from __future__ import annotations

import re
from itertools import pairwise

TOKEN = re.compile(r"[一-鿿぀-ヿ가-힯]|[A-Za-z0-9_]{1,8}|[^\sA-Za-z0-9_]")
CHUNK = re.compile(r"\s*(?:[一-鿿]{1,3}|[^\s一-鿿]{1,8})|\s+")


def tokens(text: str) -> int:
    """A model-like count: a short word, a Chinese character or a sign is one token. Long texts are extrapolated."""
    # Prompts may be megabytes, and this runs in the loop that serves all turns.
    sample = text[:20_000]
    counted = len(TOKEN.findall(sample))
    return counted if len(text) == len(sample) else counted * len(text) // len(sample)


def pieces_of(text: str, *, chunks: int, size: int) -> list[str]:
    """The text as deltas; never an empty list, so that an empty answer is one empty delta."""
    if chunks > 0:
        # Rounded edges: the sizes differ by one character at most, and the number is exact.
        edges = [len(text) * number // chunks for number in range(chunks + 1)]
        return [text[low:high] for low, high in pairwise(edges)]
    if size > 0:
        return [text[at : at + size] for at in range(0, len(text), size)] or [""]
    return CHUNK.findall(text) or [""]
