"""`lingma_doctor [--json]` examines the installation; exit code 1 when something does not work."""

from __future__ import annotations

import sys
import time
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from bridge.doctor.finding import as_json, as_text
from bridge.doctor.installation_state import WAIT_SEC, open_state
from bridge.doctor.run import run_checks
from gateway_project.lib.commands import GatewayCommand


class Command(GatewayCommand):
    """Look at everything, whether the gateway runs or not, and say what to do. Changes nothing."""

    help = __doc__
    requires_system_checks = ()  # their findings are reported with the others

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        be_quick(settings.DATABASES["default"]["OPTIONS"])
        state = open_state(settings.ENV, settings.DATA_DIR, settings.REDIS_URL, time.time())
        with state.redis:
            findings = run_checks(state)
        self.stdout.write(as_json(findings) if options["json"] else as_text(findings))
        if any(each.level == "fail" for each in findings):
            sys.exit(1)


def be_quick(options: dict[str, Any]) -> None:
    """A database that takes longer is reported as one that does not answer."""
    options["statement_sec" if "statement_sec" in options else "timeout"] = WAIT_SEC
