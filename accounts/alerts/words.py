"""What each kind of alert says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from django.utils import timezone
from django.utils.translation import gettext, ngettext

from accounts.models import Alert


class Kind(NamedTuple):
    """`column` is the field under which the audit log has the facts."""

    sentence: Callable[[Alert, str], str]
    """Of an alert and when it began."""
    column: str


def _new_network(alert: Alert, since: str) -> str:
    words = ngettext(
        "new network %(networks)s since %(time)s", "%(count)d new networks since %(time)s: %(networks)s", alert.count
    )
    more = (
        "" if alert.count <= len(alert.facts) else gettext("%(count)d more") % {"count": alert.count - len(alert.facts)}
    )
    return words % {"networks": ", ".join(filter(None, [*alert.facts, more])), "count": alert.count, "time": since}


NEW_NETWORK: Final = "new_network"
KINDS: Final[dict[str, Kind]] = {NEW_NETWORK: Kind(_new_network, "last_used_from")}
"""An app above adds its own when it is ready."""


def sentence(alert: Alert) -> str:
    """What happened and since when, in the reader's language; without whom it is about."""
    began = timezone.localtime(alert.began_at)
    today = began.date() == timezone.localtime().date()
    since = f"{began:%H:%M %Z}" if today else f"{began:%Y-%m-%d %H:%M %Z}"
    kind = KINDS.get(alert.kind)
    return alert.kind if kind is None else kind.sentence(alert, since)
