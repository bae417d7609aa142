"""Where the numbers of tokens of a turn come from: the one list."""

from __future__ import annotations

from typing import Final, Literal

TokenSource = Literal["upstream", "estimate", "partial"]
"""Lingma's own figures; what the gateway makes of all that was sent; the same of a turn that broke off, up to there."""

UPSTREAM: Final = "upstream"
ESTIMATES: Final = ("estimate", "partial")
"""All but Lingma's own."""
