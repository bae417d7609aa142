"""What the live page is made of: the report of each web process, and the gateway as all of them describe it."""

from __future__ import annotations

import msgspec

MOST_TURNS = 50
"""Turns in the report of a process: those that have run for longest."""
MOST_SHOWN = 100
"""Turns, keys that wait, and logins on the page."""


class LiveTurn(msgspec.Struct, frozen=True):
    """A turn that runs or waits; what was said in it is nowhere here."""

    id: str
    key: int
    key_name: str
    model: str
    client: str
    started_at: float
    """Unix seconds, as all times here."""
    instance: str = ""
    """"": it waits for a place."""
    first_token_ms: int | None = None


class LiveKey(msgspec.Struct, frozen=True):
    """A key whose turns wait for a place: how many, and since when the first of them."""

    key: int
    key_name: str
    waiting: int
    since: float


class LiveRates(msgspec.Struct, frozen=True):
    """Turns that ended within the last minute: all, those that failed, tokens of their replies, mean first token."""

    turns: int = 0
    failed: int = 0
    tokens: int = 0
    first_token_ms: int | None = None
    begun: int = 0
    """Turns that had a first token; 0 in the report of an earlier version, too."""


class LiveInstance(msgspec.Struct, frozen=True):
    name: str
    process: int
    state: str
    account: str
    in_flight: int
    limit: int
    restarts: int
    version: str
    started_at: float
    """0: not known, here and below."""
    login_expires_at: float
    cool_until: float
    cools_for: str
    last_error: str
    replacing: bool
    held: bool
    """Operators do not want it to take turns, or a maintenance window is open."""
    window: str = ""
    window_until: float = 0.0
    """The window that holds it; "": none."""
    memory: int = 0
    disk: int = 0
    """Bytes of its service and of its work dir; 0: not known."""


class LiveReport(msgspec.Struct, frozen=True):
    """One web process, at one moment."""

    name: str
    """Among all of the gateway."""
    process: int
    at: float
    instances: list[LiveInstance]
    in_flight: int
    waiting: int
    pid: int = 0
    started_at: float = 0.0
    memory: int = 0
    backlog: int = 0
    """Usage rows, and beginnings of turns, of the whole gateway that are not in the database yet."""
    rates: LiveRates | None = None
    """None: made of heartbeats, which tell neither this nor turns."""
    turns: list[LiveTurn] = []
    queue: list[LiveKey] = []


class LiveProcess(msgspec.Struct, frozen=True):
    """One web process as a line of the page."""

    name: str
    in_flight: int
    waiting: int
    pid: int
    started_at: float
    memory: int
    reports: bool
    """False: only heartbeats tell of it, and neither of turns nor of memory."""


class LiveMode(msgspec.Struct, frozen=True):
    """A part that is away."""

    name: str
    why: str
    since: float


class LiveLogin(msgspec.Struct, frozen=True):
    """A login, and the attempt that makes it anew, should one run."""

    id: int
    label: str
    account: str
    expires_at: float
    generation: int
    problem: str
    attempt: str


class LiveView(msgspec.Struct, frozen=True):
    """The gateway at one moment."""

    at: float
    modes: list[LiveMode]
    in_flight: int
    places: int
    waiting: int
    backlog: int
    rates: LiveRates | None
    """None while no process has reported it."""
    held: bool
    """Every instance is held."""
    processes: list[LiveProcess]
    instances: list[LiveInstance]
    turns: list[LiveTurn] = []
    queue: list[LiveKey] = []
    logins: list[LiveLogin] = []
