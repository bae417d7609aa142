"""What the admin console lists of instances, as their heartbeats told it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Instance(models.Model):
    """One instance of the pool of one web process; `gone` when its heartbeat stopped."""

    class State(models.TextChoices):
        """The states of the pool, and one that only who looks from outside can see."""

        STARTING = "starting", "starting"
        READY = "ready", "ready"
        LOGIN_REQUIRED = "login_required", "login required"
        BACKOFF = "backoff", "backing off"
        DRAINING = "draining", "draining"
        STOPPED = "stopped", "stopped"
        GONE = "gone", "gone"

    name = models.CharField(max_length=100, primary_key=True)
    process = models.PositiveIntegerField("web process")
    pid = models.PositiveIntegerField("process id")
    generation = models.PositiveBigIntegerField(help_text="Grows with every start; sessions belong to one start.")
    state = models.CharField(max_length=16, choices=State)
    login = models.BooleanField("logged in")
    in_flight = models.PositiveIntegerField("turns in flight")
    limit = models.PositiveIntegerField("turns at once")
    restarts = models.PositiveIntegerField()
    last_error = models.TextField(blank=True)
    version = models.CharField(max_length=100, blank=True)
    upstream = models.CharField(max_length=16, blank=True)
    models_offered = models.PositiveIntegerField("models")
    started_at = models.DateTimeField("started", null=True)
    seen_at = models.DateTimeField("last heartbeat")

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name
