"""A copy of what heartbeats told of instances."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from bridge.status.states import InstanceState


class Instance(models.Model):
    """
    One instance of the pool of one web process; `gone` when its heartbeat stopped.

    A copy of heartbeats, some ten seconds old, for the time when Redis is away: pools alone know and change instances,
    pages show `fleet.mirror.current`, and nothing may be built on these rows.
    """

    name = models.CharField(max_length=100, primary_key=True)
    process = models.PositiveIntegerField("web process")
    pid = models.PositiveIntegerField("process id")
    generation = models.PositiveBigIntegerField(help_text="Grows with every start; sessions belong to one start.")
    state = models.CharField(max_length=16, choices=[(each.value, each.label) for each in InstanceState])
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
