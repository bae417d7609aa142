"""The Django application."""

from django.apps import AppConfig
from django.core.checks import register
from django.db.models.signals import post_migrate


class BridgeConfig(AppConfig):
    """Where Django finds this room."""

    name = "bridge"
    verbose_name = "Service"

    def ready(self) -> None:
        """Register the system checks; have the periodic tasks installed with the tables."""
        from bridge import schedules
        from bridge.checks import CHECKS

        for check, tags in CHECKS:
            register(check, *tags)
        post_migrate.connect(schedules.install, sender=self, dispatch_uid="bridge.schedules")
