"""The course of a turn: the pushes from `chat/ask` to `chat/finish`, as a generator that rests between them."""

from __future__ import annotations

import msgspec

from bridge.simulator.faults import turn_faults
from bridge.simulator.model import agent_tools, canned_text, ending, tool_model
from bridge.simulator.model.chunks import pieces_of
from bridge.simulator.process.ids_and_clock import IdsAndClock
from bridge.simulator.process.timer_wheel import FAR, Steps
from bridge.simulator.state.ask import echo
from bridge.simulator.state.pushes import encode
from bridge.simulator.state.service_state import ServiceState
from bridge.simulator.state.turn import Turn

BURST = 16
THINK_FENCE = ("\n````think::{THINK_TIME}\n", "\n````\n")
THINK_TAGS = ("<think>", "</think>")


def begin(state: ServiceState, turn: Turn, refusal: tuple[int, str] | None) -> None:
    """Start a turn; `refusal` is the code and reason of one that fails at once."""
    context = state.context
    context.counts.turns += 1
    # Registered before the first step, so that a stop which comes at once finds it.
    state.turns.by_request[turn.ask.request_id] = turn
    context.log.write(f"Async chat, request id: {turn.ask.request_id}")
    if context.counts.turns == context.controls.service.crash_on_turn:
        # Counted over the process: the options of one turn cannot know how many came before.
        turn.script.faults |= {"crash"}
    turn.job = context.wheel.start(ending.refuse(state, turn, *refusal) if refusal else _steps(state, turn))
    # By a timer from outside, as the cut comes wherever the stream is at that moment.
    if "cut_long" in turn.script.faults and len(turn.ask.prompt) > turn.options.cut_above:
        context.loop.call_later(turn.options.cut_ms / 1000, _cut, state, turn)


def _cut(state: ServiceState, turn: Turn) -> None:
    if not turn.over:
        state.context.wheel.replace(turn.job, ending.cut(state, turn))


def stop(state: ServiceState, turn: Turn) -> None:
    """End a running turn with the finish of `chat/stop` (PROTOCOL 9.7)."""
    if not turn.over:
        state.context.wheel.replace(turn.job, ending.cancel(state, turn))


def _steps(state: ServiceState, turn: Turn) -> Steps:
    ids = state.context.ids
    yield 0  # the result of chat/ask goes first
    if "interleave" in turn.script.faults:
        yield from _interleave(state, turn)
    # After the wait of F20, since a plan reads what the session has learned until now.
    _follow_plan(turn)
    _prepare(turn)
    yield _first_rest(turn, ids)
    if turn.options.think:
        yield from _think(turn, ids)
    yield from agent_tools.run(state, turn)
    yield from _answer(state, turn)


def _answer(state: ServiceState, turn: Turn) -> Steps:
    options, ids = turn.options, state.context.ids
    pieces = _pieces(state, turn)
    faulty = bool(turn.script.faults)
    # With a fault the first chunks go out, the fault strikes, and the rest follows if the turn goes on.
    yield from _stream(turn, pieces[: options.after] if faulty else pieces, ids)
    if faulty:
        outcome = yield from turn_faults.strike(state, turn)
        if outcome.ending:
            ending.finish(state, turn, *outcome.ending)
        if not outcome.goes_on:
            ending.end_silently(state, turn)
            return
        yield from _stream(turn, pieces[options.after :], ids)
    if options.overwrite:
        # An overwrite replaces all text before it, in `fullAnswer` too.
        turn.pushes.sent.clear()
        turn.pushes.delta(options.overwrite, overwrite=True)
    ending.finish(state, turn, options.finish, options.reason)
    # After the finish, on purpose: clients have to survive what still comes.
    turn_faults.strike_after(turn)


