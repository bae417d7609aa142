"""The Celery application: `celery -A gateway_project worker` and `… beat`. Tasks live in each app's `tasks`."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")

app = Celery("gateway_project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def leave_logging_alone(**_: Any) -> None:
    """Somebody who listens keeps Celery from configuring logging: Django's settings have done it."""


@worker_ready.connect
def export_migrations(**_: Any) -> None:
    """Count the migrations for Prometheus: here, where no request waits for the database."""
    from django_prometheus.migrations import ExportMigrations

    ExportMigrations()
