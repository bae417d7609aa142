"""A connection to a scripted service."""

import asyncio

import pytest

from bridge.chat.events import TextDelta
from bridge.lingma.connection import Connection
from bridge.lingma.dialects.base import Ask
from bridge.lingma.stream import ReplyStream, TurnLimits
from gateway_project.lib.ticker import Ticker
from gateway_project.lib.tool_approval import DENY
from tests.bridge.lingma.service import DIALECT, Service


@pytest.fixture
async def service():
    async with Service() as service:
        yield service


@pytest.fixture
def approval():
    """What the service may run; tests give their own."""
    return DENY


@pytest.fixture
async def connection(service, approval):
    connection = await Connection.dial(service.url, DIALECT, within=5, approval=approval)
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
        turn = ReplyStream(request_id, "s-mine", limits, Ticker(0.01))
        connection.ask(turn, Ask(request_id, "s-mine", "Hello", "org_auto"), kind)
        return turn

    return ask


async def received_pieces(turn):
    """Read the turn to its end: all the pieces that came."""
    pieces = []
    async with asyncio.timeout(30):
        while turn.end is None:
            pieces += await turn.drain()
    return pieces + await turn.drain()


async def ended(turn):
    """The same, but only the pieces of text."""
    return [piece.text for piece in await received_pieces(turn) if isinstance(piece, TextDelta)]
