"""What goes wrong in a turn on request. Faults of the process as a whole are its options."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import msgspec

from bridge.simulator.protocol.frames import frame
from bridge.simulator.protocol.framing import framed
from bridge.simulator.state.service_state import ServiceState
from bridge.simulator.state.turn import Turn

READING_TIME = 0.02  # a reset can overtake text that the client has not read yet


class Outcome(NamedTuple):
    """What is left of a turn: it goes on, or ends with this code and reason, or without a word."""

    goes_on: bool
    ending: tuple[int, str] | None = None


def strike(state: ServiceState, turn: Turn) -> Generator[float, None, Outcome]:
    """All faults that are due after the first chunks."""
    faults, options = turn.script.faults, turn.options
    if faults & {"drop", "crash"}:
        yield READING_TIME
    # In the order of the table: `drop` and `crash` stand last, behind what is to be sent before them.
    for fault, act in IMMEDIATE.items():
        if fault in faults:
            act(state, turn)
    if "silence" in faults:
        yield options.silence_ms / 1000
    for fault, (code, reason) in FINISHING.items():
        if fault in faults:
            ending = (options.finish if options.finish != 200 else code, options.reason or reason)
            return Outcome(goes_on=False, ending=ending)
    return Outcome(goes_on="no_finish" not in faults)


def strike_after(turn: Turn) -> None:
    """Send what is to come after the end of a turn."""
    if "double_finish" in turn.script.faults:
        turn.pushes.finish(turn.options.finish, turn.options.reason)
    if "late_answer" in turn.script.faults:
        turn.pushes.delta("late")
    turn.pushes.flush()


def _crash(state: ServiceState, turn: Turn) -> None:
    """F21: what was sent so far is out, then the process is gone."""
    # Else the chunks of this pass would be lost in the queue, and the fault would look like one before the text.
    turn.pushes.peer.outlet.flush()
    os._exit(state.context.controls.service.exit_code)


def _foreign_finish(state: ServiceState, turn: Turn) -> None:
    turn.pushes.finish(200, request_id=state.context.ids.uuid())


def _unknown_push(state: ServiceState, turn: Turn) -> None:
    turn.pushes.push("chat/somethingNew", {"content": "a newer version says this"})


def _logout(state: ServiceState, turn: Turn) -> None:
    state.login.log_out()


def _token_refresh(state: ServiceState, turn: Turn) -> None:
    state.login.renew_tokens()


def _oversize(state: ServiceState, turn: Turn) -> None:
    turn.pushes.delta("x" * turn.options.oversize)


def _bad_json(state: ServiceState, turn: Turn) -> None:
    # The length is right and the JSON is not: the next message must still be read.
    body = b'{"jsonrpc":"2.0","id":999999,"method":"chat/answer","params":{"requestId":'
    turn.pushes.peer.outlet.send(_on_the_wire(turn, framed(body)))


def _wrong_length(state: ServiceState, turn: Turn) -> None:
    body = b'{"jsonrpc":"2.0","id":999999,"method":"chat/answer","params":{}}'
    turn.pushes.peer.outlet.send(_on_the_wire(turn, b"Content-Length: %d\r\n\r\n%b" % (len(body) - 7, body)))


def _on_the_wire(turn: Turn, message: bytes) -> bytes:
    # Around the framing of the turn, which would merge or cut the broken message.
    return frame(message) if turn.pushes.peer.websocket else message


def _models_change(state: ServiceState, turn: Turn) -> None:
    state.models.change("org_auto:Auto,brand_new_model:Brand-New")


def _orphan_tool_event(state: ServiceState, turn: Turn) -> None:
    event: dict[str, Any] = {
        "sessionId": turn.session.session_id, "requestId": turn.ask.request_id, "projectPath": "/workspace",
        "toolCallId": "call-orphan", "toolCallStatus": "RUNNING", "parameters": {"path": "."}, "results": [],
        "errorCode": "", "errorMsg": "",
    }  # fmt: skip
    turn.pushes.push_raw("tool/call/sync", msgspec.json.encode(event))
    # The second event has the call's id only.
    del event["requestId"]
    event["toolCallStatus"] = "FINISHED"
    event["results"] = [{"content": "found by its id"}]
    turn.pushes.push_raw("tool/call/sync", msgspec.json.encode(event))


def _rewrite_user(state: ServiceState, turn: Turn) -> None:
    state.login.account.save()


def _drop(state: ServiceState, turn: Turn) -> None:
    turn.pushes.peer.outlet.drop()


IMMEDIATE: dict[str, Callable[[ServiceState, Turn], None]] = {
    "foreign_finish": _foreign_finish, "unknown_push": _unknown_push, "token_refresh": _token_refresh,
    "oversize": _oversize, "bad_json": _bad_json, "wrong_length": _wrong_length, "models_change": _models_change,
    "orphan_tool_event": _orphan_tool_event, "rewrite_user": _rewrite_user, "logout": _logout, "drop": _drop,
    "crash": _crash,
}  # fmt: skip
FINISHING = {
    "blocked": (406, ""),
    "logout": (401, ""),
    "finish_code": (500, ""),
}
