"""A copy of what heartbeats told of instances."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from bridge.status.accounts import AccountState
from bridge.status.smoke import Behaviour, SmokeReport
from bridge.status.states import InstanceState
from bridge.status.wanted import Maintenance


def states() -> list[tuple[str, Any]]:
    """A function, so that another state in the list needs no migration."""
    return [(each.value, _(each.label)) for each in InstanceState]


class Instance(models.Model):
    """
    One instance of the pool of one web process; `gone` when its heartbeat stopped.

    A copy of heartbeats, some ten seconds old, for the time when Redis is away: pools alone know and change instances,
    pages show `fleet.mirror.current`, and nothing may be built on these rows.
    """

    name = models.CharField(_("name"), max_length=100, primary_key=True)
    process = models.PositiveIntegerField(_("web process"))
    pid = models.PositiveIntegerField(_("process id"))
    generation = models.PositiveBigIntegerField(
        _("generation"), help_text=_("Grows with every start; sessions belong to one start.")
    )
    state = models.CharField(_("state"), max_length=16, choices=states)
    login = models.BooleanField(_("logged in"))
    account = models.CharField(
        _("account"), max_length=32, choices=[(each.value, _(each.label)) for each in AccountState],
        default=AccountState.UNKNOWN, db_default=AccountState.UNKNOWN,
    )  # fmt: skip
    login_expires_at = models.DateTimeField(_("login ends"), null=True)
    in_flight = models.PositiveIntegerField(_("turns in flight"))
    limit = models.PositiveIntegerField(_("turns at once"))
    restarts = models.PositiveIntegerField(_("restarts"))
    last_error = models.TextField(_("last error"), blank=True)
    version = models.CharField(_("version"), max_length=100, blank=True)
    upstream = models.CharField(_("upstream"), max_length=16, blank=True)
    models_offered = models.PositiveIntegerField(_("models"))
    behaviour = models.CharField(
        _("behaviour"), max_length=20, blank=True, default="", db_default="",
        choices=[(each.value, _(each.label)) for each in Behaviour if each],
    )  # fmt: skip
    behaves_in = models.CharField(_("behaviour seen in"), max_length=100, blank=True, default="", db_default="")
    """The version that was asked a short question when it showed that behaviour; or without one, the version that has
    left since, and that nobody asked.
    """
    started_at = models.DateTimeField(_("started"), null=True)
    seen_at = models.DateTimeField(_("last heartbeat"))

    waiting: int | None = None
    """Turns that wait for a place in its web process; heartbeats alone know it."""

    replacing: bool = False
    not_replaced: bool = False
    """A successor is started beside it; one is wanted, and does not work."""

    maintenance: Maintenance | None = None
    """The window that holds it."""

    cool_until: datetime | None = None
    cools_for: str = ""
    """When its pause ends, and why the gateway has made one; empty: operators have."""

    smoke: SmokeReport | None = None
    """How the last short chat went that was asked for."""

    held_login: int = 0
    login_generation: int = 0
    """The login it was given, and how new; 0: none, or not known."""

    memory: int | None = None
    disk: int | None = None
    stuck: int = 0
    """Bytes that it takes of its machine, and turns that stand still."""

    is_named_twice: bool = False
    """Another gateway on the same Redis has an instance of its name."""

    installed: str = ""
    """The version that was started, which should be the one it reports; empty: not known."""

    class Meta:
        verbose_name = _("instance")
        verbose_name_plural = _("instances")
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def web_process(self) -> tuple[int, str]:
        """The same for all instances of one process, of whatever machine."""
        return self.process, self.name.rpartition("-")[0]
