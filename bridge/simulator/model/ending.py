"""How turns end: `chat/finish`, the usage in the log, the record in the session."""

from __future__ import annotations

from bridge.simulator.model import tool_events
from bridge.simulator.model.chunks import tokens
from bridge.simulator.process.timer_wheel import Steps
from bridge.simulator.state.pushes import encode
from bridge.simulator.state.service_state import ServiceState
from bridge.simulator.state.sessions import Record
from bridge.simulator.state.turn import Turn

HIDDEN_PROMPT_TOKENS = 480  # a one-line question was seen to cost 495 prompt tokens


def refuse(state: ServiceState, turn: Turn, code: int, reason: str) -> Steps:
    """End a turn that fails before any text."""
    yield 0  # the result of chat/ask goes first
    finish(state, turn, code, reason)


def cancel(state: ServiceState, turn: Turn) -> Steps:
    """End a turn after `chat/stop`."""
    finish(state, turn, 200, "cancelled")
    yield from ()


def cut(state: ServiceState, turn: Turn) -> Steps:
    """F8: the text stops, and an end comes only if the script names a code."""
    if turn.options.finish != 200:
        finish(state, turn, turn.options.finish, turn.options.reason)
    else:
        end_silently(state, turn)
    yield from ()


def finish(state: ServiceState, turn: Turn, code: int, reason: str = "") -> None:
    """The one ending of a turn, its log lines included."""
    options, context = turn.options, state.context
    if options.context_usage:
        turn.pushes.push("context/usage/sync", {"usedTokens": sum(usage(turn)), "limitTokens": 131072})
    spent = usage(turn)  # before the session remembers the prompt, which would count twice
    if options.usage_line == "before":
        _log_usage(state, turn, spent)
    turn.pushes.finish(code, reason)
    # Messages held back to be merged must not wait for a push that never comes.
    turn.pushes.flush()
    if turn.tool_calls:
        tool_events.all_finished(turn)
    if options.usage_line == "after":
        # The line may come before the finish or after it: clients have to cope with both.
        context.loop.call_later(options.usage_late_ms / 1000, _log_usage, state, turn, spent)
    seconds = (context.ids.now_ms() - turn.started_ms) / 1000
    context.log.write(f"finish chat answer requestId: {turn.ask.request_id} cost: {seconds:.1f}s")
    _remember(state, turn)
    end_silently(state, turn)


def usage(turn: Turn) -> tuple[int, int]:
    """(prompt, completion) tokens of this turn; the prompt includes what the session remembers."""
    if turn.options.usage:
        prompt, _, completion = turn.options.usage.partition(",")
        return int(prompt), int(completion or 0)
    # What the service adds by itself and what the session holds count as prompt.
    prompt_tokens = HIDDEN_PROMPT_TOKENS + turn.session.tokens + tokens(turn.ask.prompt)
    return prompt_tokens, tokens("".join(turn.thought + turn.pushes.sent))


def _log_usage(state: ServiceState, turn: Turn, spent: tuple[int, int]) -> None:
    prompt, completion = spent
    fields = {
        "completion_tokens": completion, "prompt_tokens": prompt, "request_id": turn.ask.request_id,
        "total_tokens": prompt + completion,
    }  # fmt: skip
    state.context.log.write(f"[TOKEN_USAGE]: {encode(fields).decode()}")


def _remember(state: ServiceState, turn: Turn) -> None:
    now, session = state.context.ids.now_ms(), turn.session
    answer, reasoning = "".join(turn.pushes.sent), "".join(turn.thought)
    # Cancelled turns are remembered too: the session has seen them.
    session.records.append(Record(turn.ask.request_id, turn.script.prompt, answer, reasoning, turn.started_ms, now))
    session.tokens += tokens(turn.ask.prompt) + tokens(answer)
    session.modified = now
    state.sessions.save()


def end_silently(state: ServiceState, turn: Turn) -> None:
    """End a turn without any push."""
    turn.over = True
    state.turns.forget(turn)
