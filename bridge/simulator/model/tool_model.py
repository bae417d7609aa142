"""A model that does what a plan says, with the tools that the prompt offers it."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from bridge.simulator.options import plan
from bridge.simulator.options.plan import Call, Step
from bridge.simulator.state.sessions import Memory

NONCE = re.compile(r"<call:([a-z0-9]{10})>")
MARK = r"[a-z0-9]{10}"
HEADING = re.compile(rf"^\[(Result|Failed) {MARK}(?: [^\n]*)?$", re.MULTILINE)
NEXT_TURN = re.compile(rf"\n+\[(?:System|User|Assistant|Tools|Result|Failed) {MARK}\b[^\n]*(?:\n|$)")
SPOKEN = re.compile(rf"^\[Assistant {MARK}\]\n", re.MULTILINE)
DONE = "The plan is done."
NO_TOOLS = "I cannot do that: no tools were offered."
MISSED = "I would rather talk about it than do it."


class Reply(msgspec.Struct, frozen=True):
    """What one turn of the model thinks and writes, as texts."""

    think: str
    text: str


def perform(memory: Memory, prompt: str, unplanned: str, *, given: str) -> Reply | None:
    """The next step; None when there is no plan.

    `unplanned` is what stands in the prompt after the plan that it carries, or all of it. `given` is the plan in force:
    one that is new begins at its first step, and only results after it count.
    """
    _learn(memory, prompt, unplanned, given)
    if not memory.plan:
        return None
    steps = plan.read(memory.plan)
    number, refused = _next(steps, memory, unplanned)
    if number == len(steps):
        return Reply("", DONE)
    step = steps[number]
    # The larger of both counts: the session may be new and the history long, or the other way round.
    memory.attempts[number] = attempt = max(memory.attempts.get(number, 0), refused) + 1
    if not step.all_calls:
        memory.said.append(number)
    return Reply(_filled(step.think, memory), _written(step, memory, flaw=step.flaw if attempt <= step.times else ""))


def _learn(memory: Memory, prompt: str, unplanned: str, given: str) -> None:
    """A delimiter in a tool's result is data; the newest one outside of results is the contract's."""
    # Clients resend the whole history: the same plan again is no new plan unless it is in this prompt.
    if given and (given != memory.plan or unplanned != prompt):
        memory.plan, memory.failed, memory.last_result, memory.said, memory.attempts = given, [], "", [], {}
    if "<call:" in prompt:
        # A file that a tool has read may contain a delimiter; a real model would not follow it either.
        trusted = NONCE.findall(_without_results(prompt)) or ([memory.nonce] if memory.nonce else NONCE.findall(prompt))
        memory.nonce = trusted[-1] if trusted else ""
    for failed, low, high in _result_places(unplanned):
        memory.failed.append(failed)
        memory.last_result = unplanned[low:high].strip("\n")


def _result_places(prompt: str) -> list[tuple[bool, int, int]]:
    """(whether it is a failure, where its text begins, where it ends) of every result."""
    places = []
    for heading in HEADING.finditer(prompt):
        # A result ends where the next heading begins, as there is no other mark.
        end = NEXT_TURN.search(prompt, heading.end())
        places.append((heading[1] == "Failed", heading.end(), end.start() if end else len(prompt)))
    return places


def _without_results(prompt: str) -> str:
    kept, at = [], 0
    for _, low, high in _result_places(prompt):
        kept.append(prompt[at:low])
        at = high
    return "".join([*kept, prompt[at:]])


def _next(steps: list[Step], memory: Memory, unplanned: str) -> tuple[int, int]:
    """The step to perform, and how often the tool itself has refused it so far.

    A step with calls is done when their results are there, one without when it was said. Failures that a step meant
    to provoke do not count: it is tried again.
    """
    failed = memory.failed
    for number, step in enumerate(steps):
        refused = 0
        if calls := len(step.all_calls):
            # Failures in the number of the step's calls are one attempt that failed on purpose.
            while step.flaw and refused < step.times and failed[:calls] == [True] * calls:
                refused, failed = refused + 1, failed[calls:]
            if len(failed) < calls:
                return number, refused
            failed = failed[calls:]
        elif number not in memory.said and not _stands_in(unplanned, step.say):
            return number, 0
    return len(steps), 0


def _stands_in(unplanned: str, text: str) -> bool:
    # The longest piece without placeholders: what they were filled with is not known any more.
    fixed = max(re.split(r"\{\{\w+\}\}", text), key=len).strip()
    return bool(fixed) and any(unplanned.startswith(fixed, heading.end()) for heading in SPOKEN.finditer(unplanned))


def _filled(text: str, memory: Memory) -> str:
    return text.replace("{{last_result}}", memory.last_result).replace("{{results}}", str(len(memory.failed)))


# -- writing ----------------------------------------------------------------------------------------------------
def _written(step: Step, memory: Memory, *, flaw: str) -> str:
    said = _filled(step.say, memory)
    if not step.all_calls:
        return said
    if not memory.nonce:
        # Without a delimiter the prompt has offered no tools.
        return NO_TOOLS
    if flaw == "no_call":
        return said or MISSED
    blocks = [_block(call, memory, flaw) for call in step.all_calls]
    if flaw == "prose":
        return "\n".join([said or "Let me do that.", *blocks, "I wait for what comes of it."])
    return "\n".join([*([said] if said else []), *blocks])


def _block(call: Call, memory: Memory, flaw: str) -> str:
    body = _body(_bent(call, flaw), memory, flaw)
    if flaw == "fence":
        return f"```json\n{body}\n```"
    nonce = "0123456789" if flaw == "nonce" else memory.nonce
    if flaw == "cut":
        # Neither the JSON nor the delimiter is closed, as of a reply that was cut off.
        return f"<call:{nonce}>{body[: len(body) * 2 // 3]}"
    return f"<call:{nonce}>{body}</call:{nonce}>"


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


def _body(call: Call, memory: Memory, flaw: str) -> str:
    arguments = _filled_deep(call.arguments, memory)
    if flaw == "string":
        arguments = json.dumps(arguments, ensure_ascii=False)
    body = json.dumps({"name": call.call, "arguments": arguments}, ensure_ascii=False)
    if flaw == "comma":
        # A comma before the last brace, of the arguments too if there are any.
        return f"{body[:-2]},}},}}" if body.endswith("}}") and arguments else f"{body[:-1]},}}"
    return _typographic(body) if flaw == "quotes" else body


def _filled_deep(value: Any, memory: Memory) -> Any:
    match value:
        case str():
            return _filled(value, memory)
        case dict():
            return {key: _filled_deep(item, memory) for key, item in value.items()}
        case list():
            return [_filled_deep(item, memory) for item in value]
        case _:
            return value


def _typographic(body: str) -> str:
    """The quotes around strings become typographic; escaped ones inside stay."""
    return re.sub(r'"((?:\\.|[^"\\])*)"', r"“\1”", body)
