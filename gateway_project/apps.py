"""The project itself as a Django application."""

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    """Where Django finds the project."""

    name = "gateway_project"

    def ready(self) -> None:
        """Make our Celery application the one that every `shared_task` belongs to."""
        from gateway_project import celery  # noqa: F401
