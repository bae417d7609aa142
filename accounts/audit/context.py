"""Who is acting, and by which way: what the rows of the audit log say of a change besides the change itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from accounts.models import AuditEntry

Source = AuditEntry.Source


@dataclass(slots=True)
class Acting:
    """Somebody who acts: during one request, command or task."""

    source: str
    actor: Callable[[], str]
    """Asked when a row is written: a request's user is known only after its middleware."""
    address: str = ""
    latest: AuditEntry | None = field(default=None)
    """The last row of this request, command or task. What follows on the same object becomes part of it."""


# Context variables and no thread-locals: asgiref takes them along from a coroutine into a view's thread and back.
_acting: ContextVar[Acting | None] = ContextVar("acting", default=None)
_recording: ContextVar[bool] = ContextVar("recording", default=True)


@contextmanager
def acting(source: str, actor: str | Callable[[], str], address: str = "") -> Iterator[None]:
    """Within it, changes are those of this actor."""
    token = _acting.set(Acting(source, actor if callable(actor) else lambda: actor, address))
    try:
        yield
    finally:
        _acting.reset(token)


def by_first_use() -> AbstractContextManager[None]:
    """Within it, keys get their ends by their first use: nobody orders it, the days were set long before."""
    return acting(Source.SCHEDULE, "first use")


@contextmanager
def unrecorded() -> Iterator[None]:
    """Within it, nothing is recorded: for what an installation begins with, which is nobody's change."""
    token = _recording.set(False)
    try:
        yield
    finally:
        _recording.reset(token)


def is_recording() -> bool:
    return _recording.get()


def current() -> Acting:
    """Who acts now, in any case: without a context the process itself."""
    # A new one each time, so without a context nothing is added to an earlier row.
    return _acting.get() or _of_process()


def _of_process() -> Acting:
    """Who acts where nobody has said so: the command that this process was started with."""
    path = Path(sys.argv[0])
    program = path.parent.name if path.name == "__main__.py" else path.name
    if program == "celery":
        return Acting(Source.SCHEDULE, lambda: program)
    # Django's own commands are recorded under their names too.
    is_command = program in ("manage.py", "django-admin") and len(sys.argv) > 1
    return Acting(Source.COMMAND, lambda: sys.argv[1] if is_command else program)
