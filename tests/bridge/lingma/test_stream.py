"""One turn: text queues up, is drained whole, and ends once."""

import asyncio
from types import SimpleNamespace

import msgspec
import pytest

from bridge.chat.errors import ConnectionLost, SlowClient, UpstreamFailed, UpstreamTimeout
from bridge.chat.events import KeepAlive, LingmaToolCall, Overwritten, TextDelta, ThinkingDelta
from bridge.lingma import stream as stream_module
from bridge.lingma.stream import BEHIND, JOINED_CHARS, PASSED_BYTES, ReplyStream, TurnLimits
from gateway_project.lib.ticker import Ticker


@pytest.fixture
async def new_turn():
    turns = []

    def new(**limits):
        turns.append(ReplyStream("r1", "s1", TurnLimits(**limits), Ticker(0.01)))
        return turns[-1]

    yield new
    for turn in turns:
        turn.close()


def texts(pieces):
    return [piece.text for piece in pieces]


async def test_queued_pieces_are_drained_at_once(new_turn):
    turn = new_turn()
    for text in ("a", "", "b", "c"):
        turn.push(text)
    assert await turn.drain() == [TextDelta("a"), TextDelta("b"), TextDelta("c")]


async def test_text_and_end_wake_the_reader(new_turn):
    turn = new_turn()
    loop = asyncio.get_running_loop()
    loop.call_soon(turn.push, "a")
    assert texts(await turn.drain()) == ["a"]
    loop.call_soon(turn.finish, "s2", "")
    assert await turn.drain() == []
    assert (turn.end.error, turn.end.session_id) == (None, "s2")


async def test_text_before_the_end_can_still_be_drained(new_turn):
    turn = new_turn()
    turn.push("a")
    turn.finish("", "ignored, for there was text")
    assert texts(await turn.drain()) == ["a"]
    assert await turn.drain() == []
    assert (turn.text, turn.end.session_id) == ("a", "s1")


async def test_a_reader_that_was_cancelled_does_no_harm(new_turn):
    turn = new_turn()
    reader = asyncio.create_task(turn.drain())
    await asyncio.sleep(0)
    reader.cancel()
    await asyncio.wait({reader})
    turn.push("a")
    assert texts(await turn.drain()) == ["a"]


async def test_end_comes_only_once(new_turn):
    turn, closed = new_turn(), []
    turn.closed = closed.append
    turn.fail(UpstreamFailed("first"))
    turn.finish("s2", "late")
    turn.fail(ConnectionLost("later"))
    turn.close()
    turn.push("late")
    turn.replace("later still")
    assert (str(turn.end.error), turn.text, closed) == ("first", "", [turn])
    assert await turn.drain() == []


async def test_turn_given_up_ends_with_an_error(new_turn):
    turn = new_turn()
    turn.close()
    assert isinstance(turn.end.error, ConnectionLost)


async def test_unread_overwrite_replaces_the_old_text(new_turn):
    turn = new_turn()
    turn.push("wrong")
    turn.replace("right")
    assert (texts(await turn.drain()), turn.text) == (["right"], "right")


async def test_overwrite_extending_read_text_is_continued(new_turn):
    turn = new_turn()
    turn.push("Hel")
    await turn.drain()
    turn.push("lo")
    turn.replace("Hello world")
    assert (texts(await turn.drain()), turn.text) == (["lo", " world"], "Hello world")


async def test_overwrite_of_read_text_is_passed_on(new_turn):
    turn = new_turn()
    turn.push("wrong")
    await turn.drain()
    turn.push(", and wrong again")
    turn.replace("right")
    turn.push(" now")
    assert (await turn.drain(), turn.text) == ([Overwritten("right"), TextDelta(" now")], "right now")


async def test_overwrite_continues_read_text_despite_unread_rest(new_turn):
    turn = new_turn()
    turn.push("Hel")
    await turn.drain()
    turn.push("p!")
    turn.replace("Hello")
    assert (texts(await turn.drain()), turn.text) == (["lo"], "Hello")


