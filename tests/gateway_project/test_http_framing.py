"""Where a request ends and the next one begins: never in two ways."""

import pytest

from tests.gateway_project.served import HOST, Served, answers, read_all, seen

LAST = b"GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\n" + HOST
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.fixture(scope="module")
def server():
    with Served() as running:
        yield running


REFUSED = {
    "length and chunks": (400, POST + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n"),
    "chunks and length": (400, POST + CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n"),
    "two lengths": (400, POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    "one length twice": (400, POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    "a list of lengths": (400, POST + b"Content-Length: 5, 5\r\n\r\nhello"),
    "a length with a sign": (400, POST + b"Content-Length: +5\r\n\r\nhello"),
    "a negative length": (400, POST + b"Content-Length: -5\r\n\r\nhello"),
    "an empty length": (400, POST + b"Content-Length: \r\n\r\nhello"),
    "a hexadecimal length": (400, POST + b"Content-Length: 0x5\r\n\r\nhello"),
    "a length beyond 64 bits": (400, POST + b"Content-Length: 99999999999999999999\r\n\r\nhello"),
    "a space before the colon": (400, POST + b"Content-Length : 5\r\n\r\nhello"),
    "a coding we do not undo": (501, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "chunks that are not last": (400, POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    "two codings in two fields": (400, POST + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n"),
    "the coding identity": (501, POST + b"Transfer-Encoding: identity\r\n\r\n"),
    "a coding that ends like ours": (501, POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    "a coding behind a control": (400, POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    "chunks in HTTP/1.0": (400, b"POST /a HTTP/1.0\r\n" + CHUNKED + b"\r\n0\r\n\r\n"),
    "a folded field": (400, POST + b"X-A: a\r\n b\r\n\r\n"),
    "a folded coding": (400, POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    "a NUL in a field": (400, POST + b"X-A: a\0b\r\n\r\n"),
    "a CR in a field": (400, POST + b"X-A: a\rX-B: b\r\n\r\n"),
    "a bare LF in a field": (400, POST + b"X-A: a\nX-B: b\r\n\r\n"),
    "bare LF everywhere": (400, b"GET /a HTTP/1.1\nHost: localhost\n\n"),
    "a space before the first field": (400, b"GET /a HTTP/1.1\r\n Host: localhost\r\n\r\n"),
    "a field without a name": (400, POST + b": a\r\n\r\n"),
    "a chunk size with a prefix": (400, POST + CHUNKED + b"\r\n0x5\r\nhello\r\n0\r\n\r\n"),
    "a chunk size with a space": (400, POST + CHUNKED + b"\r\n5 \r\nhello\r\n0\r\n\r\n"),
    "a negative chunk size": (400, POST + CHUNKED + b"\r\n-5\r\nhello\r\n0\r\n\r\n"),
    "a chunk size beyond 64 bits": (400, POST + CHUNKED + b"\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    "no chunk size": (400, POST + CHUNKED + b"\r\n\r\nhello\r\n0\r\n\r\n"),
    "a chunk longer than it says": (400, POST + CHUNKED + b"\r\n5\r\nhelloXX0\r\n\r\n"),
    "bare LF after a chunk size": (400, POST + CHUNKED + b"\r\n5\nhello\r\n0\r\n\r\n"),
    "bare LF in an extension": (400, POST + CHUNKED + b"\r\n5;a\nb\r\nhello\r\n0\r\n\r\n"),
    "no host": (400, b"GET /a HTTP/1.1\r\n\r\n"),
    "two hosts": (400, b"GET /a HTTP/1.1\r\n" + HOST + b"Host: other\r\n\r\n"),
    "a target on another host": (400, b"GET http://other/a HTTP/1.1\r\n" + HOST + b"\r\n"),
    "a target with a fragment": (400, b"GET /a#/b HTTP/1.1\r\n" + HOST + b"\r\n"),
    "a target that is no path": (400, b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n"),
    "a target with a space": (400, b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n"),
    "a target beyond ASCII": (400, b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n"),
    "a tunnel": (501, b"CONNECT other:443 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "HTTP/0.9": (505, b"GET /a\r\n\r\n"),
    "HTTP/2 in the words of HTTP/1": (505, b"GET /a HTTP/2.0\r\n" + HOST + b"\r\n"),
    "HTTP/2 by its preface": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "another expectation": (417, POST + b"Expect: banana\r\nContent-Length: 5\r\n\r\nhello"),
    "a method nobody knows": (400, b"BREW /a HTTP/1.1\r\n" + HOST + b"\r\n"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_ambiguous_framing_ends_the_connection(server, name):
    status, request = REFUSED[name]
    told = server.talk(request + LAST)
    assert [answer[0] for answer in told] == [status]
    assert told[0][1]["connection"] == "close"
    assert b"error" in told[0][2]


READ = {
    "a length": (POST + b"Content-Length: 5\r\n\r\nhello", "hello"),
    "a length between tabs": (POST + b"Content-Length:\t5\t\r\n\r\nhello", "hello"),
    "a length of GET": (b"GET /a HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello", "hello"),
    "a length named by Connection": (POST + b"Connection: content-length\r\nContent-Length: 5\r\n\r\nhello", "hello"),
    "chunks": (POST + CHUNKED + b"\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "hello"),
    "chunks and trailers": (POST + CHUNKED + b"\r\n5\r\nhello\r\n0\r\nX-Api-Key: k\r\nHost: evil\r\n\r\n", "hello"),
    "chunks spelled loudly": (POST + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello"),
    "empty lines before it": (b"\r\n\r\n" + POST + b"Content-Length: 5\r\n\r\nhello", "hello"),
    "an absolute target": (b"POST http://localhost/a HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello", "hello"),
    "no body": (POST + b"\r\n", ""),
}
UPGRADES = {
    "to h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
    "to websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n",
    "to anything": b"upgrade: TLS/1.0, banana\r\nconnection: keep-alive, upgrade\r\n",
    "to nothing": b"",
}


@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_body_and_next_request_are_kept_apart(server, name, upgrade, size):
    request, body = READ[name]
    request = request.replace(HOST, HOST + UPGRADES[upgrade])
    whole = request + request + LAST
    told = server.talk(*(whole[start : start + size] for start in range(0, len(whole), size)))
    understood = [(answer[0], seen(answer)["path"], seen(answer)["body"]) for answer in told]
    assert understood == [(200, "/a", body), (200, "/a", body), (200, "/last", "")]


def test_trailers_are_no_headers(server):
    request, _ = READ["chunks and trailers"]
    names = [name for name, _ in seen(server.talk(request + LAST)[0])["headers"]]
    assert names == ["host", "transfer-encoding"]


def test_bytes_behind_an_upgrade_are_no_request(server):
    hidden = b"GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = POST + UPGRADES["to h2c"] + b"Content-Length: %d\r\n\r\n" % len(hidden)
    told = server.talk(head + hidden + LAST)
    assert [seen(answer)["path"] for answer in told] == ["/a", "/last"]
    assert seen(told[0])["body"] == hidden.decode()


def test_bytes_behind_a_last_request_are_unread(server):
    assert [seen(answer)["path"] for answer in server.talk(LAST + LAST)] == ["/last"]


def test_http_1_0_gets_no_chunks(server):
    (status, headers, body), *rest = server.talk(b"GET /stream HTTP/1.0\r\n\r\n")
    assert (status, headers.get("transfer-encoding"), headers["connection"], rest) == (200, None, "close", [])
    assert seen((status, headers, body))["path"] == "/stream"


@pytest.mark.parametrize(
    ("head", "has_two"),
    [
        (b"nonsense\r\n\r\n", False),
        (POST + b"Content-Length: -5\r\n\r\n", False),
        (b"POST /v1/messages HTTP/1.1\r\n" + HOST + b"Content-Length: -5\r\n\r\n", True),
    ],
)
def test_refusals_name_themselves_and_the_upstream(server, head, has_two):
    ((_, headers, _),) = server.talk(head)
    assert (headers["x-request-id"][:4], headers["x-lingma-upstream"]) == ("req_", "simulator")
    assert headers.get("request-id") == (headers["x-request-id"] if has_two else None)


def test_http_1_0_is_not_kept_alive(server):
    told = server.talk(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + LAST)
    assert [(answer[0], answer[1]["connection"]) for answer in told] == [(200, "close")]


def test_http_1_0_expects_nothing(server):
    told = server.talk(b"POST /a HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
    assert [answer[0] for answer in told] == [200]


def test_waiting_client_gets_100_continue(server):
    with server.connect() as connection:
        connection.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hello" + LAST)
        assert [answer[0] for answer in answers(read_all(connection))] == [200, 200]


def test_answer_instead_of_continue_is_the_last(server):
    head = b"POST /early HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 500\r\n\r\n"
    told = server.talk(head)
    assert [(answer[0], answer[1].get("connection")) for answer in told] == [(200, "close")]
