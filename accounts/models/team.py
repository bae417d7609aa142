"""Teams, which share keys and figures."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from gateway_project.lib.visible import visible


class Team(models.Model):
    name = models.CharField(max_length=100, unique=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return visible(self.name)
