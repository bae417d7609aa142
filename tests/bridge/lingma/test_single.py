"""A read of one message is recognized as what it would be read as step by step, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from bridge.lingma.transport.framing import Framer, frame
from bridge.lingma.transport.single import LONGEST, single_message
from tests.bridge.lingma.test_websocket import Pair


def sent(payload, opcode=Opcode.TEXT, *, fin=True):
    return Frame(opcode, payload, fin).serialize(mask=False)


def step_by_step(data):
    """The bodies, and whether a frame and a message begin behind them."""
    client, framer = Pair().shake().client, Framer()
    bodies = [body for payload in client.feed(data) for body in framer.feed(payload)]
    return bodies, client.is_between and framer.is_between


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
@pytest.mark.parametrize("size", [0, 2, 104, 105, 106, 300, 65_000, LONGEST, LONGEST + 1, 70_000])
def test_single_message_is_recognized_up_to_its_bound(opcode, size):
    data = sent(frame(b"x" * size), opcode)
    assert single_message(data) == (b"x" * size if size <= LONGEST else None)
    assert step_by_step(data) == ([b"x" * size], True)


ONE = frame(b'{"a":"Content-Length: 3\\r\\n\\r\\n"}')


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        ONE,
        sent(ONE)[:-1],
        sent(ONE) * 2,
        sent(ONE * 2),
        sent(ONE + b" "),
        sent(ONE, fin=False),
        sent(ONE, Opcode.CONT),
        sent(ONE[:-1]),
        sent(b"content-length: 2\r\n\r\n{}"),
        sent(b"Content-Length: 02\r\n\r\n{}"),
        sent(b"Content-Length: 2\r\nX: y\r\n\r\n{}"),
        sent(b"Content-Length: 2\r\n{}\r\n"),
        sent(ONE[:100], Opcode.PING),
    ],
)
def test_all_else_is_read_step_by_step(data):
    assert single_message(data) is None


@given(st.binary(max_size=300), st.sampled_from([Opcode.TEXT, Opcode.BINARY]), st.data())
def test_changed_byte_is_no_other_single_message(body, opcode, data):
    whole = bytearray(sent(frame(body), opcode))
    at, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    whole[at] ^= 1 << bit
    if (found := single_message(bytes(whole))) is not None:
        assert step_by_step(bytes(whole)) == ([found], True)


def test_what_begins_in_pieces_is_not_between():
    for data in (sent(ONE)[:-1], sent(ONE[:-1]), sent(ONE[:9], fin=False)):
        assert step_by_step(data) == ([], False)
