"""`reconcile_usage [--json]` says whether the ledger adds up; exit code 1 when it does not."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.utils import timezone

from accounts.audit.commands import RecordedCommand
from accounts.ledger.prune import oldest_kept
from accounts.ledger.reconcile import reconcile

# Later than any row, and early enough that hours and days can be added to it.
END = datetime(9999, 1, 1, tzinfo=UTC) - timedelta(days=2)


class Command(RecordedCommand):
    """Hold the turns admitted against their rows, and the sums of hours against the rows. Changes nothing."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        # What is older is being pruned: sums and rows do not go in one batch.
        balance = reconcile(oldest_kept(timezone.now(), settings.USAGE_RETENTION_DAYS), END)
        self.stdout.write(json.dumps(balance.as_json()) if options["json"] else balance.as_text())
        if not balance.adds_up:
            sys.exit(1)
