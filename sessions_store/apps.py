"""The Django application."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class SessionsStoreConfig(AppConfig):
    name = "sessions_store"
    verbose_name = _("Service")
