"""`lingma_doctor [--json]` examines the installation; exit code 1 when something does not work."""

from __future__ import annotations

import sys
import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from bridge.doctor.examination import examine
from bridge.doctor.finding import as_json, as_text
from bridge.doctor.patient import WAIT_SEC, patient


class Command(BaseCommand):
    """Look at everything, whether the gateway runs or not, and say what to do. Changes nothing."""

    help = __doc__
    requires_system_checks = ()  # their findings are told with the others

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Examine and tell."""
        be_quick(settings.DATABASES["default"]["OPTIONS"])
        examined = patient(settings.ENV, settings.DATA_DIR, settings.REDIS_URL, time.time())
        with examined.redis:
            findings = examine(examined)
        self.stdout.write(as_json(findings) if options["json"] else as_text(findings))
        if any(each.level == "fail" for each in findings):
            sys.exit(1)


def be_quick(options: dict[str, Any]) -> None:
    """A database that takes longer is told as one that does not answer."""
    options["statement_sec" if "statement_sec" in options else "timeout"] = WAIT_SEC
