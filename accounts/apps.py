"""The Django application."""

from collections.abc import Callable, Iterable
from typing import cast

from django.apps import AppConfig, apps
from django.conf import settings


class AccountsConfig(AppConfig):
    """Where Django finds this room, and what the room takes from the settings."""

    name = "accounts"
    verbose_name = "Access"
    redis_url: str
    pepper: bytes
    offered: Callable[[], Iterable[str]] = staticmethod(tuple)
    """The names of the models that can be had now. Whoever knows models puts it here."""
    unknown: Callable[[Iterable[str]], list[str]] = staticmethod(lambda names: [])
    """Those of the names and patterns that mean no model; likewise."""

    def ready(self) -> None:
        """Read the settings once."""
        self.redis_url = settings.REDIS_URL
        self.pepper = settings.KEY_PEPPER


def accounts_config() -> AccountsConfig:
    """Give the application of this room, once Django is set up."""
    return cast("AccountsConfig", apps.get_app_config("accounts"))
