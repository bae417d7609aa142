"""
Tools and tool choice in OpenAI's notation, in Chat Completions and in Responses.

Both notations are read in both places: nested (`{"type":"function","function":{"name":…}}`) and flat
(`{"type":"function","name":…}`). Hosted tools, which a vendor would run, are left out: nobody runs them here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from bridge.chat.request import AUTO, Tool, ToolChoice
from bridge.wire.bodies import FieldError, Path, decode, remembered, schema_at, text_at, type_name
from bridge.wire.bounds import MOST_TOOLS, at_most, shown, tool_name_at
from bridge.wire.vendor_tools import ReadTools, is_client_run

MODES = {
    "auto": AUTO,
    "none": ToolChoice("none"),
    "required": ToolChoice("required"),
    "any": ToolChoice("required"),
}
OWN = ("function", "custom")
"""Types of tools that the client runs itself."""
DEEPEST = 4
"""Namespaces in one another: each level is read once more than the one around it."""


class ToolSelection(msgspec.Struct, frozen=True):
    """What the model may call, and whether it must."""

    tools: tuple[Tool, ...] = ()
    choice: ToolChoice = AUTO
    left_out: tuple[str, ...] = ()
    """As in ChatRequest."""


class _Format(msgspec.Struct, gc=False):
    type: str | None = None
    syntax: str | None = None
    definition: str | None = None
    grammar: _Grammar | None = None


class _Grammar(msgspec.Struct, gc=False):
    syntax: str | None = None
    definition: str | None = None


class _Spec(msgspec.Struct, gc=False):
    name: str | None = None
    description: str | None = None
    parameters: msgspec.Raw = msgspec.Raw()
    format: _Format | None = None


class _Tool(_Spec, gc=False):
    type: str | None = None
    function: _Spec | None = None
    custom: _Spec | None = None
    tools: list[msgspec.Raw] | None = None


# A hosted tool's other fields are its vendor's business: nothing of it is looked at but this.
class _Kind(msgspec.Struct, gc=False):
    type: str | None = None


_KIND = msgspec.json.Decoder(_Kind)
_TOOL = msgspec.json.Decoder(_Tool)
_SPEC = msgspec.json.Decoder(_Spec)


def namespaced(namespace: str, name: str) -> str:
    """The name by which the model knows a tool of a namespace (`Tool.name`)."""
    return f"{namespace}__{name}" if namespace else name


def read_tools(items: Sequence[msgspec.Raw] | None, at: Path = ("tools",), *, nested: bool = True) -> ReadTools:
    """The tools that the client runs itself. `nested` says where a name is missed if there is none at all.

    Raise a FieldError for one without a name, of a wrong type, or named like another.
    """
    at_most(MOST_TOOLS, items or (), at)
    # Plain bytes, as msgspec's Raw has no hash to be remembered by.
    return _read_tools(tuple(map(bytes, items or ())), at, nested)


@remembered
def _read_tools(items: tuple[bytes, ...], at: Path, nested: bool) -> ReadTools:
    left_out: list[str] = []
    return ReadTools(_unique(_tools(items, at, "", left_out, nested=nested)), tuple(left_out))


def read_functions(items: Sequence[msgspec.Raw] | None, at: Path = ("functions",)) -> tuple[Tool, ...]:
    at_most(MOST_TOOLS, items or (), at)
    specs = ((decode(_SPEC, item, (*at, index)), (*at, index)) for index, item in enumerate(items or ()))
    return _unique((_tool(spec, path), path) for spec, path in specs)


def selection_of(choice: Any, declared: bool, read: ReadTools) -> ToolSelection:
    """The choice among the tools that were read. Raise a FieldError as `read_choice` does."""
    selection = read_choice(choice, declared, read.tools)
    return msgspec.structs.replace(selection, left_out=read.left_out) if read.left_out else selection


def read_choice(choice: Any, declared: bool, tools: tuple[Tool, ...], at: Path = ("tool_choice",)) -> ToolSelection:
    """Which of the tools are offered, and whether one must be called.

    `choice` is the decoded field, `declared` whether the request lists tools at all, hosted ones included. Raise a
    FieldError for what is no choice, names a tool that is not there, or demands a call when there is nothing to call.
    """
    match choice:
        case None:
            return ToolSelection(tools)
        case str() if choice in MODES and choice != "any":
            selection = ToolSelection(tools, MODES[choice])
        case str():
            raise FieldError("invalid_value", at, reason="Supported are: none, auto, required, and an object.")
        case dict():
            selection = _object_choice(choice, tools, at)
        case _:
            raise FieldError("invalid_type", at, expected="a string or an object", got=type_name(choice))
    return _possible(selection, at, declared=declared)


def _tools(
    items: Sequence[bytes | msgspec.Raw] | None,
    at: Path,
    namespace: str,
    left_out: list[str],
    *,
    nested: bool,
    depth: int = 0,
) -> Iterator[tuple[Tool, Path]]:
    for index, item in enumerate(items or ()):
        path = (*at, index)
        kind = decode(_KIND, item, path).type
        if kind in OWN or kind is None:
            # Only now is the whole tool decoded: fields of a hosted one may have any type.
            yield _own(decode(_TOOL, item, path), namespace, path, nested=nested)
        elif kind == "namespace":
            if depth == DEEPEST:
                raise FieldError("invalid_value", path, reason=f"At most {DEEPEST} namespaces may lie in one another.")
            group = decode(_TOOL, item, path)
            name = tool_name_at(group.name, (*path, "name"))
            at_most(MOST_TOOLS, group.tools or (), (*path, "tools"))
            # A namespace in a namespace is read too, but its tools carry the inner name only.
            yield from _tools(group.tools, (*path, "tools"), name, left_out, nested=False, depth=depth + 1)
        elif is_client_run(kind):
            left_out.append(kind)


def _own(tool: _Tool, namespace: str, at: Path, *, nested: bool) -> tuple[Tool, Path]:
    if tool.type is None and tool.name is None and tool.function is tool.custom is None:
        raise FieldError("missing_required_parameter", (*at, "type"))
    # Some clients leave the type out.
    kind = tool.type or ("custom" if tool.custom else "function")
    inner = tool.custom if kind == "custom" else tool.function
    if inner is None and tool.name is None and nested:
        raise FieldError("missing_required_parameter", (*at, kind))
    # So that an error names the field where the client has put it.
    path = at if inner is None else (*at, kind)
    return _tool(inner or tool, path, namespace, custom=kind == "custom"), path


def _tool(spec: _Spec, at: Path, namespace: str = "", *, custom: bool = False) -> Tool:
    name = tool_name_at(spec.name, (*at, "name"))
    return Tool(
        name=namespaced(namespace, name),
        description=(spec.description or "") + _grammar(spec.format),
        schema=b"" if custom else schema_at(spec.parameters, (*at, "parameters")),
        wire_name=name if namespace else "",
        namespace=namespace,
        custom=custom,
    )


def _grammar(form: _Format | None) -> str:
    """A custom tool's input may have to follow a grammar: the model can only know from the description."""
    if form is None or form.type != "grammar":
        return ""
    grammar = form.grammar or form
    return f"\nThe input follows this grammar ({grammar.syntax or 'lark'}):\n{grammar.definition or ''}"


