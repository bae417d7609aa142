"""The Django application."""

from django.apps import AppConfig


class SessionsStoreConfig(AppConfig):
    """Where Django finds this room."""

    name = "sessions_store"
    verbose_name = "Service"
