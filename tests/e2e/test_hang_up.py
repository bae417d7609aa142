"""A client that leaves ends its turn, upstream too."""

import http.client
import socket
import struct
import time

import pytest

from tests.e2e.formats import Stream, head_of
from tests.e2e.installation import KEY, until

LONG = '[[sim: text="first second" chunks=2 delay_ms=60000]] '


def left(gateway, question, left_at):
    """What is left of a turn whose client left at that time."""
    stop = until(lambda: gateway.stops(question))[0]
    assert stop["time"] - left_at < 20  # by itself the turn would go on for a minute
    row = gateway.row_of_model(question)
    assert (row["status"], row["reason"]) == ("cancelled", "client_closed")
    assert until(lambda: gateway.in_flight() == 0)
    return row


def test_hang_up_in_mid_stream_stops_turn(gateway, wire):
    question = f"leaves in mid-stream {wire}"
    with Stream(gateway, wire, LONG + question, key=KEY, model=question) as stream:
        stream.until(b"first")
        left_at = time.time()
    row = left(gateway, question, left_at)
    assert (row["completion_tokens"] > 0, row["usage_source"]) == (True, "partial")
    assert row["request_id"] == stream.request_id


def test_hang_up_before_first_token_stops_turn(gateway, wire):
    question = f"leaves before the first token {wire}"
    with Stream(gateway, wire, f"[[sim: text=x first_ms=60000]] {question}", key=KEY, model=question):
        until(lambda: gateway.asks(question))
        left_at = time.time()
    assert left(gateway, question, left_at)["first_token_ms"] is None


@pytest.mark.parametrize("how", ["reset", "close"])
def test_hang_up_on_whole_reply_stops_turn(gateway, wire, how):
    question = f"leaves a whole reply {wire} {how}"
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port)
    data, headers = head_of(wire.body(LONG + question, model=question), KEY, None)
    connection.request("POST", wire.path, body=data, headers=headers)
    until(lambda: gateway.asks(question))
    if how == "reset":
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    left_at = time.time()
    connection.close()
    assert left(gateway, question, left_at)["stream"] is False


def test_client_that_leaves_while_sending_leaves_nothing(gateway, wire):
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        head = f"POST {wire.path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: 1000\r\n\r\n"
        client.sendall(head.encode() + b'{"model":')
    assert gateway.ask(wire, "[[sim: text=fine]] x").text == "fine"
    assert "Traceback" not in gateway.output()
