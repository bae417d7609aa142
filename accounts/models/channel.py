"""Where alerts are told besides the console, and what waits to be told there."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models.alert import Alert
from gateway_project.lib.secrets.secrets_at_rest import SecretField

RESULTS = ("failures", "retry_at", "claimed_until", "last_tried_at", "last_result")
"""Columns that the gateway keeps up by itself."""


class AlertChannel(models.Model):
    """One receiver. Its address holds a credential with most kinds, so it is encrypted like the secret."""

    class Kind(models.TextChoices):
        WEBHOOK = "webhook", _("webhook")
        DINGTALK = "dingtalk", _("DingTalk")
        FEISHU = "feishu", _("Feishu")
        WECOM = "wecom", _("WeCom")
        EMAIL = "email", _("e-mail")

    # Numbers, so that an alert is told where its own severity is at least this one.
    class Least(models.IntegerChoices):
        INFO = 0, _("info")
        WARNING = 1, _("warning")
        CRITICAL = 2, _("critical")

    class Language(models.TextChoices):
        ENGLISH = "en", _("English")
        CHINESE = "zh-hans", _("Simplified Chinese")

    name = models.CharField(_("name"), max_length=100, unique=True)
    kind = models.CharField(_("kind"), max_length=16, choices=Kind.choices, default=Kind.WEBHOOK)
    address = SecretField(_("address"), editable=False)
    secret = SecretField(_("secret"), null=True, blank=True, editable=False)
    least = models.PositiveSmallIntegerField(_("least severity"), choices=Least.choices, default=Least.WARNING)
    alert_kinds = models.JSONField(_("alerts"), default=list, blank=True)
    """Kinds of alerts; none: all."""
    language = models.CharField(_("language"), max_length=16, choices=Language.choices, default=Language.ENGLISH)
    enabled = models.BooleanField(_("enabled"), default=True)
    failures = models.PositiveIntegerField(_("failures in a row"), default=0, editable=False)
    retry_at = models.DateTimeField(_("next try"), null=True, editable=False)
    # Of several processes one sends at a time: it writes here how long, so that its death frees the channel by itself.
    claimed_until = models.DateTimeField(_("being tried until"), null=True, editable=False)
    last_tried_at = models.DateTimeField(_("last try"), null=True, editable=False)
    last_result = models.CharField(_("last result"), max_length=200, blank=True, editable=False)
    """"" with `last_tried_at`: it arrived."""

    class Meta:
        verbose_name = _("alert channel")
        verbose_name_plural = _("alert channels")
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class AlertNotice(models.Model):
    """What one channel is still to tell of one alert. It goes when it has arrived, or is a day old."""

    class Occasion(models.TextChoices):
        HAPPENED = "happened", _("happened")
        BEGAN = "began", _("began")
        ENDED = "ended", _("ended")

    channel = models.ForeignKey(AlertChannel, models.CASCADE, related_name="notices", verbose_name=_("alert channel"))
    alert = models.ForeignKey(Alert, models.CASCADE, related_name="notices", verbose_name=_("alert"))
    what = models.CharField(_("what"), max_length=16, choices=Occasion.choices)
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    class Meta:
        verbose_name = _("notice")
        verbose_name_plural = _("notices")
        default_permissions = ()
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"{self.alert} {self.what}"
