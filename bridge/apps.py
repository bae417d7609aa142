"""The Django application."""

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import register
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class BridgeConfig(AppConfig):
    name = "bridge"
    verbose_name = _("Service")

    def ready(self) -> None:
        """Register the system checks; have periodic tasks installed, and missing sums made, with the tables."""
        # Imported here, as models cannot be loaded before all apps are.
        from accounts.alerts import words
        from accounts.apps import accounts_config
        from accounts.ledger import hours
        from bridge import schedules
        from bridge.alerts.checks import KINDS
        from bridge.checks import CHECKS
        from bridge.fleet import mirror
        from bridge.fleet.changes import changes
        from bridge.routing.explain import names_of, offered_names, unknown_names
        from bridge.status.states import InstanceState

        words.KINDS.update(KINDS)
        for check, tags in CHECKS:
            register(check, *tags)
        # Handed over, not imported: accounts must not depend on the bridge.
        accounts_config().offered_models = lambda: offered_names(settings.REDIS_URL)
        accounts_config().unknown_models = lambda names: unknown_names(names, offered_names(settings.REDIS_URL))
        accounts_config().names_of = lambda name: names_of(
            name, settings.ENV.default_model, offered_names(settings.REDIS_URL)
        )
        accounts_config().places = mirror.places
        accounts_config().states = {each.value: each.past for each in InstanceState}
        accounts_config().ledger_is_wrong = _ledger_is_wrong
        accounts_config().changes = lambda *around: changes(settings.REDIS_URL, *around)
        # At the end of a migration, as the tables do not exist before; the uid keeps a second `ready` from a second
        # run.
        post_migrate.connect(schedules.install, sender=self, dispatch_uid="bridge.schedules")
        post_migrate.connect(hours.after_migrate, sender=self, dispatch_uid="accounts.hours")


def _ledger_is_wrong() -> bool:
    from bridge.fleet import modes  # for pages alone

    return any(each.name == "ledger" for each in modes.active())
