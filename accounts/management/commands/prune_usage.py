"""`prune_usage` deletes usage older than USAGE_RETENTION_DAYS, and contents older than CONTENT_RETENTION_DAYS."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from accounts.audit.commands import RecordedCommand
from accounts.content import retention
from accounts.ledger.prune import oldest_kept, prune
from gateway_project.lib.counted import counted


class Command(RecordedCommand):
    """Delete usage rows and the sums of their hours that are older than USAGE_RETENTION_DAYS, and logged contents that
    are older than CONTENT_RETENTION_DAYS. Done daily anyway.
    """

    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        before = oldest_kept(timezone.now(), settings.USAGE_RETENTION_DAYS)
        # Without a bound in time, where the task has one: whoever calls it wants all of it gone.
        rows, hours = prune(before)
        oldest = retention.kept_since(timezone.now(), settings.CONTENT_RETENTION_DAYS)
        contents = retention.prune(oldest)
        self.stdout.write(
            f"Deleted {counted(rows, 'usage row')} and {counted(hours, 'sum')} of hours, from before {_shown(before)},"
            f" and {counted(contents, 'logged content')}, from before {_shown(oldest)}."
        )


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
