"""What goes wrong in a turn on request. Faults of the process as a whole are knobs of the service."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from .frames import frame
from .framing import framed
from .knobs import KnobError, TurnKnobs
from .wheel import Steps

if TYPE_CHECKING:
    from collections.abc import Generator

    from .turn import Turn

NAMES = {
    "F1": "drop", "F2": "no_finish", "F3": "finish_code", "F4": "foreign_finish", "F5": "unknown_push",
    "F6": "slow_first", "F7": "silence", "F8": "cut_long", "F9": "blocked", "F10": "logout", "F11": "token_refresh",
    "F12": "double_finish", "F13": "late_answer", "F14": "doubled_frames", "F15": "oversize", "F16": "bad_json",
    "F17": "wrong_length", "F18": "initialize_silent", "F19": "models_empty", "F20": "interleave", "F21": "crash",
    "F22": "ignore_sigint", "F23": "info_port", "F24": "info_stale", "F25": "models_change", "F26": "parallel_limit",
    "F27": "orphan_tool_event", "F28": "rewrite_user", "F29": "version", "F30": "ask_error",
}  # fmt: skip
READING_TIME = 0.02  # a reset can overtake text that the client has not read yet
KNOWN = frozenset(NAMES.values())


def named(text: str) -> frozenset[str]:
    """The names behind `F1,late_answer`; raise KnobError for one nobody knows."""
    asked = {NAMES.get(part.strip().upper(), part.strip()) for part in text.split(",") if part.strip()}
    if unknown := asked - KNOWN:
        raise KnobError(f"no such fault: {', '.join(sorted(unknown))}")
    return frozenset(asked)


def wire_knobs(knobs: TurnKnobs, faults: frozenset[str]) -> TurnKnobs:
    """The knobs with what F14 does to frames."""
    if "doubled_frames" in faults:
        return msgspec.structs.replace(knobs, duplicate=True, merge=max(knobs.merge, 2))
    return knobs


def strike(turn: Turn) -> Generator[float, None, bool]:
    """All faults due after the first chunks. The value says whether the turn goes on."""
    if turn.faults & {"drop", "crash"}:
        yield READING_TIME
    for fault, act in IMMEDIATE.items():
        if fault in turn.faults:
            act(turn)
    if "silence" in turn.faults:
        yield turn.knobs.silence_ms / 1000
    for fault, (code, text) in FINISHING.items():
        if fault in turn.faults:
            turn.finish(turn.knobs.finish if turn.knobs.finish != 200 else code, turn.knobs.reason or text)
            return False
    return "no_finish" not in turn.faults


def afterwards(turn: Turn) -> Steps:
    """Faults that come after the end of a turn."""
    if "double_finish" in turn.faults:
        turn.push_finish(turn.knobs.finish, turn.knobs.reason)
    if "late_answer" in turn.faults:
        turn.say("late")
    turn.flush()
    yield from ()


def crash(turn: Turn) -> None:
    """F21: what was sent so far is out, then the process is gone."""
    turn.peer.flush()
    os._exit(turn.service.controls.service.exit_code)


def _foreign_finish(turn: Turn) -> None:
    turn.push_finish(200, request_id=turn.service.chance.uuid())


def _unknown_push(turn: Turn) -> None:
    turn.push("chat/somethingNew", {"content": "a newer version says this"})


def _logout(turn: Turn) -> None:
    turn.service.log_out()


def _token_refresh(turn: Turn) -> None:
    turn.service.renew_tokens()


def _oversize(turn: Turn) -> None:
    turn.say("x" * turn.knobs.oversize)


def _bad_json(turn: Turn) -> None:
    body = b'{"jsonrpc":"2.0","id":999999,"method":"chat/answer","params":{"requestId":'
    turn.peer.send_raw(_on_the_wire(turn, framed(body)))


def _wrong_length(turn: Turn) -> None:
    body = b'{"jsonrpc":"2.0","id":999999,"method":"chat/answer","params":{}}'
    turn.peer.send_raw(_on_the_wire(turn, b"Content-Length: %d\r\n\r\n%b" % (len(body) - 7, body)))


def _on_the_wire(turn: Turn, message: bytes) -> bytes:
    return frame(message) if turn.peer.websocket else message


def _models_change(turn: Turn) -> None:
    turn.service.change_models("org_auto:Auto,brand_new_model:Brand-New")


def _orphan_tool_event(turn: Turn) -> None:
    event: dict[str, Any] = {
        "sessionId": turn.session.session_id, "requestId": turn.ask.request_id, "projectPath": "/workspace",
        "toolCallId": "call-orphan", "toolCallStatus": "RUNNING", "parameters": {"path": "."}, "results": [],
        "errorCode": "", "errorMsg": "",
    }  # fmt: skip
    turn.push_raw("tool/call/sync", msgspec.json.encode(event))
    del event["requestId"]
    event["toolCallStatus"] = "FINISHED"
    event["results"] = [{"content": "found by its id"}]
    turn.push_raw("tool/call/sync", msgspec.json.encode(event))


def _rewrite_user(turn: Turn) -> None:
    turn.service.account.save()


def _drop(turn: Turn) -> None:
    turn.peer.drop()


IMMEDIATE: dict[str, Callable[[Turn], None]] = {
    "foreign_finish": _foreign_finish, "unknown_push": _unknown_push, "token_refresh": _token_refresh,
    "oversize": _oversize, "bad_json": _bad_json, "wrong_length": _wrong_length, "models_change": _models_change,
    "orphan_tool_event": _orphan_tool_event, "rewrite_user": _rewrite_user, "logout": _logout, "drop": _drop,
    "crash": crash,
}  # fmt: skip
FINISHING = {
    "blocked": (406, ""),
    "logout": (401, ""),
    "finish_code": (500, ""),
}
