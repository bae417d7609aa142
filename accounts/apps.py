"""The Django application."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Where Django finds this room."""

    name = "accounts"
