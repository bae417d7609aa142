"""Asking and stopping."""

from __future__ import annotations

from typing import Any

from bridge.simulator.faults.framing_faults import framing, with_frame_faults
from bridge.simulator.methods.base import Method, Params, constant
from bridge.simulator.model import course
from bridge.simulator.options.errors import OptionError
from bridge.simulator.options.fault_names import named
from bridge.simulator.options.marker import last_marker
from bridge.simulator.options.turn_options import TurnOptions
from bridge.simulator.protocol.errors import RpcError
from bridge.simulator.protocol.messages import Id
from bridge.simulator.protocol.peer import Peer
from bridge.simulator.state.ask import Ask
from bridge.simulator.state.pushes import Pushes
from bridge.simulator.state.service_state import ServiceState
from bridge.simulator.state.sessions import Session
from bridge.simulator.state.turn import Script, Turn

TITLE = 40


def ask(state: ServiceState, peer: Peer, params: Params | None, request_id: Id, *, is_request: bool) -> None:
    """Start a turn. A notification starts one too, and gets no answer."""
    try:
        turn, refusal = _accept(state, peer, params)
    except RpcError as exc:
        if is_request:
            peer.refuse(request_id, exc.code, exc.message)
        return
    accepted = not turn.options.ask_refused
    if is_request:
        # Before `begin`: the result is queued ahead of the first push.
        peer.answer(request_id, _answer(turn.ask.request_id, accepted=accepted))
    if accepted:
        course.begin(state, turn, refusal)


def _answer(request_id: str, *, accepted: bool) -> dict[str, Any]:
    """Two spellings of success are known; the service's clients read one or the other."""
    return {
        "requestId": request_id, "success": accepted, "isSuccess": accepted,
        "status": "processing" if accepted else "failed", "errorCode": None,
        "errorMessage": "" if accepted else "simulated refusal",
    }  # fmt: skip


def _accept(state: ServiceState, peer: Peer, params: Params | None) -> tuple[Turn, tuple[int, str] | None]:
    """The turn, and the finish code and reason it is refused with, if it is."""
    context = state.context
    if context.controls.service.need_initialize and not peer.initialized:
        raise RpcError(-32002, "server not initialized")
    try:
        ask = Ask.read(params or {})
    except ValueError as exc:
        raise RpcError(-32602, str(exc)) from None
    context.log.write(f"|Chat| doAsk params.SessionType: {ask.session_type}, ChatMode: {ask.mode}")
    started_ms = context.ids.now_ms()
    script, unreadable = _script(state, ask)
    if script.options.ask_error or "ask_error" in script.faults:
        raise RpcError(-32603, script.options.ask_error or "simulated failure of chat/ask")
    session, new, problem = _session(state, ask, script.prompt)
    pushed_as = framing(with_frame_faults(script.options, script.faults), websocket=peer.websocket)
    pushes = Pushes(peer, pushed_as, context.ids, ask, session.session_id, script.options)
    model = state.models.chosen(ask.model)
    turn = Turn(ask, script, session, pushes, model=model, new_session=new, started_ms=started_ms)
    # A turn that is refused still exists: the refusal comes as its finish, not as an error (PROTOCOL 9.6).
    return turn, unreadable or problem or _obstacle(state, ask)


def _script(state: ServiceState, ask: Ask) -> tuple[Script, tuple[int, str] | None]:
    try:
        marker, prompt, after = last_marker(ask.prompt)
        options = state.context.controls.for_turn(marker)
        return Script(options, named(options.fault), prompt, after if "plan" in marker else ask.prompt), None
    except OptionError as exc:
        # A bad marker is shown to whoever wrote it, in the reply.
        refusal = (400, f"simulator script: {exc}")
        return Script(TurnOptions(), frozenset(), ask.prompt, ask.prompt), refusal


def _obstacle(state: ServiceState, ask: Ask) -> tuple[int, str] | None:
    options = state.context.controls.service
    if state.login.refused():
        return 401, "not logged in"
    if options.unknown_model == "error" and ask.model and not state.models.has(ask.model):
        return 500, f"no model config for {ask.model}"
    if 0 < options.max_parallel <= len(state.turns.by_request):
        return 429, "too many chats at once"
    return None


def _session(state: ServiceState, ask: Ask, prompt: str) -> tuple[Session, bool, tuple[int, str] | None]:
    """The session of an ask, whether it is new, and the finish code and reason if it is refused."""
    sessions, options, now = state.sessions, state.context.controls.service, state.context.ids.now_ms()
    if session := sessions.by_id.get(ask.session_id):
        return session, False, None
    if ask.is_reply and options.reply_unknown == "error":
        # Not opened: the next follow-up finds it as little.
        return Session(ask.session_id or state.context.ids.uuid(), "", now, now), False, (500, "session not found")
    adopted = ask.session_id if options.adopt_session else ""
    # An unknown id is adopted, or another one is made and named in the finish (PROTOCOL 18.4).
    session = sessions.open(adopted or state.context.ids.uuid(), now)
    session.title = " ".join(prompt[: 4 * TITLE].split())[:TITLE]
    return session, True, None


def _stop(state: ServiceState, peer: Peer, params: Params) -> Any:
    if turn := state.turns.by_request.get(str(params.get("requestId") or "")):
        _cancel(state, turn)
    return {}


def _stop_session(state: ServiceState, peer: Peer, params: Params) -> Any:
    session_id = params.get("sessionId")
    for turn in list(state.turns.by_request.values()):
        if not session_id or turn.session.session_id == session_id:
            _cancel(state, turn)
    return {}


def _cancel(state: ServiceState, turn: Turn) -> None:
    if not turn.options.ignore_stop:
        # The answer to chat/stop goes first.
        state.context.loop.call_soon(course.stop, state, turn)


METHODS: dict[str, Method] = {
    "chat/stop": _stop,
    "chat/stopSession": _stop_session,
    **dict.fromkeys(("chat/like", "chat/systemEvent", "chat/getStage", "chat/replyRequest", "chat/receive/notice",
                     "chat/quota/doNotRemindAgain"), constant({})),
}  # fmt: skip
