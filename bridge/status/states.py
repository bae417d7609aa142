"""The one list of the states of an instance: pool, heartbeat, metric, log, table and pages take them from here."""

from __future__ import annotations

from enum import StrEnum

from gateway_project.lib.texts import gettext_noop


class InstanceState(StrEnum):
    """A state, and what pages and log say of it.

    BUSY is READY with every place taken. DEGRADED gets well by itself, as far as is known; FAILED runs, and needs
    somebody who can do more than log it in; GONE is seen from outside only: its heartbeat stopped.
    """

    label: str
    """For people, in English; pages show it translated, and filter by it."""
    past: str
    """What the page of a request says of an instance that did not take it, in English: it "was starting"."""
    badge: str
    """The colour of its label in the admin console."""
    takes_turns: bool
    """It can take a turn: now, or as soon as one there has ended."""
    is_up: bool
    """Its service runs and is connected, or is about to end in peace."""
    needs_attention: bool
    """Somebody should look at it: it does not get well by waiting for it."""
    advice: str
    """What to do about it, in English; "" where nobody should look at it. That of its account is more exact."""

    def __new__(
        cls, value: str, label: str = "", past: str = "", badge: str = "", flags: str = "", advice: str = ""
    ) -> InstanceState:
        """One line of the list: value, label, the same of the past, badge, what is true of it, and what to do."""
        # An own `__new__`, as StrEnum would take the further fields of a line for an encoding.
        self = str.__new__(cls, value)
        self._value_ = value
        self.label, self.past, self.badge, self.advice = label, past, badge, advice
        self.takes_turns, self.is_up, self.needs_attention = (
            each in flags.split() for each in ("turns", "up", "attention")
        )
        return self

    STARTING = "starting", gettext_noop("starting"), gettext_noop("was starting"), "info"
    READY = "ready", gettext_noop("ready"), gettext_noop("was ready"), "success", "up turns"
    BUSY = "busy", gettext_noop("busy"), gettext_noop("was busy"), "primary", "up turns"
    LOGIN_REQUIRED = (
        "login_required", gettext_noop("login required"), gettext_noop("was not logged in"), "danger", "up attention",
        gettext_noop("Log it in again."),
    )  # fmt: skip
    DEGRADED = (
        "degraded", gettext_noop("degraded"), gettext_noop("was degraded"), "warning", "up attention",
        gettext_noop("It tries again by itself. If this lasts, see the log of the instance."),
    )  # fmt: skip
    FAILED = (
        "failed", gettext_noop("failed"), gettext_noop("had failed, and needed somebody"), "danger", "up attention",
        gettext_noop("Mend what its last error says, then restart it."),
    )  # fmt: skip
    COOLING = "cooling", gettext_noop("cooling down"), gettext_noop("was cooling down"), "warning", "up"
    BACKOFF = (
        "backoff", gettext_noop("backing off"), gettext_noop("had failed, and waited to be started again"),
        "warning", "attention",
        gettext_noop("It is started again by itself. If this lasts, see the log of the instance."),
    )  # fmt: skip
    DRAINING = "draining", gettext_noop("draining"), gettext_noop("took no new turns"), "info", "up"
    STOPPED = "stopped", gettext_noop("stopped"), gettext_noop("was stopped"), ""
    GONE = (
        "gone", gettext_noop("gone"), gettext_noop("was gone"), "danger", "attention",
        gettext_noop("See whether its web process runs, and whether it reaches Redis."),
    )  # fmt: skip


OWN_STATES = tuple(each for each in InstanceState if each is not InstanceState.GONE)
"""Those an instance can be in by its own account."""
TAKING_TURNS = frozenset(each for each in InstanceState if each.takes_turns)
"""Those to ask for where an instance should be able to take a turn; plain strings are found in it too."""