async def test_growing_overwrites_are_sent_once(new_turn):
    turn = new_turn()
    turn.push("wrong")
    seen = [await turn.drain()]
    for text in ("right", "right and", "right and proper"):
        turn.replace(text)
        seen.append(await turn.drain())
    assert seen[1:] == [[Overwritten("right")], [TextDelta(" and")], [TextDelta(" proper")]]


async def test_last_of_unread_overwrites_counts(new_turn):
    turn = new_turn()
    turn.push("wrong")
    await turn.drain()
    turn.replace("better")
    turn.replace("best")
    assert (await turn.drain(), turn.text) == ([Overwritten("best")], "best")


async def test_an_overwrite_with_the_same_text_changes_nothing(new_turn):
    turn = new_turn()
    turn.push("same")
    turn.replace("same")
    assert texts(await turn.drain()) == ["same"]


async def test_silent_service_gives_keepalives_then_an_error(new_turn):
    turn = new_turn(keepalive_sec=0.01, silence_sec=1.0)
    pieces = []
    while turn.end is None:
        pieces += await turn.drain()
    assert set(pieces) == {KeepAlive()}
    assert isinstance(turn.end.error, UpstreamTimeout)


async def test_service_that_only_thinks_is_not_silent(new_turn):
    turn = new_turn(keepalive_sec=0.02, silence_sec=5)
    loop = asyncio.get_running_loop()

    def think():
        turn.push("")
        loop.call_later(0.005, think)

    think()
    assert [await turn.drain() for _ in range(4)] == [[KeepAlive()]] * 4
    assert turn.end is None


async def test_silence_counts_from_the_last_word(new_turn):
    turn = new_turn(keepalive_sec=60, silence_sec=1.0)
    loop = asyncio.get_running_loop()
    began = loop.time()
    loop.call_at(began + 0.4, turn.push, "a")
    assert texts(await turn.drain()) == ["a"]
    assert await turn.drain() == []
    assert loop.time() - began >= 1.39


async def test_reader_far_behind_ends_the_turn(new_turn):
    turn, calls = new_turn(buffer_bytes=10), []
    turn.overflow = lambda: calls.append("overflow")
    for _ in range(20):
        turn.push("12345")
    assert isinstance(turn.end.error, SlowClient)
    assert (await turn.drain(), calls) == ([], ["overflow"])


async def test_reader_that_keeps_up_gets_any_amount(new_turn):
    turn = new_turn(buffer_bytes=10)
    for _ in range(100):
        turn.push("x" * 10)
        await turn.drain()
    assert (turn.end, len(turn.text)) == (None, 1000)


@pytest.mark.parametrize("push", ["push", "push_thinking"])
async def test_reader_that_waited_is_not_behind(new_turn, push):
    turn = new_turn(buffer_bytes=10)
    reading = asyncio.ensure_future(turn.drain())
    await asyncio.sleep(0)
    for _ in range(40):
        getattr(turn, push)("x" * JOINED_CHARS)
    assert "".join(piece.text for piece in await reading) == "x" * 40 * JOINED_CHARS
    for _ in range(3):
        getattr(turn, push)("more than it may be behind")
    assert isinstance(turn.end.error, SlowClient)


async def test_unread_turn_keeps_no_text(new_turn):
    turn = new_turn(buffer_bytes=100)
    for _ in range(1000):
        turn.push("x" * 50)
    assert len(turn.text) <= 200


async def test_small_pieces_count_as_they_are_sent(new_turn):
    turn = new_turn(buffer_bytes=10_000)
    for _ in range(100):
        turn.push("x")
    assert isinstance(turn.end.error, SlowClient)


@pytest.mark.parametrize("push", ["push", "push_thinking"])
async def test_a_reader_that_is_behind_gets_larger_pieces(new_turn, push):
    turn = new_turn(buffer_bytes=1 << 20)
    for _ in range(100_000):
        getattr(turn, push)("x")
    pieces = await turn.drain()
    assert turn.end is None
    assert "".join(piece.text for piece in pieces) == "x" * 100_000
    assert len(pieces) < 1000
    assert max(len(piece.text) for piece in pieces) == JOINED_CHARS


