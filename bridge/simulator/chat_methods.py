"""Chat methods: asking, stopping, the stored sessions, and what clients say about tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import tools
from .ask import Ask
from .errors import RpcError
from .knobs import KnobError, TurnKnobs
from .marker import last_marker
from .peer import Peer
from .sessions import Session
from .turn import Turn

if TYPE_CHECKING:
    from .service import Service

Params = dict[str, Any]
Id = int | str | None
TITLE = 40


def ask(service: Service, peer: Peer, params: Params | None, request_id: Id, *, is_request: bool) -> None:
    """Start a turn. A notification starts one too, and gets no answer."""
    try:
        turn, refusal = _accept(service, peer, params)
    except RpcError as exc:
        if is_request:
            peer.refuse(request_id, exc.code, exc.message)
        return
    accepted = not turn.knobs.ask_refused
    if is_request:
        peer.answer(request_id, _asked(turn.ask.request_id, accepted=accepted))
    if accepted:
        service.begin(turn, refusal)


def _asked(request_id: str, *, accepted: bool) -> dict[str, Any]:
    """Two spellings of success are known; the service's clients read one or the other."""
    return {
        "requestId": request_id, "success": accepted, "isSuccess": accepted,
        "status": "processing" if accepted else "failed", "errorCode": None,
        "errorMessage": "" if accepted else "simulated refusal",
    }  # fmt: skip


def _accept(service: Service, peer: Peer, params: Params | None) -> tuple[Turn, tuple[int, str] | None]:
    """The turn, and the finish code and reason it is refused with, if it is."""
    if service.controls.service.need_initialize and not peer.initialized:
        raise RpcError(-32002, "server not initialized")
    try:
        asked = Ask.read(params or {})
    except ValueError as exc:
        raise RpcError(-32602, str(exc)) from None
    service.log.write(f"|Chat| doAsk params.SessionType: {asked.session_type}, ChatMode: {asked.mode}")
    refusal = None
    try:
        marker, prompt, after = last_marker(asked.prompt)
        turn = Turn(service, peer, asked, service.controls.for_turn(marker), prompt)
        turn.told = after if "plan" in marker else asked.prompt
    except KnobError as exc:
        turn = Turn(service, peer, asked, TurnKnobs(), asked.prompt)
        refusal = (400, f"simulator script: {exc}")
    if turn.knobs.ask_error or "ask_error" in turn.faults:
        raise RpcError(-32603, turn.knobs.ask_error or "simulated failure of chat/ask")
    session, new, problem = _session(service, asked, turn.prompt)
    turn.enter(session, new=new)
    return turn, refusal or problem or _obstacle(service, asked)


def _obstacle(service: Service, asked: Ask) -> tuple[int, str] | None:
    knobs = service.controls.service
    if not service.account.user or knobs.auth_status not in (0, 2):
        return 401, "not logged in"
    if knobs.unknown_model == "error" and asked.model and asked.model not in service.model_keys():
        return 500, f"no model config for {asked.model}"
    if 0 < knobs.max_parallel <= len(service.turns):
        return 429, "too many chats at once"
    return None


def _session(service: Service, asked: Ask, prompt: str) -> tuple[Session, bool, tuple[int, str] | None]:
    """(session, whether it is new, refusal)."""
    sessions, knobs, now = service.sessions, service.controls.service, service.chance.now_ms()
    if known := sessions.known.get(asked.session_id):
        return known, False, None
    refusal = (500, "session not found") if asked.is_reply and knobs.reply_unknown == "error" else None
    adopted = asked.session_id if knobs.adopt_session else ""
    session = sessions.open(adopted or service.chance.uuid(), now)
    session.title = " ".join(prompt[: 4 * TITLE].split())[:TITLE]
    return session, True, refusal


def _stop(service: Service, peer: Peer, params: Params) -> Any:
    if turn := service.turns.get(str(params.get("requestId") or "")):
        _cancel(service, turn)
    return {}


def _stop_session(service: Service, peer: Peer, params: Params) -> Any:
    session_id = params.get("sessionId")
    for turn in list(service.turns.values()):
        if not session_id or turn.session.session_id == session_id:
            _cancel(service, turn)
    return {}


def _cancel(service: Service, turn: Turn) -> None:
    if not turn.knobs.ignore_stop:
        # The answer to chat/stop goes first.
        service.loop.call_soon(service.cancel, turn)


def _known(service: Service, params: Params) -> Session:
    session = service.sessions.known.get(str(params.get("sessionId") or ""))
    if session is None:
        raise RpcError(-32603, "session not found")
    return session


def _list(service: Service, peer: Peer, params: Params) -> Any:
    return [session.shown(full=False) for session in service.sessions.known.values()]


def _get(service: Service, peer: Peer, params: Params) -> Any:
    return _known(service, params).shown(full=True)


def _delete(service: Service, peer: Peer, params: Params) -> Any:
    service.sessions.forget(str(params.get("sessionId") or params.get("id") or ""))


def _delete_record(service: Service, peer: Peer, params: Params) -> Any:
    service.sessions.forget(str(params.get("sessionId") or ""), str(params.get("requestId") or ""))


def _clear(service: Service, peer: Peer, params: Params) -> Any:
    service.sessions.known.clear()
    service.sessions.save()


def _approve(service: Service, peer: Peer, params: Params) -> Any:
    if found := service.tool_calls.get(str(params.get("toolCallId") or "")):
        tools.settle(*found, approved=params.get("approval") is True)
    return {}


def _tool_result(service: Service, peer: Peer, params: Params) -> Any:
    if found := service.tool_calls.get(str(params.get("toolCallId") or "")):
        tools.settle(*found, outcome=params)
    return {"errorCode": None, "errorMessage": None}


def _tool_results(service: Service, peer: Peer, params: Params) -> Any:
    session_id = params.get("sessionId")
    calls = [call for turn, call in service.tool_calls.values() if turn.session.session_id == session_id]
    shown = [
        {"toolCallId": call.call_id, "toolCallStatus": "RUNNING", "parameters": {}, "results": []} for call in calls
    ]
    return {"successful": True, "errorMessage": "", "toolResults": shown}


def _current(service: Service, peer: Peer, params: Params) -> Any:
    running = sorted({turn.session.session_id for turn in service.turns.values()})
    return {"errorCode": None, "errorMessage": None, "currentSessionIds": running}


def _nothing(service: Service, peer: Peer, params: Params) -> Any:
    return {}


METHODS = {
    "chat/stop": _stop,
    "chat/stopSession": _stop_session,
    "chat/listAllSessions": _list,
    "chat/getSessionById": _get,
    "chat/deleteSessionById": _delete,
    "chat/deleteChatById": _delete_record,
    "chat/clearAllSessions": _clear,
    "session/getCurrent": _current,
    "tool/call/approve": _approve,
    "tool/invokeResult": _tool_result,
    "tool/call/results": _tool_results,
    **dict.fromkeys(("chat/like", "chat/systemEvent", "chat/getStage", "chat/replyRequest", "chat/receive/notice",
                     "chat/quota/doNotRemindAgain"), _nothing),
}  # fmt: skip
