"""Whether another service is to take the place of an instance's, and what has become of that."""

from __future__ import annotations

from bridge.pool.instances.lifecycle import Lifecycle
from bridge.pool.logins.logins import InstanceLogin


class Succession:
    """Of one instance, whose life and login say what is wanted."""

    def __init__(self, life: Lifecycle, login: InstanceLogin) -> None:
        self.is_under_way = False
        """A successor is started beside it."""
        self.failure = ""
        """Why a successor that is wanted is not there."""
        self.is_over = False
        """Nobody takes its place: it is taken away when its turns have ended."""
        self._life = life
        self._login = login

    @property
    def is_possible(self) -> bool:
        """Another service can be started beside this one, to take its place."""
        orders = self._life.orders
        return self._life.current.is_connected and not orders.is_stopped and not orders.ends_to_restart

    @property
    def is_wanted(self) -> bool:
        """By an order, or for another login."""
        return self.is_for_restart or self._login.must_restart()

    @property
    def is_for_restart(self) -> bool:
        """Operators want the run under way to be followed by another."""
        return self._life.orders.is_asked_to_restart

    @property
    def is_awaited(self) -> bool:
        """One is wanted and not tried yet, or is on its way."""
        return self.is_possible and self.is_wanted and not self.failure
