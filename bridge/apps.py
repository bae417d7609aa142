"""The Django application."""

from django.apps import AppConfig


class BridgeConfig(AppConfig):
    """Where Django finds this room."""

    name = "bridge"
