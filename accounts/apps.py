"""The Django application."""

from django.apps import AppConfig
from django.conf import settings


class AccountsConfig(AppConfig):
    """Where Django finds this room, and what the room takes from the settings."""

    name = "accounts"
    verbose_name = "Access"
    redis_url: str
    pepper: bytes

    def ready(self) -> None:
        """Read the settings once."""
        self.redis_url = settings.REDIS_URL
        self.pepper = settings.KEY_PEPPER
