"""What a message of the service costs to read and to write: our frames, and those of the `websockets` library.

`python -m tests.bench.frames`: µs of CPU a message, the best of some rounds. Both are sans-I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from bridge.lingma.transport.framing import Framer
from bridge.lingma.transport.websocket import WebSocket
from bridge.lingma.transport.whole import whole_messages
from gateway_project.lib.secrets.random_bytes import random_bytes

URL = "ws://127.0.0.1:1/"
BODY = b'{"jsonrpc":"2.0","method":"chat/answer","params":{"requestId":"%s","text":"%s"}}' % (b"0" * 36, b"word " * 20)
MESSAGE = b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
ROUNDS, TIMES = 15, 2000


def sent_by_service(count: int) -> bytes:
    return b"".join(Frame(Opcode.TEXT, MESSAGE).serialize(mask=False) for _ in range(count))


def library_reads(data: bytes) -> Callable[[], int]:
    protocol, framer = ClientProtocol(parse_uri(URL), state=OPEN, max_size=None), Framer()

    def read() -> int:
        protocol.receive_data(data)
        return sum(len(framer.feed(event.data)) for event in protocol.events_received() if isinstance(event, Frame))

    return read


def ours_reads(data: bytes) -> Callable[[], int]:
    """As far as `feed`, for reads that are not of whole messages."""
    socket, framer = WebSocket(URL, lambda: b"abcd"), Framer()
    socket.open = True
    return lambda: sum(len(framer.feed(payload)) for payload in socket.feed(data))


def whole_reads(data: bytes) -> Callable[[], int]:
    return lambda: len(whole_messages(data) or ())


def library_writes() -> Callable[[], int]:
    protocol = ClientProtocol(parse_uri(URL), state=OPEN, max_size=None)

    def write() -> int:
        protocol.send_binary(MESSAGE)
        return len(protocol.data_to_send())

    return write


def ours_writes() -> Callable[[], int]:
    socket = WebSocket(URL, random_bytes(4))
    return lambda: bool(socket.message(MESSAGE))


def measure(work: Callable[[], int], messages: int) -> float:
    """µs of CPU a message."""
    assert work() == messages
    best = float("inf")
    for _ in range(ROUNDS):
        begun = process_time()
        for _ in range(TIMES):
            work()
        best = min(best, process_time() - begun)
    return best / TIMES / messages * 1e6


def main() -> None:
    print(f"µs of CPU for a message of {len(MESSAGE)} bytes, frame and LSP head")
    for count in (1, 16):
        data = sent_by_service(count)
        for name, made in (("websockets", library_reads), ("ours", ours_reads), ("whole", whole_reads)):
            print(f"read, {count:2} at once, {name:10} {measure(made(data), count):6.2f}")
    for name, write in (("websockets", library_writes()), ("ours", ours_writes())):
        print(f"write,           {name:10} {measure(write, 1):6.2f}")


if __name__ == "__main__":
    main()
