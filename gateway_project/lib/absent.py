"""Imports without what others load only because it is installed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def absent(*names: str) -> Iterator[None]:
    """Within this context these cannot be imported, for libraries that can do without. What is loaded stays loaded.

    For the one thread of a start: others that import one of these meanwhile fail too.
    """
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # Python's own mark of a module that cannot be imported
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
