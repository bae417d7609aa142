"""What a client asks for, independent of any public format."""

from __future__ import annotations

from typing import Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]
AskMode = Literal["chat", "agent"]
ToolMode = Literal["emulate", "bridge", "forward"]
ToolNotation = Literal["openai", "anthropic"]


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """A call the assistant made earlier. `arguments` is JSON text, valid or not, as the client sent it.

    `name` is the tool's `Tool.name`. With a custom tool, `arguments` is the plain text it was given.
    """

    id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True):
    """
    One message of the conversation, its parts joined to text (`[image]`, `[audio]` stand for the rest).

    `tool_calls` only with role assistant, `tool_call_id` and `is_error` only with role tool (then `text` is the
    result). `images` are `data:` or `http(s):` URLs, in the order in which `[image]` stands for them in the text.
    """

    role: Role
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    is_error: bool = False
    images: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    """What of the message is not passed on, such as a PDF: named to the client, never to the model."""


# frozen, so it can be hashed: what is made of a request's tools is cached under the tuple of them.
class Tool(msgspec.Struct, frozen=True):
    """A tool of the client. `name` is for the model, `wire_name` within `namespace` for the client."""

    name: str
    description: str = ""
    schema: bytes = b""
    """JSON schema of the arguments as the client sent it; empty for none. A custom tool has none."""
    wire_name: str = ""
    """Empty: the same as `name`."""
    namespace: str = ""
    """Responses only."""
    custom: bool = False
    """The tool takes one plain text instead of JSON arguments."""


class ToolChoice(msgspec.Struct, frozen=True, gc=False):
    """Whether a tool must be called; `name` is the `Tool.name` with mode `named`."""

    mode: Literal["auto", "none", "required", "named"] = "auto"
    name: str = ""

    @property
    def must_call(self) -> bool:
        return self.mode in ("required", "named")


AUTO = ToolChoice()


class ClientIds(msgspec.Struct, frozen=True, gc=False):
    """By which ids the client calls itself and its conversation."""

    values: tuple[str, ...] = ()
    """Each with the name under which it came."""
    proven: bool = False
    """One of them names this conversation, and nobody else can know it."""
    proven_by: str = ""
    """The agent (a family of User-Agents) of which that is true, where others may send the same with a constant."""


NOBODY = ClientIds()


class ChatRequest(msgspec.Struct, frozen=True):
    """One turn to run. `model` is the name the client used; limits are None or empty when not asked for."""

    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    tooling: bool = False
    """Tools, a tool choice, or tool turns in the history are present."""
    tools: tuple[Tool, ...] = ()
    """Those the client runs itself; hosted tools of the vendors are left out."""
    left_out: tuple[str, ...] = ()
    """Types of tools that the client runs and that cannot be described to the model: named to the client, never to the
    model.
    """
    tool_choice: ToolChoice = AUTO
    parallel_tool_calls: bool = True
    thinking: bool | None = None
    """Whether the client wants the reasoning; None: it did not say."""
    reply_schema: bytes = b""
    """JSON schema the whole reply must follow, `{}` for any JSON object; empty: plain text."""
    call_id_prefix: str = "call_"
    """How the ids of new calls begin, as the client knows them."""
    tool_notation: ToolNotation = "openai"
    """In which of the notations that Lingma knows tools are handed to its own agent (PROTOCOL 17.3)."""
    can_show_executed_calls: bool = True
    """A reply can hold calls that have run already beside those that the client must run."""
    returns_call_ids: bool = True
    """The client sends the ids of calls back with them."""
    ids: ClientIds = NOBODY

    @property
    def forced_tool(self) -> Tool | None:
        """The one tool that must be called, if it is one of the request's."""
        choice = self.tool_choice
        # A client may name a tool that it did not send. Then nothing is forced, and the prompt still carries the
        # demand.
        return next((tool for tool in self.tools if tool.name == choice.name), None) if choice.mode == "named" else None
