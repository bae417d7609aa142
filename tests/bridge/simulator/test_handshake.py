"""The opening handshake, as bytes on a connection."""

import asyncio

import pytest

KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
LINES = ("GET / HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade", KEY,
         "Sec-WebSocket-Version: 13")  # fmt: skip
PING = bytes.fromhex("8980 01020304")


def head_of(lines):
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


async def received(simulator, *parts):
    """What comes back until the connection ends, or a pong has come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    answer = b""
    async with asyncio.timeout(30):
        while (more := await reader.read(4096)) and not (answer := answer + more).endswith(b"\x8a\x00"):
            pass
    writer.close()
    await writer.wait_closed()
    return answer.decode("latin-1")


async def test_key_of_the_standard_is_answered(simulator):
    answer = await received(simulator, head_of(LINES), PING)
    assert answer.startswith("HTTP/1.1 101 Switching Protocols\r\n")
    assert "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer


@pytest.mark.parametrize("cut", [1, 15, 70, -3, -1])
async def test_slices_make_no_difference(simulator, cut):
    everything = head_of(LINES) + PING
    assert "HTTP/1.1 101 " in await received(simulator, everything[:cut], everything[cut:])


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("GET / HTTP/1.1", "GET /ws?of=mine HTTP/1.1"),
        ("Upgrade: websocket", "UPGRADE:WebSocket"),
        ("Connection: Upgrade", "connection: keep-alive, upgrade"),
    ],
)
async def test_other_spellings_are_the_same(simulator, line, instead):
    lines = [instead if each == line else each for each in LINES]
    assert "HTTP/1.1 101 " in await received(simulator, head_of(lines), PING)


@pytest.mark.parametrize(
    ("line", "instead", "status"),
    [
        ("GET / HTTP/1.1", ["POST / HTTP/1.1"], 400),
        ("GET / HTTP/1.1", ["GET / HTTP/1.0"], 400),
        ("GET / HTTP/1.1", ["GET /"], 400),
        ("GET / HTTP/1.1", ["GET /other HTTP/1.1"], 404),
        ("Host: localhost", ["Host localhost"], 400),
        ("Host: localhost", ["Host : localhost"], 400),
        ("Upgrade: websocket", [], 426),
        ("Upgrade: websocket", ["Upgrade: websockets"], 426),
        ("Connection: Upgrade", ["Connection: close"], 426),
        ("Sec-WebSocket-Version: 13", ["Sec-WebSocket-Version: 8"], 426),
        (KEY, [], 400),
        (KEY, [KEY, KEY], 400),
        (KEY, ["Sec-WebSocket-Key: c2hvcnQ="], 400),
        (KEY, ["Sec-WebSocket-Key: no base64"], 400),
        (KEY, ["Sec-WebSocket-Key: schl\N{LATIN SMALL LETTER U WITH DIAERESIS}ssel"], 400),
    ],
)
async def test_broken_handshakes_are_refused(simulator, line, instead, status):
    lines = [new for each in LINES for new in (instead if each == line else [each])]
    assert (await received(simulator, head_of(lines))).startswith(f"HTTP/1.1 {status} ")


async def test_versions_that_are_spoken_are_told(simulator):
    lines = [line.replace("13", "8") for line in LINES]
    assert "\r\nSec-WebSocket-Version: 13\r\n" in await received(simulator, head_of(lines))
