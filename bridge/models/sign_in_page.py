"""What operators say of the login page, which is somebody else's and may change at any time."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

LONGEST: Final = 4000
SELECTORS: Final = ("user_fields", "password_fields", "buttons", "links", "errors", "captchas", "codes")
HOST: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")


def _lines(name: Any) -> models.TextField[str, str]:
    return models.TextField(name, blank=True, max_length=LONGEST)


class SignInPage(models.Model):
    """One row. Each column has a value a line; an empty one is as shipped."""

    user_fields = _lines(_("user name"))
    password_fields = _lines(_("password"))
    buttons = _lines(_("button that sends them"))
    links = _lines(_("links that lead to the form"))
    errors = _lines(_("messages that they are wrong"))
    captchas = _lines(_("captchas"))
    codes = _lines(_("second factors"))
    hosts = _lines(_("hosts"))

    class Meta:
        verbose_name = _("login page")
        verbose_name_plural = _("login page")
        default_permissions = ("change", "view")

    def __str__(self) -> str:
        return gettext("login page")

    ONLY: ClassVar = 1
    """Its primary key."""

    def clean(self) -> None:
        wrong = [each for each in self.hosts.split() if not HOST.fullmatch(each)]
        if wrong:
            raise ValidationError({"hosts": gettext("%(host)s is no name of a host.") % {"host": wrong[0][:100]}})

    @classmethod
    def changes(cls) -> dict[str, tuple[str, ...]]:
        """Columns that are not empty, by name."""
        row = cls.objects.filter(pk=cls.ONLY).values(*SELECTORS, "hosts").first() or {}
        found = {name: tuple(line.strip() for line in text.splitlines() if line.strip()) for name, text in row.items()}
        return {name: lines for name, lines in found.items() if lines}
