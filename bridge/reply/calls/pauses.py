"""Long work in steps: whoever runs it may let others have their turn between two. Pure."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")
Steps = Generator[None, None, Result]
"""Yields where a pause may be made; the result is returned."""

STEP = 8192
"""Characters between two pauses, some milliseconds of work."""


def at_once(steps: Steps[Result]) -> Result:
    """Run all steps in one go and return their result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
