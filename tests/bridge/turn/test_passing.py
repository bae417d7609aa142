"""What comes of a stream goes to a client that keeps up without the task of its turn."""

import asyncio

import pytest

from bridge.chat.errors import InternalError
from bridge.chat.events import Failed, FinishReason, TextDelta
from bridge.chat.request import Tool
from tests.bridge.chats import Reading, request, say
from tests.bridge.lingma.service import finish


@pytest.fixture
def talk(new_service, new_engine):
    """`talk(request, *texts)`: a turn whose service says a text when the one before has arrived: each comes alone.

    `then(reading)` is called after the first.
    """

    async def talk(request, *texts, then=lambda reading: None):
        arrived = asyncio.Queue()

        async def on_ask(peer, params):
            for text in texts:
                await say(peer, params, text)
                await arrived.get()
            await peer.push(finish(params["requestId"]))

        reading = Reading(await new_engine(await new_service(on_ask)), request)
        await reading.until(TextDelta)
        then(reading)
        for count in range(1, len(texts) + 1):
            await reading.until(TextDelta, count)
            arrived.put_nowait(None)
        return await reading.to_end()

    return talk


def passed(reading):
    return [event.text for batch in reading.passed for event in batch]


@pytest.mark.parametrize("fields", [{}, {"stop": ("END",)}, {"tools": (Tool("look"),)}])
async def test_chunk_alone_passes_once_reply_is_committed(talk, fields):
    done = await talk(request("Hi", **fields), "one", " two", " three")
    assert (done.text, passed(done)) == ("one two three", [" two", " three"])
    assert (done.record.status, done.record.first_token_ms is None) == ("ok", False)


async def test_stop_sequence_ends_what_is_passed_on(talk):
    done = await talk(request("Hi", stop=("END",)), "one", " two", " three END of it")
    assert (done.text, passed(done)) == ("one two three ", [" two"])
    assert done.end.reason == FinishReason.STOP_SEQUENCE


async def test_client_that_is_behind_gets_it_from_task(talk):
    def fall_behind(reading):
        reading.flow.write_paused = True

    done = await talk(request("Hi"), "one", " two", " three", then=fall_behind)
    assert (done.text, done.passed) == ("one two three", [])


async def test_error_on_the_short_way_ends_turn(new_service, new_engine, caplog):
    arrived = asyncio.Event()

    async def on_ask(peer, params):
        await say(peer, params, "one")
        await arrived.wait()
        await say(peer, params, " two")

    reading = Reading(await new_engine(await new_service(on_ask)), request("Hi"))
    await reading.until(TextDelta)
    reading.write = None  # nobody can call that
    arrived.set()
    done = await reading.to_end()
    assert (type(done.end), type(done.end.error), done.record.reason) == (Failed, InternalError, "internal")
    assert "a turn broke" in caplog.text
