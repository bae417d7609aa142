"""An app's contributions to the console besides its models: a panel of the first page, and pages that are no lists.

The console's site looks for `admin/panels.py` in each app: a function `panel(request)`, a tuple `PAGES`, or both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any, NamedTuple

from django.http import HttpResponse


class Level(IntEnum):
    """How well it goes, the worst last."""

    WELL = 0
    DEGRADED = 1
    DOWN = 2


class Figure(NamedTuple):
    """A number that leads to what it counts; `tone` is "good", "bad" or ""."""

    name: str
    value: str
    href: str
    tone: str = ""


class Section(NamedTuple):
    """A part of the page below the figures: a template, and the one variable it has, `section`."""

    template: str
    section: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One app's part of the first page, as far as the user may see it. `position` orders the apps.

    `level` is None for an app that cannot tell; `since` is when that began, if it is known.
    """

    position: int
    level: Level | None = None
    since: datetime | None = None
    troubles: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    sections: Sequence[Section] = field(default=())


class Page(NamedTuple):
    """A page of its own, for staff: its path below the console's, its name in `admin:`, and the view."""

    route: str
    name: str
    view: Callable[..., HttpResponse]
    """Of the request, and of what the path has."""
