"""Where other processes reach this one, with and without TLS."""

import asyncio
import socket
import ssl
import stat
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
import uvloop

from bridge.peers.client import LOST, PeerClient
from bridge.peers.listeners import Listeners, Tls
from bridge.peers.report import PeerReport
from gateway_project.server import private
from tests.doors import Authority
from tests.ports import free_port

HERE = "127.0.0.1"


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def tls(tmp_path):
    """`tls(address)`: what a machine of that address has."""
    authority = Authority(tmp_path)

    def tls(address):
        file = str(authority.sign(address))
        return Tls(file, file, str(authority.ca_file))

    return tls


async def application(_scope, _receive, send):
    """It answers everything."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"served"})


@asynccontextmanager
async def served(listeners):
    serving = asyncio.create_task(private.serve(application, listeners.open()))
    try:
        yield
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


@pytest.fixture
async def serve():
    """`serve(listeners)`, until the test has ended."""
    async with AsyncExitStack() as stack:

        async def serve(listeners):
            await stack.enter_async_context(served(listeners))

        yield serve


async def asked(listeners, node, tls=None):
    """What a process of that machine is answered."""
    report = PeerReport("web-1", "1", "here", 0, listeners.path, listeners.url)
    client = PeerClient(node, "secret", tls)
    try:
        response = await client.post(report, "/", [], b"")
        return await response.read()
    finally:
        await client.close()


async def test_socket_is_for_this_user_alone(tmp_path, serve):
    listeners = Listeners(tmp_path, 3, "", 0, Tls())
    await serve(listeners)
    assert await asked(listeners, "here") == b"served"
    assert stat.S_IMODE(Path(listeners.path).stat().st_mode) == 0o600
    assert listeners.url == ""


async def test_machines_show_each_other_certificates(tmp_path, serve, tls, port):
    listeners = Listeners(tmp_path, 1, HERE, port, tls(HERE))
    await serve(listeners)
    assert listeners.url == f"https://{HERE}:{port}"
    assert await asked(listeners, "there", tls("127.0.0.2").client()) == b"served"


@pytest.mark.parametrize("shown", ["nothing", "another authority's"])
async def test_strangers_are_not_let_in(tmp_path, serve, tls, port, shown):
    listeners = Listeners(tmp_path, 1, HERE, port, tls(HERE))
    await serve(listeners)
    context = ssl.create_default_context(cafile=tls("127.0.0.2").authority)
    if shown != "nothing":
        other = tmp_path / "other"
        other.mkdir()
        context.load_cert_chain(Authority(other).sign("127.0.0.2"))
    with pytest.raises(LOST):
        await asked(listeners, "there", context)


async def test_silent_stranger_is_soon_cut_off(tmp_path, serve, tls, port, monkeypatch):
    monkeypatch.setattr(private, "HANDSHAKE_SEC", 0.05)
    await serve(Listeners(tmp_path, 1, HERE, port, tls(HERE)))
    reader, writer = await asyncio.open_connection(HERE, port)
    async with asyncio.timeout(30):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_unfinished_handshakes_are_bounded(tmp_path, tls, port, monkeypatch, loop_factory):
    """Under either loop: their transports differ, and the server runs under the second."""
    monkeypatch.setattr(private, "MOST_HANDSHAKES", 2)
    listeners, client = Listeners(tmp_path, 1, HERE, port, tls(HERE)), tls("127.0.0.2").client()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(_answers_around_full_handshakes(listeners, client, port)) == [b"served", b"", b"served"]


async def _answers_around_full_handshakes(listeners, tls, port):
    async with served(listeners), asyncio.timeout(60):
        answers = [await asked(listeners, "there", tls)]
        silent = [await asyncio.open_connection(HERE, port) for _ in range(2)]
        reader, writer = await asyncio.open_connection(HERE, port)
        with suppress(ConnectionResetError):
            answers.append(b"")
            answers[-1] = await reader.read()
        for _, each in (*silent, (reader, writer)):
            each.close()
        while len(answers) < 3:
            with suppress(*LOST):  # until the server has seen that those have gone
                answers.append(await asked(listeners, "there", tls))
        return answers


async def test_certificate_is_for_the_address(tmp_path, serve, tls, port):
    listeners = Listeners(tmp_path, 1, HERE, port, tls("127.0.0.9"))
    await serve(listeners)
    with pytest.raises(LOST):
        await asked(listeners, "there", tls("127.0.0.2").client())


async def test_each_process_has_a_port_of_its_own(tmp_path, port):
    listeners = Listeners(tmp_path, 2, HERE, port - 1, Tls())  # the free one is the second process's
    opened = listeners.open()
    assert listeners.url == f"http://{HERE}:{port}"
    for each in opened:
        each.socket.close()


async def test_taken_port_costs_the_other_machines_only(tmp_path, caplog):
    with socket.create_server((HERE, 0)) as taken:
        listeners = Listeners(tmp_path, 1, HERE, taken.getsockname()[1], Tls())
        [own] = listeners.open()
    own.socket.close()
    assert (bool(listeners.path), listeners.url) == (True, "")
    assert "other machines cannot hand turns over" in caplog.text