def _unique(tools: Iterator[tuple[Tool, Path]]) -> tuple[Tool, ...]:
    found: dict[str, Tool] = {}
    for tool, at in tools:
        if tool.name in found:
            raise FieldError(
                "invalid_value", (*at, "name"), reason=f"There is another tool named '{shown(tool.name)}'."
            )
        found[tool.name] = tool
        if len(found) > MOST_TOOLS:
            # Checked here once more: namespaces hold tools that the list of the request does not count.
            raise FieldError("invalid_value", at, reason=f"At most {MOST_TOOLS} tools are supported.")
    return tuple(found.values())


def _object_choice(choice: dict[str, Any], tools: tuple[Tool, ...], at: Path) -> ToolSelection:
    kind = text_at(choice.get("type"), (*at, "type"))
    if kind in MODES:
        return ToolSelection(tools, MODES[kind])
    if kind == "allowed_tools":
        return _allowed(choice, tools, at)
    if kind not in OWN:
        raise FieldError("invalid_value", (*at, "type"), reason=f"There is no tool '{shown(kind)}' here.")
    return ToolSelection(tools, ToolChoice("named", _named(choice, kind, _Names(tools), at)))


class _Names:
    """The tools by the names that a choice may give them: one that lists many walks them once."""

    def __init__(self, tools: tuple[Tool, ...]) -> None:
        self._names = {tool.name for tool in tools}
        self._inside: dict[str, str | None] = {}
        for tool in tools:
            if tool.namespace:
                # None where several namespaces have it.
                self._inside[tool.wire_name] = None if tool.wire_name in self._inside else tool.name

    def find(self, wanted: str, namespace: Any) -> str | None:
        """The tool of that name; in a namespace, its own name is enough if no other has it."""
        if isinstance(namespace, str):
            wanted = namespaced(namespace, wanted)
            return wanted if wanted in self._names else None
        # The exact name wins over a tool that has it only inside a namespace.
        return wanted if wanted in self._names else self._inside.get(wanted)


