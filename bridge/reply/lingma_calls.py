"""Tool calls of Lingma's own agent, as a client sees them: it must never run again what has run already."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import msgspec

from bridge.chat.events import ChatEvent, LingmaToolCall, TextDelta, ToolCallDelta, ToolCallEnded, ToolCallStarted
from bridge.chat.request import Tool
from gateway_project.lib.json_errors import UNREADABLE

LINE_CHARS: Final = 400
_UNNAMED = "tool"
# The characters of both vendors' own ids; a call with any other id gets a new one.
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class _Shown(msgspec.Struct):
    """What the client knows of one call."""

    call: LingmaToolCall
    opened: bool = False
    closed: bool = False


class LingmaCalls:
    """Feed what becomes known of calls, in the order of its arrival; `end()` returns what is still due.

    A call that Lingma has run, or that was denied, failed or cancelled, appears in the `shown` way: one line of
    text for the call and one for its result, nothing, or the call alone. A call of one of the client's own tools that
    Lingma has not run is sent as a call, and then `waiting`: the client has to run it.

    Where the client demands one tool (`forced`), a call of another is not its to run and appears in text, if at all;
    where it wants one call at a time, so do the others once one waits.

    A client that has to run one call runs them all, so calls that Lingma has run are sent as calls only where none can
    wait any more: when the client declared no tools, or at the end. If one waits, they are sent as text before it.
    """

    def __init__(
        self,
        shown: Literal["text", "omit", "calls"],
        tools: Sequence[Tool],
        new_id: Callable[[], str],
        *,
        forced: Tool | None = None,
        parallel: bool = True,
    ) -> None:
        self.waiting = False
        # A call that ran beside the one demanded would look to the client like the model's answer to `tool_choice`.
        self._shown = "text" if forced is not None and shown == "calls" else shown
        self._tools = {tool.name: tool for tool in tools if forced is None or tool.name == forced.name}
        self._parallel = parallel
        self._new_id = new_id
        self._calls: dict[str | int, _Shown] = {}
        self._ids: set[str] = set()

    def feed(self, call: LingmaToolCall) -> list[ChatEvent]:
        shown = self._calls.get(call.id) if call.id else None
        if shown is None:
            shown = _Shown(call)
            self._calls[call.id or len(self._calls)] = shown
        # Each piece replaces the one before: the connection has merged what is known (PROTOCOL 17.5).
        shown.call = call
        return self._emit(shown, last=False)

    def end(self) -> list[ChatEvent]:
        """The turn is over: nothing more will be known of any call."""
        due = sorted(
            self._calls.values(), key=lambda shown: not self._waits(shown)
        )  # what waits decides how the rest is sent
        return [event for shown in due for event in self._emit(shown, last=True)]

    def _emit(self, shown: _Shown, *, last: bool) -> list[ChatEvent]:
        if shown.closed:
            return []
        tool = self._tools.get(shown.call.name)
        if tool is not None and self._waits(shown):
            may = self._parallel or not self.waiting
            return self._hand_over(shown, tool, last=last) if may else []
        # Once a call waits, the client acts on the reply at once: nothing may follow it.
        if self.waiting or self._shown == "omit":
            return []
        return self._lines(shown, last=last) if self._shown == "text" else self._call(shown, tool, last=last)

    def _waits(self, shown: _Shown) -> bool:
        """Whether it is the client's to run, and nothing of it has been sent."""
        return shown.call.name in self._tools and not shown.opened and _is_the_clients(shown.call)

    def _hand_over(self, shown: _Shown, tool: Tool, *, last: bool) -> list[ChatEvent]:
        """A call for the client to run, as soon as its arguments are known."""
        # Empty arguments may be completed by a later event of the same call.
        if shown.call.input == b"{}" and shown.call.state in ("pending", "running") and not last:
            return []
        before = [] if self.waiting or self._shown == "omit" else self._executed_before()
        shown.opened = shown.closed = self.waiting = True
        return [*before, *self._as_call(shown.call, tool)]

    def _executed_before(self) -> list[ChatEvent]:
        """What has run or never will, as text."""
        over = [each for each in self._calls.values() if _is_over(each.call) or each.call.denied]
        return [
            event for each in over if not (each.closed or self._waits(each)) for event in self._lines(each, last=True)
        ]

    def _call(self, shown: _Shown, tool: Tool | None, *, last: bool) -> list[ChatEvent]:
        # A client with tools might run it again, so it waits for the end: then it is sure whether one waits.
        if not (last or (_is_complete(shown.call) and not self._tools)):
            return []
        shown.opened = shown.closed = True
        return self._as_call(shown.call, tool)

    def _lines(self, shown: _Shown, *, last: bool) -> list[ChatEvent]:
        call, lines = shown.call, []
        certain = (
            _is_over(call) if call.name in self._tools else _is_complete(call)
        )  # it may yet be the client's to run
        if not shown.opened and (last or certain):
            shown.opened = True
            lines.append(_line(f"[tool {call.name} ", call.input.decode("utf-8", "replace")))
        if shown.opened and (last or _is_over(call)):
            shown.closed = True
            lines.append(_line(f"[result of {call.name}: ", _outcome(call)))
        return [TextDelta("\n" + "".join(lines))] if lines else []

    def _as_call(self, call: LingmaToolCall, tool: Tool | None) -> list[ChatEvent]:
        id_ = call.id if _SAFE_ID.fullmatch(call.id) and call.id not in self._ids else self._new_id()
        self._ids.add(id_)
        if tool is None:
            started, arguments = ToolCallStarted(id_, call.name), call.input.decode()
        else:
            started = ToolCallStarted(id_, tool.wire_name or tool.name, tool.namespace, tool.custom)
            arguments = _plain_input(call.input) if tool.custom else call.input.decode()
        return [started, *([ToolCallDelta(arguments)] if arguments else []), ToolCallEnded()]


