"""Bytes to bodies, whatever way they are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.lingma.errors import FramingError
from bridge.lingma.transport import framing
from bridge.lingma.transport.framing import MAX_BODY, MAX_HEADER, Framer, frame

BODIES = [b'{"id":1}', "通义灵码".encode(), b"", b'{"a":"Content-Length: 3\\r\\n\\r\\n"}']
STREAM = b"".join(map(frame, BODIES))


def read(pieces):
    framer = Framer()
    return [body for piece in pieces for body in framer.feed(piece)]


@pytest.mark.parametrize("size", range(1, len(STREAM) + 1))
def test_stream_slicing_does_not_matter(size):
    assert read(STREAM[i : i + size] for i in range(0, len(STREAM), size)) == BODIES


def test_two_pieces_give_the_same_wherever_cut():
    assert all(read([STREAM[:cut], STREAM[cut:]]) == BODIES for cut in range(len(STREAM)))


@given(st.lists(st.binary(max_size=200), max_size=8), st.data())
def test_any_bodies_come_out_of_any_pieces(bodies, data):
    stream = b"".join(map(frame, bodies))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(pieces) == bodies


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 2",
        b"CONTENT-LENGTH:2",
        b"Content-Length:  2 ",
        b"Content-Type: application/vscode-jsonrpc; charset=utf-8\r\nContent-Length: 2",
        b"Content-Length: 2\r\nX-Trace: a: b",
        b"no colon here\r\nContent-Length: 2",
    ],
)
def test_a_head_may_be_spelt_in_many_ways(head):
    assert read([head + b"\r\n\r\n{}" + frame(b"[]")]) == [b"{}", b"[]"]


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Type: x",
        b"Content-Length: ",
        b"Content-Length: -1",
        b"Content-Length: two",
        b"Content-Length: 1e3",
        b"Content-Length: %d" % (MAX_BODY + 1),
        b"",
    ],
)
def test_head_without_usable_length_ends_the_stream(head):
    with pytest.raises(FramingError):
        Framer().feed(head + b"\r\n\r\n{}")


def test_headless_bytes_are_refused_before_piling_up():
    framer = Framer()
    assert framer.feed(b"x" * MAX_HEADER) == []
    with pytest.raises(FramingError, match="header"):
        framer.feed(b"x")


def test_short_length_makes_the_rest_unreadable():
    with pytest.raises(FramingError):
        Framer().feed(b'Content-Length: 3\r\n\r\n{"id":1}' + b"x" * MAX_HEADER)


def test_a_length_counts_bytes_and_not_characters():
    assert frame("灵".encode()) == b"Content-Length: 3\r\n\r\n\xe7\x81\xb5"


def test_messages_after_a_partial_one_are_found():
    framer = Framer()
    assert framer.feed(STREAM[:10]) == []
    assert framer.feed(STREAM[10:] + frame(b"last")) == [*BODIES, b"last"]
    assert framer.feed(frame(b"whole")) == [b"whole"]


def test_large_body_in_pieces_is_scanned_once(monkeypatch):
    heads = []
    real = framing.content_length
    monkeypatch.setattr(framing, "content_length", lambda head: heads.append(head) or real(head))
    stream = frame(b"x" * (4 << 20))
    bodies = read(stream[i : i + 1024] for i in range(0, len(stream), 1024))
    assert [len(body) for body in bodies] == [4 << 20]
    assert len(heads) == 2
