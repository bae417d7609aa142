"""A read of whole messages gives what it would give step by step, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from bridge.lingma.transport.framing import Framer, frame
from bridge.lingma.transport.whole import LONGEST, whole_messages
from tests.bridge.lingma.test_websocket import Pair


def sent(payload, opcode=Opcode.TEXT, *, fin=True):
    return Frame(opcode, payload, fin).serialize(mask=False)


def step_by_step(data):
    """The bodies, and whether a frame and a message begin behind them."""
    client, framer = Pair().shake().client, Framer()
    bodies = [body for payload in client.feed(data) for body in framer.feed(payload)]
    return bodies, client.is_between and framer.is_between


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
@pytest.mark.parametrize("size", [0, 2, 104, 105, 106, 300, 10_000, 20_000, 70_000])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_messages_are_read_whole_up_to_their_bound(opcode, size, count):
    data = sent(frame(b"x" * size), opcode) * count
    assert whole_messages(data) == ([b"x" * size] * count if len(data) <= LONGEST else None)
    assert step_by_step(data) == ([b"x" * size] * count, True)


ONE = frame(b'{"a":"Content-Length: 3\\r\\n\\r\\n"}')


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"\r\n\r\n" * 3,
        sent(b"Content-Length:  2\r\n\r\n{}") * 2,
        sent(b"Content-Length: -2\r\n\r\n{}") * 2,
        sent(b"Content-Length: x\r\n\r\n{}") * 2,
        sent(frame(b"{}\r\n\r\n")),
        ONE,
        sent(ONE)[:-1],
        sent(ONE) + sent(ONE)[:-1],
        sent(ONE) + sent(ONE)[:2],
        sent(ONE) + b"\x81",
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
def test_other_data_is_read_step_by_step(data):
    assert whole_messages(data) is None


@given(st.lists(st.binary(max_size=300), max_size=4), st.sampled_from([Opcode.TEXT, Opcode.BINARY]), st.data())
def test_any_bytes_are_read_as_step_by_step(bodies, opcode, data):
    whole = bytearray(b"".join(sent(frame(body), opcode) for body in bodies))
    has_blank_line = any(b"\r\n\r\n" in body for body in bodies)  # JSON has none
    assert has_blank_line or (whole_messages(bytes(whole)) or []) == bodies
    if whole and data.draw(st.booleans()):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    if found := whole_messages(bytes(whole)):
        assert step_by_step(bytes(whole)) == (found, True)


def test_message_begun_in_pieces_is_not_over():
    for data in (sent(ONE)[:-1], sent(ONE[:-1]), sent(ONE[:9], fin=False)):
        assert step_by_step(data) == ([], False)
