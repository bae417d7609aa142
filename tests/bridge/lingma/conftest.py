"""A connection to a scripted service."""

import asyncio

import pytest

from bridge.lingma.connection import Connection
from bridge.lingma.dialect_a import Ask, ask_params
from bridge.lingma.pulse import Pulse
from bridge.lingma.turn import Turn, TurnLimits
from tests.bridge.lingma.service import Service


@pytest.fixture
async def service():
    async with Service() as service:
        yield service


@pytest.fixture
async def connection(service):
    connection = await Connection.dial(service.url, within=5)
    yield connection
    connection.close()
    await connection.lost


@pytest.fixture
async def peer(service, connection):
    """The service's side of the connection."""
    return await service.peers.get()


@pytest.fixture
def ask(connection):
    """Ask a question; the turn is returned."""

    def ask(request_id="r1", kind="notification", limits=TurnLimits()):  # noqa: B008
        turn = Turn(request_id, "s-mine", limits, Pulse(0.01))
        connection.ask(turn, ask_params(Ask(request_id, "s-mine", "Hello", "org_auto"), {}), kind)
        return turn

    return ask


async def ended(turn):
    """Read the turn to its end: the pieces of text that came."""
    texts = []
    async with asyncio.timeout(5):
        while turn.end is None:
            texts += [piece.text for piece in await turn.drain()]
    return texts + [piece.text for piece in await turn.drain()]
