"""Contents for those who may read them; every look is a row of the audit log."""

from __future__ import annotations

from typing import Final

from django.utils import timezone

from accounts.apps import accounts_config
from accounts.audit.entries import record
from accounts.content.retention import KIND, kept_since
from accounts.content.turn_content import TurnContent, unpacked
from accounts.models import UsageContent

SEES: Final = "accounts.view_content"
VIEWED: Final = "viewed"


def view(request_id: str) -> TurnContent | None:
    """The content of a request that somebody is shown now; None when there is none.

    Raise SecretUnreadableError, or ValueError when it is damaged.
    """
    since = kept_since(timezone.now(), accounts_config().content_days)
    row = UsageContent.objects.select_related("api_key").filter(pk=request_id, started_at__gte=since).first()
    if row is None:
        return None
    content = unpacked(row.content.read())
    # Before it is shown: no row, no look.
    record(VIEWED, KIND, request_id, f"{request_id}: {row.api_key}")
    return content
