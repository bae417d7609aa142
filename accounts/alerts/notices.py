"""Alerts on their way to channels: queued when they begin and end, sent as one message, tried again with pauses."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from smtplib import SMTPException
from typing import Any, Final, NamedTuple

from django.core.mail import EmailMessage
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone, translation
from django.utils.translation import gettext, ngettext

from accounts.alerts.formats import Message, call_for, failure
from accounts.alerts.post import PostFailed, PostOptions, post
from accounts.alerts.words import SEVERITIES, about, clock, sentence, severity
from accounts.models import Alert, AlertChannel, AlertNotice
from gateway_project.lib.backoff import growing
from gateway_project.lib.secrets.secrets_at_rest import SecretUnreadableError

log = logging.getLogger(__name__)

FIRST_PAUSE_SEC: Final = 30
LONGEST_PAUSE_SEC: Final = 3_600
KEPT: Final = timedelta(days=1)
"""What could not be sent for so long is old news; the console has it."""
MOST_NOTICES: Final = 50
"""Of one message; the rest is counted."""
# A task has 100 s; a channel that was begun last may still take ten.
BUDGET_SEC: Final = 40.0
"""For all channels of one round; the others wait for the next."""
# Much longer than a message takes, so that no second process sends it too.
CLAIM: Final = timedelta(minutes=2)
LONGEST_RESULT: Final = 200


class NoticeOptions(NamedTuple):
    """`sender` is the address that e-mails come from; "": there are none."""

    posting: PostOptions = PostOptions()
    sender: str = ""


def notice_options(options: Mapping[str, Any]) -> NoticeOptions:
    """Those of the settings."""
    return NoticeOptions(PostOptions(options["private_webhooks"]), options["mail_from"])


def queue(alert: Alert, what: str) -> None:
    """Have it told by every channel that is for such alerts. In the caller's transaction."""
    channels = AlertChannel.objects.filter(enabled=True, least__lte=severity(alert.kind))
    AlertNotice.objects.bulk_create(
        AlertNotice(channel=channel, alert=alert, what=what)
        for channel in channels
        if not channel.alert_kinds or alert.kind in channel.alert_kinds
    )


def deliver(options: NoticeOptions, now: datetime) -> int:
    """Send what waits and is due; how many channels were tried. Safe to run at once."""
    AlertNotice.objects.filter(created_at__lt=now - KEPT).delete()
    began, tried = time.monotonic(), 0

    def current_time() -> datetime:
        # A round may take longer than the shortest pause, which would be over before the next one.
        return now + timedelta(seconds=time.monotonic() - began)

    for pk in list(_due(now).values_list("pk", flat=True)):
        if time.monotonic() - began > BUDGET_SEC:
            break
        if (channel := _claim(pk, now)) is not None:
            tried += _deliver(channel, options, current_time)
    return tried


def _due(now: datetime) -> QuerySet[AlertChannel]:
    waiting = Exists(AlertNotice.objects.filter(channel=OuterRef("pk")))
    # What is further away than any pause is of a clock that was set back since.
    is_over = Q(retry_at=None) | Q(retry_at__lte=now) | Q(retry_at__gt=now + timedelta(seconds=2 * LONGEST_PAUSE_SEC))
    return AlertChannel.objects.filter(waiting, is_over, enabled=True)


def send_test(channel: AlertChannel, options: NoticeOptions, now: datetime) -> str:
    """Why a test message did not arrive, "" when it did; the channel has it as its last result."""
    with translation.override(channel.language):
        title = gettext("Lingma Gateway: a test of the alert channel %(name)s") % {"name": channel.name}
    found = _send(channel, Message(title, [], [{"event": "test"}]), options, now)
    AlertChannel.objects.filter(pk=channel.pk).update(last_tried_at=now, last_result=found)
    return found


def _claim(pk: int, now: datetime) -> AlertChannel | None:
    """The channel as it is now, for one process to send to; the claim of one that died lapses."""
    # Looked at once more: another process may have served or tried it since the list was made.
    is_free = Q(claimed_until=None) | Q(claimed_until__lt=now) | Q(claimed_until__gt=now + 2 * CLAIM)
    free = _due(now).filter(is_free, pk=pk)
    # Read behind the claim: its failures, and its address, may be others by now.
    return AlertChannel.objects.filter(pk=pk).first() if free.update(claimed_until=now + CLAIM) else None


