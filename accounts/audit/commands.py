"""The base of the management commands that may change something."""

from __future__ import annotations

from typing import Any

from accounts.audit.context import Source, acting
from gateway_project.lib.commands import GatewayCommand


class RecordedCommand(GatewayCommand):
    """A command whose changes stand in the audit log under its name, also when another program calls it."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        with acting(Source.COMMAND, type(self).__module__.rpartition(".")[2]):
            return super().execute(*args, **options)
