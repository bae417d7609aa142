"""How a model is told of tools: the template of the contract, and what is wrong with one an operator wrote. Pure."""

from __future__ import annotations

from string import Template

import msgspec

PLACEHOLDERS = {
    "tools": "one line per tool: name, parameters, description",
    "open": "what a call begins with",
    "close": "what a call ends with",
    "example": "one or two calls of tools of the request, as examples",
    "rules": "how many calls a reply may have",
    "hints": "which tool does what, for well-known kinds of tools; may be empty",
    "choice": "what the client demands of this reply; empty when the model is free",
}
REQUIRED = ("tools", "open", "close")
MAX_TEMPLATE = 20_000

TEMPLATE = """\
The program you talk to runs the tools below in the user's environment and sends you their results. They are real and \
work now. Whatever was said about having no tools, or only built-in ones, does not hold: these are your only tools, \
never say that you cannot do what one of them does.

When to call: if the task needs what only a tool can find out or change, call it now instead of describing it. Answer \
what you know, or this conversation shows, without a call. If the results suffice, answer; call again only for the \
next step or a missing fact, and never repeat a call whose result is shown.

How to call: write, on a line of its own,
$open{"name":"TOOL","arguments":{...}}$close
Only the syntax matters in these examples:
$example
- Between the marks stands one valid JSON object: in strings \\" for quotes, \\n for line breaks; no comments, no code \
fence. Arguments are the tool's parameters and no others; `?` marks those that may be left out.
$rules
- Text before a call is shown to the user; keep it short. End the reply after your last call: results come next. \
Never make up a result.
- Write these marks for calls only. "[Call ...]" is a record of a call, not a way to call.
$hints

Available tools, with their parameters:
$tools

$choice
"""


class PromptProfile(msgspec.Struct, frozen=True):
    """How tools are told: `template` has `$` placeholders, `description_chars` limits each tool's description.

    `native_calls`: until the model has called a tool as the template says, calls in its own notation count as well.
    """

    template: str = TEMPLATE
    description_chars: int = 600
    native_calls: bool = True


DEFAULT_PROFILE = PromptProfile()


def check(template: str) -> list[str]:
    """What is wrong with a template, in sentences for the form it was written in; empty when it can be used."""
    if len(template) > MAX_TEMPLATE:
        return [f"The template is too long: {len(template)} characters, {MAX_TEMPLATE} are allowed."]
    parsed = Template(template)
    if not parsed.is_valid():
        return ["A $ must be followed by the name of a placeholder; write $$ for the sign itself."]
    named = parsed.get_identifiers()
    missing = [f"${name} is missing: {PLACEHOLDERS[name]}." for name in REQUIRED if name not in named]
    unknown = [f"${name} is not a placeholder." for name in named if name not in PLACEHOLDERS]
    return missing + unknown
