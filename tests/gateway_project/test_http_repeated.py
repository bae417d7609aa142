"""Requests whose head came before on their connection: understood as if the parser had read it."""

from contextlib import suppress

import pytest

from gateway_project.lib.asgi_extensions import SAME_HEAD, WHOLE
from gateway_project.server.repeated import LONGEST, learned
from tests.gateway_project.served import HOST, Served, answers, read_all, seen, whole_body
from tests.gateway_project.test_http_cycle import LeanCycle, cycle_of

FIELDS = b"POST /v1/a?b=c HTTP/1.1\r\n" + HOST + b"Authorization: Bearer x\r\nContent-Length: %d\r\nX-Last: 5\r\n\r\n"
CLOSE = b"GET /end HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"

CHUNKED = FIELDS.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked")


def post(body, head=FIELDS):
    return head % len(body) + body


AGAIN = [post(b"one"), post(b"two")]
STRANGE = {
    "another length": [post(b"a longer body than before")],
    "an empty body": [post(b"")],
    "a body that looks like a head": [post(FIELDS % 3 + b"abc")],
    "another value": [post(b"x", FIELDS.replace(b"Bearer x", b"Bearer y")), post(b"y")],
    "another path": [post(b"x", FIELDS.replace(b"/v1/a", b"/v1/b")), post(b"y")],
    "one more field": [post(b"x", FIELDS.replace(b"X-Last", b"X-More: 1\r\nX-Last")), post(b"y")],
    "zeros in front": [b"0000003".join((FIELDS % 3).split(b"3", 1)) + b"abc"],
    "two in one packet": [post(b"x") + post(b"yy")],
    "a body in two packets": [post(b"abcdef")[:-3], post(b"abcdef")[-3:]],
    "a head in two packets": [post(b"abcdef")[:40], post(b"abcdef")[40:]],
    "chunks": [CHUNKED + b"1\r\na\r\n0\r\n\r\n", post(b"y")],
    "a length of its own name": [post(b"x", FIELDS.replace(b"X-Last: 5", b"X-Content-Length: 5"))] * 3,
    "no body at all": [b"GET /b HTTP/1.1\r\n" + HOST + b"\r\n", post(b"y")],
}  # fmt: skip


@pytest.fixture(scope="module")
def server():
    with Served() as running:
        yield running


def one_by_one(server, packets):
    """The answers on one connection, each packet sent when there was time to answer the one before."""
    with server.connect() as connection:
        got = b""
        for packet in packets:
            connection.sendall(packet)
            connection.settimeout(0.05)
            with suppress(TimeoutError):
                got += connection.recv(1 << 16)
            connection.settimeout(45)
        connection.sendall(CLOSE)
        return [seen(each) for each in answers(got + read_all(connection))]


@pytest.mark.parametrize("packets", STRANGE.values(), ids=STRANGE)
def test_repeated_head_is_understood_as_ever(server, packets):
    alone = server.talk(*packets, CLOSE)
    assert one_by_one(server, AGAIN + packets) == [
        *one_by_one(server, AGAIN[:1])[:-1], *one_by_one(server, AGAIN[1:])[:-1], *(seen(each) for each in alone)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("packet", "status"),
    [
        (b"POST /v1/a?b=c HTTP/1.1\r\n" + HOST + b"Content-Length: 1x\r\n\r\na", 400),
        (FIELDS.replace(b"X-Last", b"Content-Length: 4\r\nX-Last") % 3 + b"abc", 400),
        (FIELDS.replace(b"X-Last", b"Transfer-Encoding: chunked\r\nX-Last") % 3 + b"abc", 400),
        (FIELDS.replace(b"X-Last", b"Host: other\r\nX-Last") % 3 + b"abc", 400),
    ],
)
def test_bad_head_is_refused_after_a_repeated_one(server, packet, status):
    with server.connect() as connection:
        for each in AGAIN:
            connection.sendall(each)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
        connection.sendall(packet)
        assert answers(read_all(connection))[0][0] == status


async def remembering(scope, receive, send):
    """Say how often an equal head has been there before."""
    await whole_body(receive)
    head = scope.get(SAME_HEAD)
    if head is not None:
        head["seen"] = head.get("seen", 0) + 1
    body = b"%d" % (head or {}).get("seen", 0)
    assert WHOLE in scope["extensions"]
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers, "body": body})


def test_equal_heads_share_what_is_worked_out():
    with Served(remembering) as server:
        packets = [post(b"a"), post(b"b"), post(b"c"), post(b"d"), post(b"e", FIELDS.replace(b"Bearer x", b"Bearer y"))]
        for _ in range(2):  # nothing of it is another connection's
            with server.connect() as connection:
                said = []
                for packet in packets:
                    connection.sendall(packet)
                    said.append(answers(connection.recv(1 << 16))[0][2])
                assert said == [b"0", b"0", b"1", b"2", b"0"]


def test_large_heads_are_not_remembered():
    scope = {"headers": [(b"content-length", b"1")]}
    assert learned(post(b"a"), scope, b"/")
    assert learned(post(b"a", FIELDS.replace(b"Bearer x", b"x" * LONGEST)), scope, b"/") is None
    assert learned(post(b"a"), {"headers": scope["headers"] * 2}, b"/") is None
    assert learned(post(b"a") + post(b"b"), scope, b"/") is None


async def test_whole_answer_is_one_message():
    for method, keep_alive, body in (("GET", True, b"{}"), ("GET", False, b"{}"), ("HEAD", True, b"")):
        transport, cycle = cycle_of(LeanCycle, method=method, keep_alive=keep_alive)
        length = [(b"content-length", b"2")]
        await cycle.send({"type": "http.response.start", "status": 200, "headers": length, "body": b"{}"})
        assert transport.data.endswith(b"\r\n\r\n" + body)
        assert cycle.response_complete
    _, cycle = cycle_of(LeanCycle)
    with pytest.raises(RuntimeError, match="Content-Length"):
        cycle.send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")], "body": b"a"})


def test_head_within_a_body_is_not_remembered(server):
    """A proxy sends requests of several clients on one connection; the bytes of one never get the fields of another."""
    other = post(b"abc", FIELDS.replace(b"Bearer x", b"Bearer other"))
    fake = FIELDS % len(other)
    # Answered before its body has come, whose rest arrives in one packet with the next request.
    early = post(b"-" + fake, FIELDS.replace(b"/v1/a?b=c", b"/early"))
    packets = [early[: -len(fake)], fake + other, post(b"hi")]
    found = one_by_one(server, packets)
    assert [dict(each["headers"]).get("authorization") for each in found[1:3]] == ["Bearer other", "Bearer x"]


def test_rest_of_a_body_is_no_head(server):
    rest = post(b"abc", FIELDS.replace(b"Bearer x", b"Bearer other"))
    whole = post(b"-" + rest)
    packets = [*AGAIN, whole[: -len(rest)], rest, rest]
    found = one_by_one(server, packets)
    assert [dict(each["headers"])["authorization"] for each in found[2:4]] == ["Bearer x", "Bearer other"]
