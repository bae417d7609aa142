"""The Django application."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class BridgeConfig(AppConfig):
    """Where Django finds this room."""

    name = "bridge"
    verbose_name = "Gateway"

    def ready(self) -> None:
        """Have the periodic tasks installed with the tables."""
        from bridge import schedules

        post_migrate.connect(schedules.install, sender=self, dispatch_uid="bridge.schedules")
