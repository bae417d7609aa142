"""The base of our management commands."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from accounts.audit.context import Source, acting


class RecordedCommand(BaseCommand):
    """A command whose changes stand in the audit log under its name, also when another program calls it."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        with acting(Source.COMMAND, type(self).__module__.rpartition(".")[2]):
            return super().execute(*args, **options)
