"""A model that does what a plan says, with the tools that the prompt offers it."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from . import plan
from .plan import Call, Step

NONCE = re.compile(r"<call:([a-z0-9]{10})>")
HEADING = re.compile(r"^\[(?:Result of|Failed) tool call [^\n]*\]$", re.MULTILINE)
NEXT_TURN = re.compile(
    r"\n+\[(?:System|User|Assistant|Tools|Result of tool call [^\n]*|Failed tool call [^\n]*)\]\s*(?:\n|$)"
)
REMINDER = re.compile(r"\A\n?\(called with [^\n]*\)\n")
DONE = "The plan is done."
NO_TOOLS = "I cannot do that: no tools were offered."
MISSED = "I would rather talk about it than do it."


class Memory(msgspec.Struct):
    """What a session knows: the delimiter of its calls, the plan, and how far it is."""

    nonce: str = ""
    plan: str = ""
    results: int = 0
    last_result: str = ""
    said: list[int] = []
    attempts: dict[int, int] = {}


class Reply(msgspec.Struct, frozen=True):
    """What a turn thinks and writes."""

    think: str
    text: str


def perform(memory: Memory, prompt: str, told: str, *, given: str) -> Reply | None:
    """The next step; None when there is no plan.

    `told` is what stands in the prompt after the plan that it carries, or all of it. `given` is the plan in force:
    one that is new begins at its first step, and only results after it count.
    """
    _learn(memory, prompt, told, given)
    if not memory.plan:
        return None
    steps = plan.read(memory.plan)
    number = _next(steps, memory, told)
    if number == len(steps):
        return Reply("", DONE)
    step = steps[number]
    memory.attempts[number] = attempt = memory.attempts.get(number, 0) + 1
    if not step.all_calls:
        memory.said.append(number)
    return Reply(_filled(step.think, memory), _written(step, memory, flaw=step.flaw if attempt <= step.times else ""))


def _learn(memory: Memory, prompt: str, told: str, given: str) -> None:
    """A delimiter in a tool's result is data; the newest one outside of results is the contract's."""
    if given and (given != memory.plan or told != prompt):
        memory.plan, memory.results, memory.last_result, memory.said, memory.attempts = given, 0, "", [], {}
    if "<call:" in prompt:
        trusted = NONCE.findall(_without_results(prompt)) or ([memory.nonce] if memory.nonce else NONCE.findall(prompt))
        memory.nonce = trusted[-1] if trusted else ""
    if found := results(told):
        memory.results += len(found)
        memory.last_result = found[-1]


def results(prompt: str) -> list[str]:
    """The texts of the tool results in a prompt, in their order."""
    return [REMINDER.sub("", prompt[low:high]).strip("\n") for low, high in _result_places(prompt)]


def _result_places(prompt: str) -> list[tuple[int, int]]:
    places = []
    for heading in HEADING.finditer(prompt):
        end = NEXT_TURN.search(prompt, heading.end())
        places.append((heading.end(), end.start() if end else len(prompt)))
    return places


def _without_results(prompt: str) -> str:
    kept, at = [], 0
    for low, high in _result_places(prompt):
        kept.append(prompt[at:low])
        at = high
    return "".join([*kept, prompt[at:]])


def _next(steps: list[Step], memory: Memory, told: str) -> int:
    """A step with calls is done when their results are there, one without when it was said."""
    results_left = memory.results
    for number, step in enumerate(steps):
        if calls := len(step.all_calls):
            if results_left < calls:
                return number
            results_left -= calls
        elif number not in memory.said and not _stands_in(told, step.say):
            return number
    return len(steps)


def _stands_in(told: str, text: str) -> bool:
    fixed = max(re.split(r"\{\{\w+\}\}", text), key=len).strip()
    return bool(fixed) and f"[Assistant]\n{fixed}" in told


def _filled(text: str, memory: Memory) -> str:
    return text.replace("{{last_result}}", memory.last_result).replace("{{results}}", str(memory.results))


# -- writing ----------------------------------------------------------------------------------------------------
def _written(step: Step, memory: Memory, *, flaw: str) -> str:
    said = _filled(step.say, memory)
    if not step.all_calls:
        return said
    if not memory.nonce:
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
