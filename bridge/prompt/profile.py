"""The template of tool instructions, and what is wrong with one that an operator wrote. Pure."""

from __future__ import annotations

from string import Template

import msgspec

from gateway_project.lib.texts import Text, gettext_noop

PLACEHOLDERS = {
    "tools": gettext_noop("one line per tool: name, parameters, description"),
    "open": gettext_noop("what a call begins with"),
    "close": gettext_noop("what a call ends with"),
    "example": gettext_noop("one or two calls of tools of the request, as examples"),
    "rules": gettext_noop("how many calls a reply may have"),
    "hints": gettext_noop("which tool does what, for well-known kinds of tools; may be empty"),
    "choice": gettext_noop("what the client demands of this reply; empty when the model is free"),
}
# Without these three no call could be made: what there is, and the two marks around a call.
REQUIRED = ("tools", "open", "close")
MAX_TEMPLATE = 20_000

# "Whatever was said about having no tools": agent mode's hidden prompt may deny them (PROTOCOL 14.5, no. 10).
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
    """How tools are described: `template` has `$` placeholders, `description_chars` limits each tool's description.

    `native_calls`: until the model has called a tool as the template says, calls in its own notation count as well.
    """

    template: str = TEMPLATE
    description_chars: int = 600
    native_calls: bool = True


DEFAULT_PROFILE = PromptProfile()


TOO_LONG = gettext_noop("The template is too long: %(length)d characters, %(most)d are allowed.")
LONE_DOLLAR = gettext_noop("A $ must be followed by the name of a placeholder; write $$ for the sign itself.")
MISSING = gettext_noop("$%(name)s is missing: %(what)s.")
UNKNOWN = gettext_noop("$%(name)s is not a placeholder.")


# The texts are marked here and translated where they are shown: this module is pure and knows no language.
def check(template: str) -> list[Text]:
    """What is wrong with a template, in sentences for the form it was written in; empty when it can be used."""
    if len(template) > MAX_TEMPLATE:
        return [Text(TOO_LONG, length=len(template), most=MAX_TEMPLATE)]
    # Checked when the form is saved: the operator sees the faults there, and no turn meets them later.
    parsed = Template(template)
    if not parsed.is_valid():
        return [Text(LONE_DOLLAR)]
    named = parsed.get_identifiers()
    missing = [Text(MISSING, name=name, what=Text(PLACEHOLDERS[name])) for name in REQUIRED if name not in named]
    unknown = [Text(UNKNOWN, name=name) for name in named if name not in PLACEHOLDERS]
    return missing + unknown
