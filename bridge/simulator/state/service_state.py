"""All that the service knows, in one place for methods and turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from bridge.simulator.process.context import Context
from bridge.simulator.protocol.clients import Clients
from bridge.simulator.state.login import Login
from bridge.simulator.state.models_offered import ModelsOffered
from bridge.simulator.state.running_turns import RunningTurns
from bridge.simulator.state.sessions import Sessions


class ServiceState:
    """`http_port` is known when the service listens; `images` are the addresses given to uploaded ones."""

    def __init__(self, context: Context, clients: Clients, stop: Callable[[], None]) -> None:
        options = context.controls.service
        self.context, self.clients, self.stop = context, clients, stop
        self.login = Login(context, clients)
        self.models = ModelsOffered(options.models, clients)
        self.sessions = Sessions(context.root / "cache/db/sessions.json" if options.persist else None)
        self.turns = RunningTurns()
        self.images: set[str] = set()
        self.http_port = 0

    def report(self) -> dict[str, Any]:
        """The result of `simulator/report`, a method of the simulator's own."""
        pending = sum(len(peer.pending) for peer in self.clients.peers)
        running = len(self.turns.by_request)
        return {**msgspec.to_builtins(self.context.counts), "running": running, "pending": pending}
