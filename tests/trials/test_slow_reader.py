"""A client that does not read: cut before it costs memory, and nobody else notices."""

import http.client

import psutil
import pytest

from tests.e2e.formats import OPENAI, Stream
from tests.e2e.installation import KEY, Gateway, until

# Over some seconds: what a busy gateway reads at once, up to 8 MiB, is no overflow of a client that waited for it.
FLOOD = "[[sim: echo=prompt size=8000 delay_ms=2]] "
PADDING = "y" * 12_000_000  # more than sockets take
PROMPT = "y" * 4_000_000


@pytest.fixture(scope="module")
def small(tmp_path_factory, template):
    """A gateway that lets 64 KiB pile up."""
    with Gateway(tmp_path_factory.mktemp("small"), template, STREAM_BUFFER_BYTES="65536") as running:
        yield running


def test_slow_reader_is_cut_and_service_stopped(small, wire):
    question = f"slow {wire}"
    with Stream(small, wire, FLOOD + question + PADDING, key=KEY, receive_buffer=4096, model=question) as slow:
        row = small.row_of_model(question)
        assert (row["status"], row["reason"]) == ("error", "slow_client")
        answer = read_to_the_end(slow)
    assert wire.done.encode() not in answer[-300:]
    assert b"[DONE]" not in answer


def read_to_the_end(stream):
    """What a slow reader finds when it reads at last; the connection may be cut."""
    try:
        return stream.begin().response.read()
    except http.client.IncompleteRead as exc:
        return exc.partial
    except ConnectionError:
        return b""


def test_memory_does_not_grow_with_what_nobody_reads(small):
    def leave_unread(number):
        with Stream(small, OPENAI, FLOOD + PADDING, key=KEY, receive_buffer=4096, model=f"unread {number}"):
            small.row_of_model(f"unread {number}")

    grown = growth(small, leave_unread)
    assert until(lambda: grown() < 3 * len(PADDING))


@pytest.mark.parametrize("knobs", ["text=x first_ms=150", "fault=finish_code after=0", "fault=finish_code after=1"])
def test_memory_does_not_grow_with_turns_that_ended(small, wire, stream, knobs):
    prompt = f"[[sim: {knobs}]] " + PROMPT
    grown = growth(small, lambda _: small.ask(wire, prompt, stream=stream))
    assert until(lambda: grown() < 3 * len(PROMPT))


def growth(gateway, turn):
    """How many bytes the web process has grown by, after six turns more than two; the last may take a moment to go."""
    process = psutil.Process(gateway.processes[0].pid)
    for number in range(2):
        turn(number)
    before = process.memory_info().rss
    for number in range(2, 8):
        turn(number)
    return lambda: process.memory_info().rss - before


def test_other_streams_go_on_beside_a_slow_reader(small):
    with Stream(small, OPENAI, FLOOD + PADDING, key=KEY, receive_buffer=4096, model="beside") as slow:
        answer = small.ask(OPENAI, '[[sim: text="all of it" size=1 delay_ms=5]] x', stream=True)
        assert (answer.text, answer.finish) == ("all of it", "stop")
        assert slow.connection.sock is not None
        assert small.row_of_model("beside")["reason"] == "slow_client"
