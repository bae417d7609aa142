"""`prune_usage` deletes usage that is older than USAGE_RETENTION_DAYS."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils import timezone

from accounts.audit.commands import RecordedCommand
from accounts.ledger.prune import oldest_kept, prune


class Command(RecordedCommand):
    """Delete usage rows, and the sums of their hours, that are older than USAGE_RETENTION_DAYS. Done daily anyway."""

    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        before = oldest_kept(timezone.now(), settings.USAGE_RETENTION_DAYS)
        rows, hours = prune(before)
        shown = f"{before:%Y-%m-%d %H:%M} UTC"
        self.stdout.write(f"Deleted {rows} usage rows and {hours} sums of hours, from before {shown}.")
