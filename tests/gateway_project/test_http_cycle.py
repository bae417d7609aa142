"""Heads of answers: written by us as uvicorn writes them, in one go."""

import asyncio

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gateway_project.lib.asgi_extensions import WRITER
from gateway_project.server.cycle import LeanCycle, shape_of

DATE = (b"date", b"Sat, 28 Nov 2026 00:00:00 GMT")
JSON = (b"Content-Type", b"application/json")
HEADS = [
    (200, []),
    (200, [JSON]),
    (200, [JSON, (b"content-length", b"2")]),
    (404, [JSON, (b"Content-Length", b"2"), (b"x-100%", b"50%d")]),
    (200, [JSON, (b"connection", b"close")]),
    (200, [(b"transfer-encoding", b"chunked")]),
    (200, [(b"content-length", b"2"), (b"content-length", b"2")]),
    (204, []),
    (304, [JSON]),
    (200, [(b"x-odd", b"caf\xc3\xa9\t\xff")]),
]
BROKEN = [
    (b"x-session", b"a\r\nset-cookie: b"),
    (b"x-session", b"a\nb"),
    (b"x-session", b"a\x00b"),
    (b"x-session", b"\x7f"),
    (b"x session", b"a"),
    (b"x:session", b"a"),
    (b"x-session\r\n", b"a"),
]


class Written:
    """A transport that keeps what is written."""

    def __init__(self):
        self.data = b""
        self.closed = False

    def write(self, data):
        self.data += data

    hold = write_on = write

    def is_closing(self):
        return self.closed

    def close(self):
        self.closed = True


def cycle_of(kind, method="GET", defaults=(DATE,), keep_alive=True):
    transport = Written()
    scope = {"type": "http", "method": method, "http_version": "1.1", "headers": []}
    if kind is LeanCycle:
        return transport, kind(
            scope, transport, FlowControl(transport), list(defaults), lambda: None, keep_alive=keep_alive
        )
    return transport, kind(
        scope=scope, transport=transport, flow=FlowControl(transport), logger=None, access_logger=None,
        access_log=False, default_headers=list(defaults), message_event=asyncio.Event(), expect_100_continue=False,
        keep_alive=keep_alive, on_response=lambda: None,
    )  # fmt: skip


async def answered(kind, status, headers, **others):
    transport, cycle = cycle_of(kind, **others)
    await cycle.send({"type": "http.response.start", "status": status, "headers": headers})
    body = b"" if status in (204, 304) else b"{}"
    await cycle.send({"type": "http.response.body", "body": body})
    return transport.data, transport.closed, cycle.response_complete


@pytest.mark.parametrize(("status", "headers"), HEADS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("defaults", [(), (DATE,)])
async def test_every_head_is_the_librarys_to_the_byte(status, headers, method, keep_alive, defaults):
    others = {"method": method, "keep_alive": keep_alive, "defaults": defaults}
    try:
        expected = await answered(RequestResponseCycle, status, headers, **others)
    except RuntimeError as exc:
        with pytest.raises(RuntimeError, match=str(exc)):
            await answered(LeanCycle, status, headers, **others)
    else:
        assert await answered(LeanCycle, status, headers, **others) == expected


@pytest.mark.parametrize("field", BROKEN)
async def test_field_ending_characters_are_refused(field):
    transport, cycle = cycle_of(LeanCycle)
    with pytest.raises(RuntimeError, match="Invalid HTTP header"):
        await cycle.send({"type": "http.response.start", "status": 200, "headers": [JSON, field]})
    assert not transport.data


async def test_body_of_wrong_length_is_refused():
    _, cycle = cycle_of(LeanCycle)
    await cycle.send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    with pytest.raises(RuntimeError, match="longer than Content-Length"):
        await cycle.send({"type": "http.response.body", "body": b"too long"})


def test_few_shapes_are_kept():
    assert shape_of.cache_info().maxsize == 256


async def test_piece_written_past_send_is_the_same():
    written = []
    for way in ("send", "write"):
        transport, cycle = cycle_of(LeanCycle)
        transport.write_on = transport.write
        head = {"type": "http.response.start", "status": 200, "headers": [JSON]}
        await cycle.send(head)
        for body in (b"one", b"", b"two"):
            if way == "send":
                await cycle.send({"type": "http.response.body", "body": body, "more_body": True})
            else:
                head[WRITER].write_piece(body)
        written.append(transport.data)
    assert written[0] == written[1]
    assert head[WRITER].flow.write_paused is False


async def test_pieces_are_not_written_to_who_left():
    transport, cycle = cycle_of(LeanCycle)
    head = {"type": "http.response.start", "status": 200, "headers": [JSON]}
    await cycle.send(head)
    before, cycle.disconnected = transport.data, True
    head[WRITER].write_piece(b"late")
    assert transport.data == before


@pytest.mark.parametrize("headers", [[JSON, (b"content-length", b"2")], [JSON, (b"connection", b"close")]])
async def test_answers_beside_streams_have_no_writer(headers):
    _, cycle = cycle_of(LeanCycle)
    head = {"type": "http.response.start", "status": 200, "headers": headers}
    await cycle.send(head)
    assert WRITER not in head
