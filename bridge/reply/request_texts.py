"""All that a request says in words: what a call must not stand in to be the model's own. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from bridge.chat.request import ChatRequest, Message, Tool
from bridge.reply.calls.pauses import STEP
from gateway_project.lib.json_errors import UNREADABLE

# Values a schema may show as JSON: an example of a call could stand there.
_SHOWN = frozenset(("default", "examples", "example", "enum", "const"))
_APART = "\0"
"""Between texts that do not follow each other in the prompt."""


def texts_of(request: ChatRequest) -> Iterator[str]:
    """
    Messages, descriptions of tools, and what schemas say, in the order of the prompt; then the results of calls once
    more, for a text may be spread over several.

    Names of tools and parameters are no harm: every call has some. The model's earlier calls are not among the texts,
    for it may repeat them; but the strings that it wrote into them are.
    """
    return _gathered(_all_of(request))


def _all_of(request: ChatRequest) -> Iterator[str]:
    for message in request.messages:
        yield message.text
    results = [message.text for message in request.messages if message.role == "tool"]
    # No quotation reaches across it, so two unrelated texts cannot make one by accident.
    yield _APART
    # A stranger could spread a call over two results, between which the prompt has a heading.
    yield from results if len(results) > 1 else ()
    yield _APART
    yield from _of_calls(request.messages)
    yield _APART
    yield from _of_tools(request.tools)
    yield _APART
    yield from _of_json(request.reply_schema, _SHOWN)


def _of_calls(messages: Sequence[Message]) -> Iterator[str]:
    for message in messages:
        for call in message.tool_calls:
            yield from _of_json(call.arguments)


def _of_tools(tools: Iterable[Tool]) -> Iterator[str]:
    for tool in tools:
        yield tool.description
        yield from _of_json(tool.schema, _SHOWN)


def _of_json(text: bytes | str, shown: frozenset[str] = frozenset()) -> Iterator[str]:
    """The strings of a JSON value, and as JSON what stands under the keys `shown`; what is no JSON is one string."""
    try:
        nodes: list[Any] = [msgspec.json.decode(text)] if text else []
    except UNREADABLE:
        nodes = [text if isinstance(text, str) else text.decode("utf-8", "replace")]
    while nodes:
        node = nodes.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, list):
            # A stack and no recursion: the depth is the client's. Reversed, so that the order of the document is kept.
            nodes += reversed(node)
        elif isinstance(node, dict):
            # Names of members are text of the client too.
            yield from node
            nodes += reversed(node.values())
            yield from (msgspec.json.encode(node[key]).decode() for key in shown & node.keys())


def _gathered(texts: Iterable[str]) -> Iterator[str]:
    """Short ones on lines of one text."""
    lines: list[str] = []
    size = 0
    for text in texts:
        # Joined by line breaks, which the comparison ignores like all white space.
        lines.append(text)
        size += len(text) + 1
        if size > STEP:
            yield "\n".join(lines)
            lines, size = [], 0
    if lines:
        yield "\n".join(lines)
