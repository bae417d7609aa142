"""A model that does what a plan says, with the tools that the prompt offers it."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from bridge.simulator.options import plan
from bridge.simulator.options.plan import Call, Step
from bridge.simulator.state.sessions import PlanState

DELIMITER = re.compile(r"<call:([a-z0-9]{10})>")
MARK = r"[a-z0-9]{10}"
HEADING = re.compile(rf"^\[(Result|Failed) {MARK}(?: [^\n]*)?$", re.MULTILINE)
NEXT_TURN = re.compile(rf"\n+\[(?:System|User|Assistant|Tools|Result|Failed) {MARK}\b[^\n]*(?:\n|$)")
ASSISTANT_HEADING = re.compile(rf"^\[Assistant {MARK}\]\n", re.MULTILINE)
DONE = "The plan is done."
NO_TOOLS = "I cannot do that: no tools were offered."
MISSED = "I would rather talk about it than do it."


class Reply(msgspec.Struct, frozen=True):
    """What one turn of the model thinks and writes, as texts."""

    think: str
    text: str


def perform(state: PlanState, prompt: str, unplanned: str, *, given: str) -> Reply | None:
    """The next step; None when there is no plan.

    `unplanned` is what stands in the prompt after the plan that it carries, or all of it. `given` is the plan in force:
    one that is new begins at its first step, and only results after it count.
    """
    _learn(state, prompt, unplanned, given)
    if not state.plan:
        return None
    steps = plan.read(state.plan)
    number, refused = _next(steps, state, unplanned)
    if number == len(steps):
        return Reply("", DONE)
    step = steps[number]
    # The larger of both counts: the session may be new and the history long, or the other way round.
    state.attempts[number] = attempt = max(state.attempts.get(number, 0), refused) + 1
    if not step.all_calls:
        state.steps_written.append(number)
    return Reply(_filled(step.think, state), _written(step, state, flaw=step.flaw if attempt <= step.times else ""))


def _learn(state: PlanState, prompt: str, unplanned: str, given: str) -> None:
    """A delimiter in a tool's result is data; the newest one outside of results is that of the tool instructions."""
    # Clients resend the whole history: the same plan again is no new plan unless it is in this prompt.
    if given and (given != state.plan or unplanned != prompt):
        state.plan, state.failed, state.last_result = given, [], ""
        state.steps_written, state.attempts = [], {}
    if "<call:" in prompt:
        # A file that a tool has read may contain a delimiter; a real model would not follow it either.
        trusted = DELIMITER.findall(_without_results(prompt))
        if not trusted:
            trusted = [state.delimiter_id] if state.delimiter_id else DELIMITER.findall(prompt)
        state.delimiter_id = trusted[-1] if trusted else ""
    for failed, low, high in _result_places(unplanned):
        state.failed.append(failed)
        state.last_result = unplanned[low:high].strip("\n")


def _result_places(prompt: str) -> list[tuple[bool, int, int]]:
    """(whether it is a failure, where its text begins, where it ends) of every result."""
    places = []
    for heading in HEADING.finditer(prompt):
        # A result ends where the next heading begins, as there is no other mark.
        end = NEXT_TURN.search(prompt, heading.end())
        places.append((heading[1] == "Failed", heading.end(), end.start() if end else len(prompt)))
    return places


def _without_results(prompt: str) -> str:
    parts, at = [], 0
    for _, low, high in _result_places(prompt):
        parts.append(prompt[at:low])
        at = high
    return "".join([*parts, prompt[at:]])


def _next(steps: list[Step], state: PlanState, unplanned: str) -> tuple[int, int]:
    """The step to perform, and how often the tool itself has refused it so far.

    A step with calls is done when their results are there, one without when its text was written. Failures that a
    step meant to provoke do not count: it is tried again.
    """
    failed = state.failed
    for number, step in enumerate(steps):
        refused = 0
        if calls := len(step.all_calls):
            # Failures in the number of the step's calls are one attempt that failed on purpose.
            while step.flaw and refused < step.times and failed[:calls] == [True] * calls:
                refused, failed = refused + 1, failed[calls:]
            if len(failed) < calls:
                return number, refused
            failed = failed[calls:]
        elif number not in state.steps_written and not _stands_in(unplanned, step.say):
            return number, 0
    return len(steps), 0


def _stands_in(unplanned: str, text: str) -> bool:
    # The longest piece without placeholders: what they were filled with is not known any more.
    fixed = max(re.split(r"\{\{\w+\}\}", text), key=len).strip()
    headings = ASSISTANT_HEADING.finditer(unplanned)
    return bool(fixed) and any(unplanned.startswith(fixed, heading.end()) for heading in headings)


def _filled(text: str, state: PlanState) -> str:
    return text.replace("{{last_result}}", state.last_result).replace("{{results}}", str(len(state.failed)))


def _written(step: Step, state: PlanState, *, flaw: str) -> str:
    text = _filled(step.say, state)
    if not step.all_calls:
        return text
    if not state.delimiter_id:
        # Without a delimiter the prompt has offered no tools.
        return NO_TOOLS
    if flaw == "no_call":
        return text or MISSED
    blocks = [_block(call, state, flaw) for call in step.all_calls]
    if flaw == "prose":
        return "\n".join([text or "Let me do that.", *blocks, "I wait for what comes of it."])
    return "\n".join([*([text] if text else []), *blocks])


def _block(call: Call, state: PlanState, flaw: str) -> str:
    body = _body(_bent(call, flaw), state, flaw)
    if flaw == "fence":
        return f"```json\n{body}\n```"
    delimiter_id = "0123456789" if flaw == "nonce" else state.delimiter_id
    if flaw == "cut":
        # Neither the JSON nor the delimiter is closed, as of a reply that was cut off.
        return f"<call:{delimiter_id}>{body[: len(body) * 2 // 3]}"
    return f"<call:{delimiter_id}>{body}</call:{delimiter_id}>"


def _bent(call: Call, flaw: str) -> Call:
    """The call with a wrong name or wrong arguments."""
    first = next(iter(call.arguments), None) if isinstance(call.arguments, dict) else None
    match flaw:
        case "alias":
            return Call(f"mcp__{call.call.lower()}", call.arguments)
        case "unknown":
            return Call(f"{call.call}_of_another_world", call.arguments)
        case "missing" if first is not None:
            return Call(call.call, {key: value for key, value in call.arguments.items() if key != first})
        case "type" if first is not None:
            return Call(call.call, call.arguments | {first: {"not": ["what", "was", "asked"]}})
        case _:
            return call


def _body(call: Call, state: PlanState, flaw: str) -> str:
    arguments = _filled_deep(call.arguments, state)
    if flaw == "string":
        arguments = json.dumps(arguments, ensure_ascii=False)
    body = json.dumps({"name": call.call, "arguments": arguments}, ensure_ascii=False)
    if flaw == "comma":
        # A comma before the last brace, of the arguments too if there are any.
        return f"{body[:-2]},}},}}" if body.endswith("}}") and arguments else f"{body[:-1]},}}"
    return _typographic(body) if flaw == "quotes" else body


def _filled_deep(value: Any, state: PlanState) -> Any:
    match value:
        case str():
            return _filled(value, state)
        case dict():
            return {key: _filled_deep(item, state) for key, item in value.items()}
        case list():
            return [_filled_deep(item, state) for item in value]
        case _:
            return value


def _typographic(body: str) -> str:
    """The quotes around strings become typographic; escaped ones inside stay."""
    return re.sub(r'"((?:\\.|[^"\\])*)"', r"“\1”", body)