async def test_pieces_of_different_kinds_are_not_joined(new_turn):
    turn = new_turn(buffer_bytes=1 << 20)
    turn.push("x" * BEHIND)
    for _ in range(3):
        turn.push("a")
        turn.push_thinking("b")
    assert [piece.text for piece in (await turn.drain())[1:]] == ["a", "b"] * 3


async def test_a_reply_without_end_is_ended(new_turn, monkeypatch):
    monkeypatch.setattr(stream_module, "MOST_BYTES", 10_000)
    turn = new_turn()
    for _ in range(100):
        turn.push("x" * 1000)
        await turn.drain()
    assert isinstance(turn.end.error, UpstreamFailed)


CALL = LingmaToolCall("c1", "list_dir")


async def test_reasoning_and_calls_are_pieces_in_place(new_turn):
    turn = new_turn()
    turn.push_thinking("hm")
    turn.push("a")
    turn.push_call(CALL)
    turn.push_thinking("")
    assert await turn.drain() == [ThinkingDelta("hm"), TextDelta("a"), CALL]
    assert turn.text == "a"


async def test_reasoning_and_calls_are_unseen_signs_of_life(new_turn):
    turn = new_turn(keepalive_sec=0.02, silence_sec=5)
    loop = asyncio.get_running_loop()

    def think():
        turn.push_thinking("hm")
        turn.push_call(CALL)
        loop.call_later(0.005, think)

    think()
    pieces = [piece for _ in range(40) for piece in await turn.drain()]
    assert {KeepAlive(), CALL} < set(pieces)
    assert turn.end is None


async def test_an_overwrite_replaces_text_and_nothing_else(new_turn):
    turn = new_turn()
    turn.push_thinking("hm")
    await turn.drain()
    turn.push_thinking("mm")
    turn.push("wrong")
    turn.push_call(CALL)
    turn.replace("right")
    assert await turn.drain() == [ThinkingDelta("mm"), CALL, TextDelta("right")]


@pytest.mark.parametrize("push", ["push_thinking", "push_call"])
async def test_reader_far_behind_on_anything_ends_the_turn(new_turn, push):
    turn = new_turn(buffer_bytes=10)
    piece = "12345" if push == "push_thinking" else msgspec.structs.replace(CALL, result=b'"12345"')
    for _ in range(20):
        getattr(turn, push)(piece)
    assert isinstance(turn.end.error, SlowClient)
    assert await turn.drain() == []


async def test_ended_stream_takes_nothing_more(new_turn):
    turn = new_turn()
    turn.close()
    turn.push_thinking("late")
    turn.push_call(CALL)
    assert await turn.drain() == []


class Passed:
    """Takes what is passed on, until it wants no more."""

    def __init__(self, most=100):
        self.batches, self.most = [], most
        self.flow = SimpleNamespace(write_paused=False)

    def pieces(self, pieces):
        if self.most == 0:
            raise RuntimeError("it is over")
        self.batches.append(pieces)
        return len(self.batches) < self.most

    def text(self, text):
        return self.pieces([text])


async def test_text_alone_is_passed_on_at_once(new_turn):
    turn, passed = new_turn(), Passed()
    ready = turn.until_ready(passed)
    for text in ("a", "", "b"):
        turn.push(text)
    assert (passed.batches, turn.text, ready.done(), turn.has_begun) == ([["a"], ["b"]], "ab", False, True)


async def test_pieces_together_are_passed_on_together(new_turn):
    turn, passed = new_turn(), Passed()
    ready = turn.until_ready(passed)
    turn.push_thinking("hm")
    turn.push("a")
    turn.push("b")
    await asyncio.sleep(0)
    turn.push("c")
    assert passed.batches == [[ThinkingDelta("hm"), TextDelta("a"), TextDelta("b")], ["c"]]
    assert not ready.done()