def _named(choice: dict[str, Any], kind: str, names: _Names, at: Path) -> str:
    inner = choice.get(kind)
    found, path = (choice, at) if inner is None and "name" in choice else (inner, (*at, kind))
    if found is None:
        raise FieldError("missing_required_parameter", path)
    if not isinstance(found, dict):
        raise FieldError("invalid_type", path, expected="an object", got=type_name(found))
    wanted = text_at(found.get("name"), (*path, "name"))
    name = names.find(wanted, found.get("namespace"))
    if name is None:
        raise FieldError(
            "invalid_value", (*path, "name"), reason=f"There is no such tool as '{shown(wanted)}' in the request."
        )
    return name


def _allowed(choice: dict[str, Any], tools: tuple[Tool, ...], at: Path) -> ToolSelection:
    inner, path = choice, at
    if isinstance(choice.get("allowed_tools"), dict):
        # Chat Completions nests the list; Responses has it flat.
        inner, path = choice["allowed_tools"], (*at, "allowed_tools")
    mode = inner.get("mode") or "auto"
    if mode not in ("auto", "required"):
        raise FieldError("invalid_value", (*path, "mode"), reason="Supported are: auto and required.")
    listed = inner.get("tools")
    if not isinstance(listed, list):
        raise FieldError("invalid_type", (*path, "tools"), expected="an array", got=type_name(listed))
    # Tools that are not allowed are not offered at all: a prompt cannot forbid a call for sure.
    names, groups = _listed(listed, _Names(tools), (*path, "tools"))
    allowed = tuple(tool for tool in tools if tool.name in names or tool.namespace in groups)
    return ToolSelection(allowed, MODES[mode])


def _listed(listed: list[Any], offered: _Names, at: Path) -> tuple[set[str], set[str]]:
    """The names of the tools that are listed, and of the namespaces."""
    names, groups = set[str](), set[str]()
    for index, entry in enumerate(listed):
        path = (*at, index)
        if not isinstance(entry, dict):
            raise FieldError("invalid_type", path, expected="an object", got=type_name(entry))
        kind = text_at(entry.get("type"), (*path, "type"))
        if kind in OWN:
            names.add(_named(entry, kind, offered, path))
        elif kind == "namespace" and isinstance(name := entry.get("name"), str) and name:
            groups.add(name)
    return names, groups


def _possible(selection: ToolSelection, at: Path, *, declared: bool) -> ToolSelection:
    if not selection.choice.must_call or selection.tools:
        return selection
    reason = "None of the tools can be called here." if declared else "It is only allowed when tools are given."
    raise FieldError("invalid_value", at, reason=reason)
