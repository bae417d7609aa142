"""What is kept of a turn whose key has content logging: the neutral request, and the events that were sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Iterable
from typing import Final, NamedTuple

from accounts.content.cut import after_gap, before_gap, cut, longest_each
from accounts.content.turn_content import MadeCall, Picture, Piece, PieceKind, StoredMessage, TurnContent
from bridge.chat.events import ChatEvent, Failed, TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from bridge.chat.request import ChatRequest, Message
from bridge.turn.output import Batch, Emit

MOST: Final = 128 << 10
"""Characters of the request, and as many of the reply."""
HALF: Final = MOST // 2
FIRST_MESSAGES: Final = 100
LAST_MESSAGES: Final = 300
MOST_PARTS: Final = 20
"""Images, and calls, of a message."""
MOST_TOOLS: Final = 200
LONGEST_NAME: Final = 64
BLOCK: Final = 1024
"""Characters that are joined before they are stored."""
OVERHEAD: Final = 64
"""What a stored block counts besides its text: pieces may be of one character."""


class Block(NamedTuple):
    """Text of one part of the reply; `begins` the part."""

    kind: PieceKind
    name: str
    text: str
    begins: bool


class ReplyLog:
    """The beginning and the end of a reply. What it takes of memory is bounded, whatever the reply."""

    def __init__(self) -> None:
        self._head: list[Block] = []
        self._head_room = HALF
        self._head_is_cut: bool | None = None  # None: nothing stands behind it yet
        self._tail: deque[Block] = deque()
        self._tail_size = 0
        self._left_out = 0
        self._kind: PieceKind | None = None
        self._name = ""
        self._begins = True
        self._gathered: list[str] = []
        self._gathered_size = 0

    def add(self, batch: Iterable[ChatEvent]) -> None:
        for event in batch:
            match event:
                case TextDelta():
                    self._append("text", event.text)
                case ThinkingDelta():
                    self._append("thinking", event.text)
                case ToolCallDelta():
                    self._append("call", event.text)
                case ToolCallStarted():
                    self._begin("call", event.name)
                case Failed():
                    self._begin("error")
                    self._append("error", event.error.message)
                case _:
                    pass

    def pieces(self) -> list[Piece]:
        """The reply as far as it came."""
        self._store()
        head = _joined(self._head)
        if not self._left_out:
            return _joined([*self._head, *self._tail])
        tail = _joined(self._tail)
        if head and self._head_is_cut:
            head[-1].text = before_gap(head[-1].text)
        if tail and not self._tail[0].begins:
            tail[0].text = after_gap(tail[0].text)
        return [*head, Piece("gap", left_out=self._left_out), *tail]

    def _begin(self, kind: PieceKind, name: str = "") -> None:
        self._store()
        self._kind, self._name, self._begins = kind, name[:LONGEST_NAME], True

    def _append(self, kind: PieceKind, text: str) -> None:
        if kind != self._kind:
            self._begin(kind)
        self._gathered.append(text)
        self._gathered_size += len(text)
        if self._gathered_size >= BLOCK:
            self._store()

    def _store(self) -> None:
        if self._kind is None or not (self._gathered or self._begins):
            return
        text = "".join(self._gathered)
        self._gathered.clear()
        self._gathered_size = 0
        begins, self._begins = self._begins, False
        if (room := self._head_room - OVERHEAD) > 0:
            self._head.append(Block(self._kind, self._name, text[:room], begins))
            self._head_room -= min(len(text), room) + OVERHEAD
            if len(text) <= room:
                return
            # A reply that comes whole is one piece, of any length.
            text, begins = text[room:], False
        if self._head_is_cut is None:
            self._head_is_cut = not begins
        self._head_room = 0  # what follows is no beginning any more
        self._put_behind(Block(self._kind, self._name, text[-HALF:], begins and len(text) <= HALF))
        self._left_out += max(0, len(text) - HALF)

    def _put_behind(self, block: Block) -> None:
        self._tail.append(block)
        self._tail_size += len(block.text) + OVERHEAD
        while self._tail_size > HALF + OVERHEAD:
            lost = self._tail.popleft()
            self._tail_size -= len(lost.text) + OVERHEAD
            self._left_out += len(lost.text)


def _joined(blocks: Iterable[Block]) -> list[Piece]:
    pieces: list[Piece] = []
    texts: list[list[str]] = []
    for block in blocks:
        if block.begins or not pieces or pieces[-1].kind != block.kind:
            pieces.append(Piece(block.kind, name=block.name))
            texts.append([])
        texts[-1].append(block.text)
    for piece, parts in zip(pieces, texts, strict=True):
        piece.text = "".join(parts)
    return pieces


def keeping(emit: Emit, reply: ReplyLog) -> Emit:
    """Also log what is sent."""

    def keep(batch: Batch) -> Awaitable[None]:
        reply.add(batch)
        return emit(batch)

    return keep


def content_of(request: ChatRequest, reply: ReplyLog) -> TurnContent:
    """Bounded, but with whatever secrets people have pasted."""
    first, last = request.messages, request.messages[:0]
    left_out = len(first) - FIRST_MESSAGES - LAST_MESSAGES
    if left_out > 0:
        first, last = first[:FIRST_MESSAGES], first[-LAST_MESSAGES:]
    most = longest_each([size for message in (*first, *last) for size in _sizes(message)], MOST)
    said = [_said(message, most) for message in first]
    if left_out > 0:
        said += [StoredMessage("gap", left_out=left_out), *(_said(message, most) for message in last)]
    tools = [(tool.wire_name or tool.name)[:LONGEST_NAME] for tool in request.tools[:MOST_TOOLS]]
    return TurnContent(said, tools, reply.pieces())


def _sizes(message: Message) -> list[int]:
    return [len(message.text), *(len(call.arguments) for call in message.tool_calls[:MOST_PARTS])]


def _said(message: Message, most: int) -> StoredMessage:
    return StoredMessage(
        message.role,
        cut(message.text, most),
        [_picture(url) for url in message.images[:MOST_PARTS]],
        [
            MadeCall(call.id[:LONGEST_NAME], call.name[:LONGEST_NAME], cut(call.arguments, most))
            for call in message.tool_calls[:MOST_PARTS]
        ],
        message.tool_call_id[:LONGEST_NAME],
    )


def _picture(url: str) -> Picture:
    if not url.startswith("data:"):
        return Picture()
    comma = url.find(",", 0, 256)
    type_ = url[5 : max(comma, 5)].partition(";")[0][:LONGEST_NAME]
    return Picture(type_, max(0, len(url) - comma - 1) * 3 // 4 - url[-2:].count("="))
