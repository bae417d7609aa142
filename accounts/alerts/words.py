"""What each kind of alert says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import IntEnum
from typing import Final, NamedTuple

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.models import Alert


class Severity(IntEnum):
    """How much it matters, the worst last."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2


SEVERITIES: Final = {Severity.INFO: _("info"), Severity.WARNING: _("warning"), Severity.CRITICAL: _("critical")}


class Kind(NamedTuple):
    """One kind of alert. The last two are for those about a state, in seconds."""

    sentence: Callable[[Alert, str], str]
    """Of an alert and when it began."""
    column: str = "facts"
    """The field under which the audit log has the facts."""
    name: object = ""
    """For lists, translated when it is shown."""
    severity: Severity = Severity.WARNING
    begins_after: float = 0.0
    ends_after: float = 0.0


def _new_network(alert: Alert, since: str) -> str:
    words = ngettext(
        "new network %(networks)s since %(time)s", "%(count)d new networks since %(time)s: %(networks)s", alert.count
    )
    return words % {"networks": listed(alert), "count": alert.count, "time": since}


def listed(alert: Alert) -> str:
    """Its facts, and how many more there are."""
    surplus = alert.count - len(alert.facts)
    more = gettext("%(count)d more") % {"count": surplus} if surplus > 0 else ""
    return ", ".join(filter(None, [*alert.facts, more]))


NEW_NETWORK: Final = "new_network"
KINDS: Final[dict[str, Kind]] = {NEW_NETWORK: Kind(_new_network, "last_used_from", _("new network"))}
"""An app above adds its own when it is ready."""


def sentence(alert: Alert) -> str:
    """What happened and since when, in the reader's language; without whom it is about."""
    kind = KINDS.get(alert.kind)
    # Of another version, which knows this kind.
    return alert.kind if kind is None else kind.sentence(alert, clock(alert.began_at))


def about(alert: Alert) -> str:
    """What it is about, as far as that fits in front of its sentence; a kind where all of the gateway is meant."""
    if alert.key:
        return alert.key.short_name
    kind = KINDS.get(alert.kind)
    if kind is not None and (alert.lasts or not alert.subject):
        return str(kind.name or alert.kind)
    return alert.subject


def clock(at: datetime) -> str:
    """The time of day, with the date where it is not today's."""
    local = timezone.localtime(at)
    today = local.date() == timezone.localtime().date()
    return f"{local:%H:%M %Z}" if today else f"{local:%Y-%m-%d %H:%M %Z}"


def severity(kind: str) -> Severity:
    return KINDS[kind].severity if kind in KINDS else Severity.WARNING


def column(kind: str) -> str:
    """Where the audit log has its facts."""
    return KINDS[kind].column if kind in KINDS else "facts"


def matters(least: Severity) -> Q:
    """Met by alerts that matter so much at least."""
    known = Q(kind__in=[name for name, kind in KINDS.items() if kind.severity >= least])
    # Of those of another version `severity` says one, too.
    return known | ~Q(kind__in=[*KINDS]) if severity("") >= least else known


def kind_names() -> list[tuple[str, str]]:
    """All kinds, as choices."""
    return [(name, str(kind.name or name)) for name, kind in KINDS.items()]
