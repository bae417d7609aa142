"""What web processes say to each other survives the way."""

import msgspec
import pytest

from bridge.chat.errors import ContextFull, GatewayError, RateLimited, UpstreamTimeout
from bridge.chat.events import KeepAlive, LingmaToolCall, Overwritten, TextDelta, ThinkingDelta
from bridge.chat.request import Tool, ToolChoice
from bridge.lingma.dialects.base import Ask, AskTools, LoggedUsage
from bridge.lingma.errors import UploadFailed
from bridge.lingma.tools.policy import Decision
from bridge.siblings.messages import (
    Ended,
    FromBorrower,
    FromLender,
    Pieces,
    Question,
    error_of,
    failure_of,
    pack_pieces,
    unpack_piece,
)

decode = msgspec.msgpack.Decoder(FromLender).decode


def sent(message):
    return decode(msgspec.msgpack.encode(message))


@pytest.mark.parametrize(
    "error",
    [
        GatewayError("a", param=("messages", 0, "content"), code="c", details={"x": 1}, reason="r", allowed=3, value=4),
        RateLimited("通义灵码", retry_after=7),
        ContextFull(10, 5),
        UpstreamTimeout("silent"),
        UploadFailed("no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_arrives_as_it_was(error):
    arrived = error_of(sent(Ended(1, failure=failure_of(error))).failure)
    assert type(arrived) is type(error)
    assert (str(arrived), vars(arrived)) == (str(error), vars(error))


def test_pieces_arrive_unchanged_without_keepalives():
    call = LingmaToolCall("c1", "read", b'{"a":1}', "finished", b'"x"', denied=True, runner="client")
    pieces = [TextDelta("é"), ThinkingDelta("hm"), call, Overwritten("new")]
    arrived = sent(Pieces(7, pack_pieces([*pieces, KeepAlive()]), [Decision("rm", allowed=False)]))
    assert [unpack_piece(each) for each in arrived.pieces] == pieces
    assert arrived.decisions == [Decision("rm", allowed=False)]


def test_question_arrives_with_its_tools():
    tool = Tool("read", "Read a file", b'{"type":"object"}')
    question = Question(
        1, 2, Ask("r1", "s1", "Hi", "m", tools=AskTools("openai", (tool,), ToolChoice("named", "read")))
    )
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(question), type=FromBorrower) == question


def test_end_of_turn_arrives_with_its_figures():
    ended = Ended(3, "s1", usage=LoggedUsage("r", 5, 6))
    arrived = sent(ended)
    assert (arrived.session_id, arrived.failure, arrived.late) == ("s1", None, False)
    assert (arrived.usage.prompt_tokens, arrived.usage.completion_tokens) == (5, 6)
