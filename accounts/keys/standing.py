"""How a key stands, in sentences."""

from __future__ import annotations

from datetime import datetime

from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext, ngettext

from accounts.apps import accounts_config
from accounts.models import ApiKey
from gateway_project.lib.pages.cells import lasting
from gateway_project.lib.visible import visible


def standing(key: ApiKey, now: datetime) -> str:
    """Sentences for pages: whether the key opens anything at `now`, why not, and what will change that."""
    match key.state(now):
        case ApiKey.State.REVOKED:
            return gettext("Revoked on %(time)s: it opens nothing any more.") % {"time": _shown(key.revoked_at)}
        case ApiKey.State.EXPIRED:
            return gettext("Expired on %(time)s: it opens nothing until it is extended.") % {
                "time": _shown(key.expires_at)
            }
        case ApiKey.State.QUARANTINED:
            first = gettext("In quarantine since %(time)s: it opens nothing until an operator resumes it.")
            return first % {"time": _shown(key.quarantined_at)} + _because(key.quarantine_reason)
        case ApiKey.State.PAUSED:
            first = gettext("Paused since %(time)s: it opens nothing until it is resumed.")
            return first % {"time": _shown(key.paused_at)} + _because(key.pause_reason)
        case _:
            return " ".join([gettext("This key is live."), *_of_live(key, now)])


def _because(reason: str) -> str:
    return " " + gettext("Reason: %(reason)s.") % {"reason": visible(reason)} if reason else ""


def content_notice(key: ApiKey) -> str:
    """A banner for the pages of a key with content logging; "" for all others."""
    days = accounts_config().content_days
    if not key.content_logging or not days:
        return ""
    text = ngettext(
        "What this key sends and receives is kept for %(days)d day.",
        "What this key sends and receives is kept for %(days)d days.",
        days,
    )
    return text % {"days": days}


def _of_live(key: ApiKey, now: datetime) -> list[str]:
    sentences = []
    if key.expires_at is not None:
        ends = gettext("It expires on %(time)s, in %(left)s.")
        sentences.append(ends % {"time": _shown(key.expires_at), "left": lasting(now, key.expires_at)})
    if key.expires_after_days and key.first_used_at is None:
        days = key.expires_after_days
        text = ngettext(
            "It expires %(days)d day after its first use, which is still to come.",
            "It expires %(days)d days after its first use, which is still to come.",
            days,
        )
        sentences.append(text % {"days": days})
    if key.previous_until is not None and key.previous_until > now:
        text = gettext("Its secret was changed; the older one works until %(time)s, for %(left)s more.")
        sentences.append(text % {"time": _shown(key.previous_until), "left": lasting(now, key.previous_until)})
    if key.last_used_at is None:
        sentences.append(gettext("It has not been used yet."))
    return sentences


def _shown(moment: datetime | None) -> str:
    return "–" if moment is None else date_format(localtime(moment), "DATETIME_FORMAT")
