"""The project as a Django application, and the admin with the site of our console."""

from typing import ClassVar

from django.apps import AppConfig, apps
from django.conf import settings
from django.contrib import admin
from django.contrib.admin import apps as admin_apps
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _

from gateway_project.lib.processes import console  # before the models import the other
from gateway_project.lib.processes.absent import absent, late
from gateway_project.lib.redis import lean_redis  # noqa: F401  # before the models import the other


class ProjectConfig(AppConfig):
    name = "gateway_project"

    def ready(self) -> None:
        """Make our Celery application the one of every `shared_task`; have groups installed and changes recorded."""
        from accounts.audit import hooks
        from accounts.keys import playground
        from accounts.login import events
        from accounts.roles import groups
        from gateway_project import celery, error_reports  # noqa: F401

        if dsn := settings.ENV.sentry_dsn.get_secret_value():
            error_reports.start(dsn)
        hooks.install()
        events.connect()
        playground.connect()
        # At the end of a migration, as the tables do not exist before.
        post_migrate.connect(groups.install, sender=apps.get_app_config("accounts"), dispatch_uid="accounts.groups")


class ConsoleConfig(admin_apps.AdminConfig):
    """`admin.site` is ours. Pages for the models of others are put there once all apps have registered theirs."""

    TITLES: ClassVar = {  # as the sidebar names them
        "auth": _("Console"),
        "django_celery_beat": _("Schedules"),
    }
    NO_PAGES: ClassVar = ("account", "mfa", "socialaccount")
    """What allauth stores is for its own pages; operators need but a few of them."""
    default_site = "gateway_project.admin.site.GatewayAdminSite"

    def ready(self) -> None:
        """Find all pages, then replace those of others, whatever their place in INSTALLED_APPS."""
        if not console.served:
            return
        # A quarter of a start's imports, which these make for what we do not use: fields of PostgreSQL on SQLite, a
        # client for tests, colours of code.
        late("fido2.rpid", "verify_rp_id")  # a list of ten thousand domains
        late("rest_framework.test", "APIRequestFactory")  # and Django's and Python's own frameworks for tests
        with absent("psycopg", "requests", "pygments"):
            import rest_framework.compat  # noqa: F401
            import unfold.overrides  # noqa: F401

        super().ready()
        from gateway_project.admin import list_rows
        from gateway_project.admin.schedules import SCHEDULE_PAGES
        from gateway_project.admin.users import USER_PAGES

        list_rows.install()
        apps.get_model("django_celery_beat", "PeriodicTask")._meta.get_field("task").verbose_name = _("Task Name")
        for label, title in self.TITLES.items():
            apps.get_app_config(label).verbose_name = title
        for label in self.NO_PAGES:
            if apps.is_installed(f"allauth.{label}"):
                for model in apps.get_app_config(label).get_models():
                    if admin.site.is_registered(model):
                        admin.site.unregister(model)
        for model, page in (USER_PAGES | SCHEDULE_PAGES).items():
            admin.site.unregister(model)
            admin.site.register(model, page)
