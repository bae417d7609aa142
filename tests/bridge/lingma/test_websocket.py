"""Frames in, frames out, against the `websockets` library as the other side."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode
from websockets.server import ServerProtocol

from bridge.lingma.errors import Broken, Refused
from bridge.lingma.transport import websocket
from bridge.lingma.transport.websocket import WebSocket

URL = "ws://127.0.0.1:37010/"
QUIET = logging.getLogger("tests.quiet")
QUIET.setLevel(logging.ERROR)


class Pair:
    """A client and a server that have shaken hands."""

    def __init__(self, headers=None):
        self.client = WebSocket(URL, lambda: b"\x01\xfe\x80\x7f", headers)
        self.server = ServerProtocol(max_size=None, logger=QUIET)
        self.server.receive_data(self.client.hello())
        [self.request] = self.server.events_received()
        self.server.send_response(self.server.accept(self.request))
        self.answer = b"".join(self.server.data_to_send())

    def shake(self):
        assert self.client.feed(self.answer) == []
        return self

    def sent(self, *frames):
        """What the server puts on the wire."""
        return b"".join(Frame(*each).serialize(mask=False) for each in frames)

    def received(self, data):
        """The data messages the server reads."""
        self.server.receive_data(data)
        return [(event.opcode, bytes(event.data)) for event in self.server.events_received()]


@pytest.fixture
def pair():
    return Pair().shake()


def test_the_handshake_may_come_in_any_pieces():
    for cut in range(len(Pair().answer)):
        pair = Pair()
        pair.client.feed(pair.answer[:cut])
        assert not pair.client.open
        pair.client.feed(pair.answer[cut:])
        assert pair.client.open


def test_the_handshake_names_path_and_further_headers():
    request = Pair({"Cosy-MachineToken": "abc"}).request
    assert (request.path, request.headers["Cosy-MachineToken"]) == ("/", "abc")
    assert "Origin" not in request.headers
    assert "Sec-WebSocket-Extensions" not in request.headers


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_frames_right_behind_the_handshake_are_read(size):
    pair = Pair()
    stream = pair.answer + pair.sent((Opcode.TEXT, b"first"), (Opcode.BINARY, b"second"))
    seen = [p for i in range(0, len(stream), size) for p in pair.client.feed(stream[i : i + size])]
    assert seen == [b"first", b"second"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nNot found",
        b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ],
)
def test_another_status_is_a_refusal_that_names_it(answer):
    with pytest.raises(Refused, match="HTTP 404"):
        Pair().client.feed(answer)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"])
def test_an_answer_of_no_websocket_server_is_refused(answer):
    client = Pair().client
    with pytest.raises(Refused):
        client.feed(answer)
    assert not client.open


def test_an_endless_answer_is_refused():
    client = Pair().client
    with pytest.raises(Refused, match="exceeds"):
        client.feed(b"HTTP/1.1 101 OK\r\n" + b"x" * websocket.MAX_HEAD)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, 70000])
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_every_length_and_kind_of_message_is_read(pair, opcode, length):
    payload = b"x" * length
    assert pair.client.feed(pair.sent((opcode, payload), (opcode, b"next"))) == [payload, b"next"]


def test_frames_may_be_split_at_every_position():
    stream = Pair().sent((Opcode.TEXT, b"a" * 3), (Opcode.BINARY, b"b" * 130), (Opcode.TEXT, b"", True))
    for cut in range(len(stream)):
        client = Pair().shake().client
        assert client.feed(stream[:cut]) + client.feed(stream[cut:]) == [b"aaa", b"b" * 130, b""]


@pytest.mark.parametrize("size", [1, 1000, 65536])
def test_a_long_message_may_come_in_many_pieces(pair, size):
    length = 200 if size == 1 else 300_000
    stream = pair.sent((Opcode.BINARY, b"z" * length), (Opcode.TEXT, b"after"))
    seen = [p for i in range(0, len(stream), size) for p in pair.client.feed(stream[i : i + size])]
    assert [len(payload) for payload in seen] == [length, 5]


@given(st.lists(st.binary(max_size=300), max_size=6), st.data())
def test_any_messages_come_out_of_any_pieces(payloads, data):
    pair = Pair().shake()
    stream = pair.sent(*[(Opcode.BINARY, payload) for payload in payloads])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [payload for piece in pieces for payload in pair.client.feed(piece)] == payloads


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_fragments_are_joined_around_a_ping(pair, size):
    stream = pair.sent(
        (Opcode.TEXT, b"one ", False),
        (Opcode.PING, b"alive?"),
        (Opcode.CONT, b"two ", False),
        (Opcode.CONT, b"three", True),
        (Opcode.TEXT, b"next"),
    )
    seen = [p for i in range(0, len(stream), size) for p in pair.client.feed(stream[i : i + size])]
    assert seen == [b"one two three", b"next"]
    assert pair.received(pair.client.to_send()) == [(Opcode.PONG, b"alive?")]


def test_ping_gets_a_pong_with_its_data(pair):
    assert pair.client.feed(pair.sent((Opcode.PING, b"42"))) == []
    assert pair.received(pair.client.to_send()) == [(Opcode.PONG, b"42")]
    assert pair.client.feed(pair.sent((Opcode.PONG, b"unasked"))) == []


def test_a_close_breaks_the_connection_and_is_answered(pair):
    with pytest.raises(Broken):
        pair.client.feed(pair.sent((Opcode.CLOSE, Close(1001, "going away").serialize())))
    assert [opcode for opcode, _ in pair.received(pair.client.to_send())] == [Opcode.CLOSE]


def test_messages_before_a_close_are_not_lost(pair):
    stream = pair.sent((Opcode.TEXT, b"last words"), (Opcode.CLOSE, Close(1000, "").serialize()))
    assert pair.client.feed(stream) == [b"last words"]
    assert isinstance(pair.client.broken, Broken)


@pytest.mark.parametrize(
    "data",
    [
        Frame(Opcode.TEXT, b"hello").serialize(mask=True),
        Frame(Opcode.TEXT, b"h" * 200).serialize(mask=True),
        b"\x81\x7f" + (websocket.MAX_MESSAGE + 1).to_bytes(8, "big"),
        b"\x81\x7f" + b"\xff" * 8,
        b"\xc1\x02hi",
        b"\x83\x02hi",
        b"\x80\x02hi",
        b"\x01\x02hi\x81\x02hi",
        b"\x09\x02hi",
    ],
    ids=["masked", "masked long", "oversize", "absurd", "reserved bit", "reserved opcode", "continuation of nothing",
         "message within a message", "control frame in fragments"],
)  # fmt: skip
def test_frames_against_the_rules_break_the_connection(pair, data):
    with pytest.raises(Broken):
        pair.client.feed(data)


def test_fragments_together_may_not_exceed_the_limit(pair, monkeypatch):
    half = b"x" * (websocket.MAX_MESSAGE // 2 + 1)
    assert pair.client.feed(pair.sent((Opcode.TEXT, half, False))) == []
    with pytest.raises(Broken):
        pair.client.feed(pair.sent((Opcode.CONT, half, True)))


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536])
def test_message_arrives_unmasked_and_binary(pair, length):
    payload = bytes(range(256)) * (length // 256) + b"q" * (length % 256)
    assert pair.received(pair.client.message(payload)) == [(Opcode.BINARY, payload)]


def test_several_messages_travel_in_one_write(pair):
    written = pair.client.message(b"one", b"two" * 100, b"drei")
    assert [payload for _, payload in pair.received(written)] == [b"one", b"two" * 100, b"drei"]
