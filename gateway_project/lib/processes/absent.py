"""Imports without what others load only because it is installed, or might need once."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


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


def late(name: str, *functions: str) -> None:
    """Have a module loaded when one of these is called first, also by whoever has imported the function before."""
    if name not in sys.modules:
        sys.modules[name] = _Late(name, functions)


class _Late(ModuleType):
    """Stands in the place of a module. `importlib.util.LazyLoader` would load it for `from … import …`."""

    def __init__(self, name: str, functions: tuple[str, ...]) -> None:
        super().__init__(name)
        self._functions = functions

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system asks for these
            raise AttributeError(name)
        if name in self._functions:
            return self._late(name)
        return getattr(self._load(), name)

    def _late(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            return getattr(self._load(), name)(*args, **options)

        return call

    def _load(self) -> ModuleType:
        name = self.__name__
        if sys.modules.get(name) is self:
            del sys.modules[name]
        return importlib.import_module(name)
