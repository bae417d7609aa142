"""The Django application."""

from collections.abc import Callable, Iterable
from typing import cast

from django.apps import AppConfig, apps
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    """Where Django finds this app, and what it asks of those who know models."""

    name = "accounts"
    verbose_name = _("Access")
    offered: Callable[[], Iterable[str]] = staticmethod(tuple)
    """The names of the models that can be had now. Whoever knows models puts it here."""
    unknown: Callable[[Iterable[str]], list[str]] = staticmethod(lambda names: [])
    """Those of the names and patterns that mean no model; likewise."""


def accounts_config() -> AccountsConfig:
    """The configuration of this app. Only after Django is set up."""
    return cast("AccountsConfig", apps.get_app_config("accounts"))
