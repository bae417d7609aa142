"""What ties the rooms together: environment, settings, routes, processes."""

from gateway_project.celery import app as celery_app

__all__ = ["celery_app"]
