"""What is known of one instance, as its heartbeat carries it through Redis."""

from __future__ import annotations

import msgspec

from bridge.status.accounts import AccountState
from bridge.status.smoke import SmokeReport
from bridge.status.states import InstanceState
from bridge.status.wanted import Maintenance, Mode


class InstanceStatus(msgspec.Struct, frozen=True):
    """One instance of one web process; times are Unix seconds."""

    name: str
    process: int
    pid: int
    generation: int
    """Grows with every start: a session belongs to one run of one instance."""
    state: InstanceState
    login: bool
    in_flight: int
    limit: int
    restarts: int
    last_error: str
    version: str
    upstream: str
    models: int
    started_at: float
    at: float
    model_names: dict[str, str] = {}
    """Keys and display names, these in lower case, to keys."""
    account: AccountState = AccountState.UNKNOWN
    login_expires_at: float = 0.0
    """0: not known."""
    mode: Mode = Mode.RUN
    """What operators want of it."""
    maintenance: Maintenance | None = None
    """The window that holds it; None: none is open."""
    cool_until: float = 0.0
    """Unix seconds; 0: there is no pause."""
    cools_for: str = ""
    """Why the gateway has left it alone: `limited` or `failed`; empty: it has not."""
    smoke: SmokeReport | None = None
    """None: no short chat was asked for since its web process began."""
    held_login: int = 0
    """Id of the login in its work dir; 0: none was put there."""
    login_generation: int = 0
    replacing: bool = False
    """A successor is started beside it."""
    not_replaced: bool = False
    """A successor is wanted and was of no use; the last error says why."""
    installed: str = ""
    """The version that was started, which should be the one it reports; "": not known."""
    memory: int | None = None
    disk: int | None = None
    """Bytes of its processes and of its work dir, half a minute old at most; None: not known."""
    stuck: int = 0
    """Turns of which nothing has come for STUCK_TURN_SEC."""
    is_named_twice: bool = False
    """Another gateway on the same Redis has an instance of its name."""
    node: str = ""
    """The machine of its web process; "": there is only one."""
    waiting: int = 0
    """Turns of the whole web process that wait for a place."""
