"""What the pool and its instances are set to, and where an instance comes from."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bridge.lingma.connection import AskKind
from bridge.lingma.dialects.base import Dialect
from bridge.lingma.stream import TurnLimits
from gateway_project.lib.tool_approval import DENY, Approval


class InstanceSpec(msgspec.Struct, frozen=True):
    """Where an instance comes from, a command to start or an endpoint to attach to, and what it speaks."""

    upstream: str
    dialect: Dialect
    command: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    work_dir: Path | None = None
    attach: str = ""
    environment: dict[str, str] = {}
    """Variables of the program beside those every program gets."""
    version: str = ""
    """As it was installed; "": not known."""
    sha256: str = ""
    """What the executable must be at each start; "": anything."""
    shared: bool = False
    """Other web processes of this gateway ask the same service."""


class InstanceOptions(msgspec.Struct, frozen=True):
    """What all instances of a pool share. Times in seconds."""

    node: str = ""
    """The machine, where several are one gateway: the first part of the names of instances."""
    limit: int = 8
    start_timeout: float = 15.0
    rpc_timeout: float = 60.0
    ask_kind: AskKind = "notification"
    dedicated_domain: str = ""
    models_refresh: float = 300.0
    drain: float = 20.0
    """As long turns may go on when operators end a run."""
    retire: float = 300.0
    """As long turns may go on where a successor has taken over."""
    smoke_sec: float = 30.0
    """As long its chat may take."""
    smoke_model: str = ""
    """Which model a successor is asked before it takes over; empty: none is asked."""
    longest_pause: float = 60.0
    """As long, at most, nothing is asked of an instance that refuses or fails turns; 0: it is asked all the same."""
    stuck: float = 60.0
    """A turn of which nothing has come for so long stands still, as far as operators are told."""
    orders_within: float = 0.0
    """So long a start waits until it is known what operators want."""
    turn: TurnLimits = TurnLimits()
    approval: Approval = DENY
    """Which tools of its own the service may run."""


class PoolOptions(msgspec.Struct, frozen=True):
    """Admission: turns at once, turns that may wait, and how long (seconds)."""

    max_in_flight: int = 8
    max_queue: int = 256
    queue_timeout: float = 30.0
    retry_unknown: float = 30.0
    """When a refused client is to come back where nobody knows when an instance will be."""
    places_each: int = 0
    """So many turns at once each instance brings along; 0: `max_in_flight` are shared out among them."""
