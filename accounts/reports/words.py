"""How numbers and names look on usage pages. What nobody knows is a dash, never 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import BOUNDS_MS, Usage
from gateway_project.lib.token_sources import ESTIMATES

UNKNOWN: Final = "–"
BLANK: Final = "\N{NO-BREAK SPACE}"
ESTIMATED: Final = f"≈{BLANK}"
"""Before numbers that are estimated, all or in part."""

SOURCES: Final[Mapping[str, Any]] = {
    "upstream": _("Lingma"), "estimate": _("an estimate"), "partial": _("an estimate until it broke off"),
}  # fmt: skip
"""Where the numbers of tokens of a turn come from."""
MARKS: Final[Mapping[str, Any]] = {"estimate": _("estimated"), "partial": _("estimated until it broke off")}
"""What stands behind them."""


def source_of(turn: Usage) -> str:
    """Nothing where nobody knows them, and the word itself where it is none of ours."""
    return str(SOURCES.get(turn.usage_source, turn.usage_source)) if turn.tokens_known else ""


def mark_of(turn: Usage) -> str:
    """Nothing behind Lingma's own numbers."""
    return str(MARKS.get(turn.usage_source, "")) if turn.tokens_known else ""


def number(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def tokens_of(turn: Usage) -> str:
    """Those in and out of one turn."""
    if not turn.tokens_known:
        return UNKNOWN
    return f"{ESTIMATED if turn.usage_source in ESTIMATES else ''}{turn.prompt_tokens:,} / {turn.completion_tokens:,}"


def short(value: int) -> str:
    """Some four signs: for figures and cells that have no room for all digits."""
    # Thousands from five digits on: 9,999 is as short as 10.0 k, and exact.
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if value >= size:
            scaled = value / (1000 if unit == "k" else size)
            return f"{scaled:.1f}{BLANK}{unit}" if scaled < 100 else f"{scaled:,.0f}{BLANK}{unit}"
    return f"{value:,}"


def share(part: int, whole: int) -> str:
    """Per cent, with a digit where it matters."""
    if not whole:
        return UNKNOWN
    percent = 100 * part / whole
    if part and percent < 0.1:
        return f"<{BLANK}0.1{BLANK}%"
    return f"{percent:.1f}{BLANK}%" if percent < 10 else f"{percent:.0f}{BLANK}%"


def fine_share(part: int, whole: int) -> str:
    """Per cent to the hundredth: of shares that are small, and still differ."""
    percent = 100 * part / whole if whole else 0.0
    if not whole or percent >= 1:
        return share(part, whole)
    return f"<{BLANK}0.01{BLANK}%" if 0 < percent < 0.01 else f"{percent:.2f}{BLANK}%"


def ms(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}{BLANK}ms"


def percentile_ms(value: int | None) -> str:
    """A time of `percentile`."""
    return UNKNOWN if value is None else f"{bounded(value)}{BLANK}ms"


def bounded(value: int) -> str:
    """Below the first bound every time is counted alike, so nobody knows which it was; often it is none at all. So is
    every time beyond the last one.
    """
    if value <= BOUNDS_MS[0]:
        return f"≤{BLANK}{BOUNDS_MS[0]}"
    return f"{value:,}" if value < BOUNDS_MS[-1] else f"≥{BLANK}{BOUNDS_MS[-1]:,}"


def seconds(value_ms: int) -> str:
    return gettext("%(seconds)s s") % {"seconds": f"{value_ms / 1000:,.0f}"}


def tokens(value: int, counted_turns: int, estimated_turns: int, *, brief: bool = False) -> str:
    """Tokens of some turns: unknown where nobody counted, marked where some are estimated."""
    if not counted_turns:
        return UNKNOWN
    return f"{ESTIMATED if estimated_turns else ''}{short(value) if brief else number(value)}"


def change(now: int, before: int) -> str:
    """In per cent of what was before."""
    if not before:
        return UNKNOWN
    percent = 100 * (now - before) / before
    return f"{percent:+.0f}{BLANK}%".replace("-", "−")
