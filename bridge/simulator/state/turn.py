"""One turn, from `chat/ask` to its end: what it was asked, what has been pushed, where it stands."""

from __future__ import annotations

from typing import Any

import msgspec

from bridge.simulator.options.turn_options import TurnOptions
from bridge.simulator.process.timer_wheel import Job
from bridge.simulator.state.ask import Ask
from bridge.simulator.state.pushes import Pushes
from bridge.simulator.state.sessions import Session


class Script(msgspec.Struct):
    """How the turn is to go. The prompt is without markers; `unplanned` is what stands after the plan, or all of it."""

    options: TurnOptions
    faults: frozenset[str]
    prompt: str
    unplanned: str


class ToolCall(msgspec.Struct):
    """What the client has sent about one call so far, in whatever order."""

    call_id: str
    name: str
    approved: bool | None = None
    outcome: dict[str, Any] | None = None
    announced: bool = False
    """A push has named it together with the turn."""


class Turn:
    """It lives from `chat/ask` to its end, whether or not its client stays."""

    # Set by `course.begin`, since a job needs the turn and the turn its job.
    job: Job

    def __init__(
        self,
        ask: Ask,
        script: Script,
        session: Session,
        pushes: Pushes,
        *,
        model: str,
        new_session: bool,
        started_ms: int,
    ) -> None:
        self.ask, self.script, self.session, self.pushes, self.model = ask, script, session, pushes, model
        self.new_session = new_session
        self.started_ms = started_ms
        self.thought: list[str] = []
        self.tool_calls: list[ToolCall] = []
        self.over = False

    @property
    def options(self) -> TurnOptions:
        """The options of the script, which a plan may still replace."""
        return self.script.options
