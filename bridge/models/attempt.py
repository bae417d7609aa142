"""Attempts to log in to Lingma: at most one of a login at a time, and the last ones as its history."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Final

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from bridge.models.login import Login
from bridge.status.attempts import SERVICE, WAYS, AttemptReason, AttemptResult, AttemptState
from gateway_project.lib.secrets.secrets_at_rest import SecretField

KEPT: Final = 50
"""Attempts of a login that are remembered."""
ONE_FAILURE: Final = timedelta(hours=1)


class LoginAttempt(models.Model):
    """One attempt. Who begins it writes the row; who claims it runs it, and is the only one that changes it then."""

    login = models.ForeignKey(Login, models.CASCADE, related_name="attempts", verbose_name=_("login"))
    way = models.CharField(
        _("way"), max_length=16,
        choices=[*((each.value, _(each.label)) for each in WAYS), (SERVICE, _("Lingma itself"))],
    )  # fmt: skip
    reason = models.CharField(_("why"), max_length=16, choices=[(each.value, _(each.label)) for each in AttemptReason])
    who = models.CharField(_("who"), max_length=150, blank=True)
    state = models.CharField(
        _("state"), max_length=16, choices=[(each.value, _(each.label)) for each in AttemptState],
        default=AttemptState.WAITING,
    )  # fmt: skip
    generation = models.PositiveBigIntegerField(
        _("generation"), help_text=_("What was stored when it began; nothing newer is overwritten.")
    )
    begun_at = models.DateTimeField(_("begun"), default=timezone.now)
    seen_at = models.DateTimeField(_("last sign of life"), null=True, blank=True)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    result = models.CharField(_("result"), max_length=16, blank=True)
    """An `AttemptResult`."""
    detail = models.CharField(_("detail"), max_length=300, blank=True)
    """In the words of whoever said it, so in no particular language."""
    url = models.TextField(_("address to log in at"), blank=True)
    """While a person is needed."""
    pasted = SecretField(_("what was pasted"), null=True, blank=True, editable=False)
    """Until it is used: the address at which a login in a browser ended, or the tokens of a device."""
    screenshot = SecretField(_("picture of the page"), null=True, blank=True, editable=False)
    """A PNG."""

    class Meta:
        verbose_name = _("attempt to log in")
        verbose_name_plural = _("attempts to log in")
        ordering: ClassVar = ["-pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["login"], condition=models.Q(ended_at=None), name="bridge_one_attempt_of_a_login"
            )
        ]

    def __str__(self) -> str:
        return f"{self.login}, {timezone.localtime(self.begun_at):%Y-%m-%d %H:%M}"

    @property
    def took(self) -> timedelta:
        return (self.ended_at or timezone.now()) - self.begun_at

    @classmethod
    def note_renewal(cls, login: int, generation: int, result: AttemptResult) -> None:
        """Put into the history what a service has come to by itself. The same failure within an hour is one."""
        now, last = timezone.now(), cls.objects.filter(login=login, ended_at__gt=timezone.now() - ONE_FAILURE).first()
        is_good = result is AttemptResult.RENEWED
        if not is_good and last is not None and (last.way, last.result) == (SERVICE, result):
            cls.objects.filter(pk=last.pk).update(ended_at=now)
            return
        cls.objects.create(
            login_id=login, way=SERVICE, reason=AttemptReason.SCHEDULE, result=result,
            state=AttemptState.DONE if is_good else AttemptState.FAILED,
            generation=generation, begun_at=now, seen_at=now, ended_at=now,
        )  # fmt: skip
        cls.prune(login)

    @classmethod
    def prune(cls, login: int) -> None:
        """Forget all but the last ones."""
        rows = cls.objects.filter(login=login)
        if oldest := list(rows.values_list("pk", flat=True)[KEPT - 1 : KEPT]):
            rows.filter(pk__lt=oldest[0]).exclude(ended_at=None).delete()
