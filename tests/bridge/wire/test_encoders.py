"""What holds for the encoders of every format."""

import json
import re
from itertools import zip_longest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.chat.events import TextDelta
from bridge.chat.fold import fold
from bridge.wire import sse
from bridge.wire.anthropic import format as anthropic
from bridge.wire.openai import format as openai_chat
from bridge.wire.responses.encoder import ResponsesReply
from tests.bridge.wire.strategies import turns
from tests.bridge.wire.turns import CHAT, CHAT_WITH_USAGE, GOOD_TURNS, HEAD, MESSAGES, TURNS, every_error, reply

REPLIES = {"openai_chat": CHAT, "anthropic": MESSAGES}
FORMATS = {"openai_chat": openai_chat.FORMAT, "anthropic": anthropic.FORMAT}
formats = pytest.mark.parametrize("name", FORMATS)


@pytest.mark.parametrize("turn", TURNS)
@formats
def test_stream_bytes_are_golden(name, turn, assert_golden):
    assert_golden(f"{name}/{turn}.sse", REPLIES[name].encoder(HEAD).feed(TURNS[turn]))


@pytest.mark.parametrize("turn", TURNS)
def test_stream_bytes_with_usage_are_golden(turn, assert_golden):
    assert_golden(f"openai_chat/{turn}.usage.sse", CHAT_WITH_USAGE.encoder(HEAD).feed(TURNS[turn]))


@formats
def test_whole_reply_bytes_are_golden(name, assert_golden):
    assert_golden(f"{name}/whole.json", REPLIES[name].whole(HEAD, reply()) + b"\n")


@pytest.mark.parametrize("turn", [turn for turn in GOOD_TURNS if re.search("call|cut|thinking", turn)])
@formats
def test_whole_reply_bytes_with_calls_thinking_are_golden(name, turn, assert_golden):
    assert_golden(f"{name}/{turn}.json", REPLIES[name].whole(HEAD, fold(TURNS[turn])) + b"\n")


@formats
def test_error_bodies_are_golden(name, assert_golden):
    told = [b"%s %d %s\n" % (type(e).__name__.encode(), *FORMATS[name].error(e, "9b1c")) for e in every_error()]
    assert_golden(f"{name}/errors.txt", b"".join(told))


@formats
@settings(deadline=None)
@given(events=turns(), cuts=st.lists(st.booleans(), max_size=40))
def test_batches_of_events_make_no_difference(name, events, cuts):
    encoder = REPLIES[name].encoder(HEAD)
    pieces, batch = [], []
    for event, cut in zip_longest(events, cuts[: len(events)], fillvalue=False):
        batch.append(event)
        if cut:
            pieces.append(encoder.feed(batch))
            batch = []
    pieces.append(encoder.feed(batch))
    assert b"".join(pieces) == REPLIES[name].encoder(HEAD).feed(events)


@pytest.mark.parametrize("asked", [CHAT, CHAT_WITH_USAGE, MESSAGES, ResponsesReply()])
@settings(deadline=None)
@given(events=turns())
def test_text_alone_is_encoded_as_any_event(asked, events):
    encoder, other = asked.encoder(HEAD), asked.encoder(HEAD)
    for event in events:
        alone = encoder.text(event.text) if isinstance(event, TextDelta) else encoder.feed([event])
        assert alone == other.feed([event])


@pytest.mark.parametrize("turn", ["calls", "text_after_a_call", "thinking"])
@formats
def test_pitfall_25_pieces_are_sent_at_once(name, turn):
    encoder = REPLIES[name].encoder(HEAD)
    told = [(getattr(event, "text", ""), encoder.feed([event])) for event in TURNS[turn]]
    assert (
        sum(sse.json_text(text) in stream for text, stream in told if text) == sum(bool(text) for text, _ in told) > 2
    )


@formats
def test_empty_batch_makes_no_bytes(name):
    assert REPLIES[name].encoder(HEAD).feed([]) == b""


@formats
def test_pitfall_18_errors_are_json_with_a_message(name):
    for error in every_error():
        status, body = FORMATS[name].error(error, "9b1c")
        assert 400 <= status < 600
        assert json.loads(body)["error"]["message"]