def _deliver(channel: AlertChannel, options: NoticeOptions, current_time: Callable[[], datetime]) -> bool:
    """Whether there was something to send."""
    # What is queued from here on waits for the next round: below, only these are deleted.
    waiting = list(channel.notices.select_related("alert__key"))
    if not waiting:  # their alerts were deleted just now
        AlertChannel.objects.filter(pk=channel.pk).update(claimed_until=None)
        return False
    result = _send(channel, message_of(waiting, channel.language), options, current_time())
    tried = current_time()
    state: dict[str, Any] = {"last_tried_at": tried, "last_result": result, "claimed_until": None}
    if result:
        pause = growing(FIRST_PAUSE_SEC, channel.failures, LONGEST_PAUSE_SEC)
        # Bounded, as the pause is at its longest long before.
        state |= {"failures": min(channel.failures + 1, 20), "retry_at": tried + timedelta(seconds=pause)}
        log.warning("alert channel %s: %s", channel.name, result)
    else:
        state |= {"failures": 0, "retry_at": None}
        AlertNotice.objects.filter(pk__in=[each.pk for each in waiting]).delete()
    AlertChannel.objects.filter(pk=channel.pk).update(**state)
    return True


def _send(channel: AlertChannel, message: Message, options: NoticeOptions, now: datetime) -> str:
    """Why it did not arrive; "" when it did. Never with the address, which is a secret."""
    try:
        address = channel.address.read().decode()
        secret = channel.secret.read().decode() if channel.secret else ""
        if channel.kind == AlertChannel.Kind.EMAIL:
            return _mail(address, message, options)
        call = call_for(channel.kind, address, secret, message, now.timestamp())
        return failure(channel.kind, *post(call, options.posting))[:LONGEST_RESULT]
    except (PostFailed, SecretUnreadableError) as exc:
        return str(exc)[:LONGEST_RESULT]


def _mail(addresses: str, message: Message, options: NoticeOptions) -> str:
    if not options.sender:
        return "EMAIL_HOST is not set"
    to = [each.strip() for each in addresses.split(",") if each.strip()]
    subject = " ".join(message.title.split())  # a channel's name may have line breaks, and a header has none
    try:
        EmailMessage(subject, "\n".join(message.lines) or message.title, options.sender, to).send()
    except (OSError, SMTPException, ValueError) as exc:  # the last: an address that no header can have
        return f"{type(exc).__name__}: {exc}"[:LONGEST_RESULT]
    return ""


def message_of(notices: Sequence[AlertNotice], language: str) -> Message:
    """All of them as one, in the language of the channel."""
    with translation.override(language):
        title = ngettext("Lingma Gateway: %(count)d alert", "Lingma Gateway: %(count)d alerts", len(notices))
        lines = [_line(each) for each in notices[:MOST_NOTICES]]
        if len(notices) > MOST_NOTICES:
            lines.append(gettext("%(count)d more") % {"count": len(notices) - MOST_NOTICES})
        alerts = [_record(each) for each in notices[:MOST_NOTICES]]
        return Message(title % {"count": len(notices)}, lines, alerts)


def _line(notice: AlertNotice) -> str:
    alert = notice.alert
    text = f"{about(alert)}: {sentence(alert)}"
    if notice.what == AlertNotice.Occasion.ENDED and alert.ended_at:
        return gettext("Over since %(time)s: %(alert)s") % {"time": clock(alert.ended_at), "alert": about(alert)}
    return f"[{SEVERITIES[severity(alert.kind)]}] {text}"


def _record(notice: AlertNotice) -> dict[str, Any]:
    alert = notice.alert
    return {
        "event": notice.what, "id": alert.pk, "kind": alert.kind, "severity": severity(alert.kind).name.lower(),
        "subject": alert.subject, "key": alert.key.name if alert.key else None, "facts": alert.facts,
        "count": alert.count, "text": f"{about(alert)}: {sentence(alert)}", "began_at": _iso(alert.began_at),
        "ended_at": _iso(alert.ended_at),
    }  # fmt: skip


def _iso(at: datetime | None) -> str | None:
    return at.astimezone(timezone.get_default_timezone()).isoformat() if at else None