def _is_the_clients(call: LingmaToolCall) -> bool:
    """Whether a call of a tool the client declared is the client's to run: the service has not run it, as far as known.

    After a denial the service calls it cancelled or failed; while it runs undenied, it is the service that runs it.
    """
    # What ran once must never run again, whoever claims the call.
    if call.result or call.state == "finished":
        return False
    if call.denied or call.runner == "client":
        return True
    return call.state == "pending" and call.runner != "service"


def _is_complete(call: LingmaToolCall) -> bool:
    """Name and arguments are there, or will not come any more."""
    return (call.name != _UNNAMED and call.input != b"{}") or _is_over(call)


def _is_over(call: LingmaToolCall) -> bool:
    return call.state in ("finished", "failed", "cancelled")


def _outcome(call: LingmaToolCall) -> str:
    """How the call ended, for people; nothing is made up where the service reported nothing."""
    detail = f": {call.error}" if call.error else ""
    if call.denied and not call.result:
        return "denied by the gateway, not run"
    if call.state in ("failed", "cancelled"):
        return call.state + detail
    if call.result:
        return _readable(call.result)
    return "finished, nothing was reported" if call.state == "finished" else "none was reported"


def _readable(result: bytes) -> str:
    """The text of a result that is nothing but text, else its JSON."""
    # Tools of the service wrap their text in a list and an object under `content`.
    value = _decoded(result)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict) and len(value) == 1 and isinstance(value.get("content"), str):
        value = value["content"]
    return value if isinstance(value, str) else result.decode("utf-8", "replace")


def _plain_input(arguments: bytes) -> str:
    """What a custom tool is given: plain text."""
    value = _decoded(arguments)
    text = value.get("input") if isinstance(value, dict) else None
    return text if isinstance(text, str) else arguments.decode()


def _decoded(json: bytes) -> Any:
    try:
        return msgspec.json.decode(json)
    except UNREADABLE:
        return None


def _line(head: str, text: str) -> str:
    """One line of at most LINE_CHARS and its end."""
    # Cut before it is split: results can be megabytes.
    flat = " ".join((head + text[: 4 * LINE_CHARS]).split())
    return f"{flat}]\n" if len(flat) < LINE_CHARS else f"{flat[: LINE_CHARS - 2]}…]\n"