class StoppedClock:
    """A loop whose time stands still, as that of uvloop does within a turn."""

    def __init__(self, loop):
        self.time = lambda: 1.0
        self.call_soon, self.create_future, self.call_later = loop.call_soon, loop.create_future, loop.call_later


async def test_pieces_within_one_pass_are_gathered():
    ticker = Ticker()
    ticker.loop = StoppedClock(ticker.loop)
    turn, passed = ReplyStream("r1", "s1", TurnLimits(), ticker), Passed()
    turn.until_ready(passed)
    ticker.loop.time = lambda: 2.0
    for text in "abc":
        turn.push(text)
    await asyncio.sleep(0)
    turn.close()
    assert passed.batches == [["a"], [TextDelta("b"), TextDelta("c")]]


async def test_reader_that_is_behind_is_passed_nothing(new_turn):
    turn, passed = new_turn(), Passed()
    ready = turn.until_ready(passed)
    passed.flow.write_paused = True
    turn.push("a")
    await asyncio.wait_for(ready, 30)
    turn.push("b")
    assert (texts(turn.take()), passed.batches) == (["a", "b"], [])


async def test_large_piece_is_left_to_the_reader(new_turn):
    turn, passed = new_turn(), Passed()
    ready = turn.until_ready(passed)
    turn.push_thinking("x" * PASSED_BYTES)
    await asyncio.wait_for(ready, 30)
    assert (len(turn.take()), passed.batches) == (1, [])


@pytest.mark.parametrize("push", ["push", "push_thinking"])
async def test_reader_goes_on_when_writer_ends(new_turn, push):
    turn, passed = new_turn(), Passed(most=1)
    ready = turn.until_ready(passed)
    getattr(turn, push)("a")
    await asyncio.wait_for(ready, 30)
    turn.push("b")
    assert (len(passed.batches), texts(turn.take())) == (1, ["b"])


@pytest.mark.parametrize("push", ["push", "push_thinking"])
async def test_error_of_the_writer_is_the_readers(new_turn, push):
    turn = new_turn()
    ready = turn.until_ready(Passed(most=0))
    getattr(turn, push)("a")
    with pytest.raises(RuntimeError, match="it is over"):
        await asyncio.wait_for(ready, 30)
    turn.push("b")
    assert (turn.end, texts(turn.take())) == (None, ["b"])


@pytest.mark.parametrize("left", [0, 1])
async def test_end_is_the_readers_with_what_is_left(new_turn, left):
    turn, passed = new_turn(), Passed()
    ready = turn.until_ready(passed)
    turn.push("a")
    for _ in range(left):
        turn.push_thinking("b")
    turn.finish("s2", "")
    await asyncio.wait_for(ready, 30)
    assert (passed.batches, texts(turn.take()), turn.end.error) == ([["a"]], ["b"] * left, None)


async def test_reader_that_was_cancelled_is_not_woken(new_turn):
    turn, passed = new_turn(), Passed(most=1)
    turn.until_ready(passed).cancel()
    turn.push("a")
    turn.push_thinking("b")
    turn.close()
    assert (passed.batches, texts(turn.take())) == ([["a"]], ["b"])


async def test_keep_alives_are_passed_on(new_turn):
    turn, passed = new_turn(keepalive_sec=0.02, silence_sec=1.0), Passed()
    await turn.until_ready(passed)
    assert passed.batches
    assert {type(piece) for batch in passed.batches for piece in batch} == {KeepAlive}
    assert isinstance(turn.end.error, UpstreamTimeout)


async def test_endless_reply_ends_though_passed_on(new_turn, monkeypatch):
    monkeypatch.setattr(stream_module, "MOST_BYTES", 10_000)
    turn, passed = new_turn(), Passed()
    ready = turn.until_ready(passed)
    for _ in range(100):
        turn.push("x" * 1000)
    await asyncio.wait_for(ready, 30)
    assert turn.take()
    assert isinstance(turn.end.error, UpstreamFailed)