def _interleave(state: ServiceState, turn: Turn) -> Steps:
    """F20: the first of two waits for the second, and both go on together."""
    other, state.turns.interleaved = state.turns.interleaved, None
    if other is None or other.over:
        state.turns.interleaved = turn
        # No rest is endless for the wheel: the second turn wakes this one, or a stop does.
        yield FAR
    else:
        state.context.wheel.wake(other.job)
        yield 0


def _follow_plan(turn: Turn) -> None:
    """Let the plan say what this turn thinks and writes, unless its own options do."""
    options, script = turn.options, turn.script
    # A plan given for this turn wins; one that the session remembers does not.
    if not options.plan and (options.text or options.echo or options.chunks):
        return
    done = tool_model.perform(turn.session.plan_state, turn.ask.prompt, script.unplanned, given=options.plan)
    if done is not None:
        script.options = msgspec.structs.replace(options, text=done.text, think=done.think or options.think)


def _prepare(turn: Turn) -> None:
    if turn.options.steps:
        for step in ("step_start", "step_end"):
            fields = {"step": step, "description": "", "status": "done", "result": None, "message": ""}
            turn.pushes.push("chat/process_step_callback", fields)
    if turn.new_session and turn.options.title:
        title = {"sessionId": turn.session.session_id, "sessionTitle": turn.session.title}
        turn.pushes.push_raw("session/title/update", encode(title))


def _first_rest(turn: Turn, ids: IdsAndClock) -> float:
    first = turn.options.first_ms
    if "slow_first" in turn.script.faults and first < 0:
        return 5.0
    return (first if first >= 0 else ids.between(150, 300)) / 1000


def _rest(turn: Turn, ids: IdsAndClock) -> float:
    delay = turn.options.delay_ms
    return (delay if delay >= 0 else ids.between(20, 32)) / 1000


def _stream(turn: Turn, pieces: list[str], ids: IdsAndClock) -> Steps:
    delay, every = turn.options.delay_ms / 1000, turn.options.empty
    # Without delays: some chunks per step let other turns in without a timer for each chunk.
    burst = 1 if turn.script.faults else BURST
    push = turn.pushes.delta
    for number, piece in enumerate(pieces, 1):
        push(piece)
        if every and number % every == 0:
            push("")
        # Three cases: a fixed delay, a random one (negative), and none.
        if delay > 0:
            yield delay
        elif delay < 0:
            yield _rest(turn, ids)
        elif number % burst == 0:
            yield 0


def _think(turn: Turn, ids: IdsAndClock) -> Steps:
    text, style = turn.options.think, turn.options.think_style
    turn.thought.append(text)
    if style != "push":
        opens, closes = THINK_FENCE if style == "fence" else THINK_TAGS
        yield from _stream(turn, pieces_of(f"{opens}{text}{closes}", chunks=0, size=turn.options.size), ids)
        return
    for piece in pieces_of(text, chunks=0, size=turn.options.size):
        turn.pushes.thought(piece, "start")
        yield _rest(turn, ids)
    turn.pushes.thought("", turn.options.think_end)


def _pieces(state: ServiceState, turn: Turn) -> list[str]:
    text = _answer_text(state, turn)
    if turn.options.full_answer == "only" or not turn.ask.stream:
        # Counted as sent though it was not pushed: it is in `fullAnswer` alone.
        turn.pushes.sent.append(text)
        return []
    return pieces_of(text, chunks=turn.options.chunks, size=turn.options.size)


def _answer_text(state: ServiceState, turn: Turn) -> str:
    """The whole answer, before it is cut into chunks."""
    options, prompt = turn.options, turn.script.prompt
    if options.text:
        return options.text
    if options.echo:
        return echo(turn.ask, options.echo, prompt, [record.question for record in turn.session.records])
    if options.chunks:
        return "".join(f"word{number:04d} " for number in range(options.chunks))
    images = sum(url in state.images for url in turn.ask.image_urls)  # none that it was not given here
    return canned_text.answer(prompt, turn.model, len(turn.session.records) + 1, images)
