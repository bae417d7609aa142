"""What the receiver of a channel may be: one check for the console and the API."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext

from accounts.alerts.post import PORTS
from accounts.models import AlertChannel
from gateway_project.lib.secrets.secrets_at_rest import Secret
from gateway_project.lib.web_url import BadUrl, parse


def check_kind(kind: str | None, mail_from: str) -> None:
    """Raise ValidationError for a kind that nothing can be sent by. `mail_from` is "" where there is no e-mail."""
    if kind == AlertChannel.Kind.EMAIL and not mail_from:
        raise ValidationError(gettext("There is no e-mail while EMAIL_HOST is not set."))


def check_address(kind: str | None, address: str) -> None:
    """Raise ValidationError for what is no address of this kind."""
    if kind == AlertChannel.Kind.EMAIL:
        for each in address.split(","):
            validate_email(each.strip())
        return
    try:
        parse(address, PORTS)
    except BadUrl:
        raise ValidationError(gettext("This is no http(s) URL.")) from None


def renew(channel: AlertChannel, address: str, secret: str | None) -> None:
    """Take what was given; "" leaves the address, None the secret, and an empty secret is none. Saves nothing.

    Whatever kept messages from arriving may be mended, so the pause is over.
    """
    if address:
        channel.address = Secret.of(address.encode())
    if secret is not None:
        channel.secret = Secret.of(secret.encode()) if secret else None
    channel.failures, channel.retry_at = 0, None


def needs_address(channel: AlertChannel | None, kind: Any) -> bool:
    """A new channel does, and one that becomes another kind: one kind's address is none of another's."""
    return channel is None or not channel.pk or channel.kind != kind
