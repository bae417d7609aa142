"""The Django application."""

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import register
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class BridgeConfig(AppConfig):
    """Where Django finds this room."""

    name = "bridge"
    verbose_name = _("Service")

    def ready(self) -> None:
        """Register the system checks; have the periodic tasks installed with the tables."""
        from accounts.apps import accounts_config
        from bridge import schedules
        from bridge.checks import CHECKS
        from bridge.routing.explain import offered_names, unknown_names

        for check, tags in CHECKS:
            register(check, *tags)
        accounts_config().offered = lambda: offered_names(settings.REDIS_URL)
        accounts_config().unknown = lambda names: unknown_names(names, offered_names(settings.REDIS_URL))
        post_migrate.connect(schedules.install, sender=self, dispatch_uid="bridge.schedules")
