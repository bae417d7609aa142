"""Requests to run and services that answer them."""

import asyncio
from types import SimpleNamespace

from bridge.chat.events import Failed, Finished, KeepAlive, Started, TextDelta
from bridge.chat.request import ChatRequest, Message
from bridge.turn.output import Direct
from bridge.turn.record import TurnRecord
from tests.bridge.lingma.service import SILENT, answer, finish


def request(*texts, model="org_auto", stream=True, **fields):
    """A conversation, the user first."""
    roles = ["user", "assistant"] * len(texts)
    messages = tuple(Message(role, text) for role, text in zip(roles, texts, strict=False))
    return ChatRequest(model, messages, stream, **fields)


def replying(*texts, **end):
    """A service that says these texts, one push each, and finishes."""

    async def on_ask(peer, params):
        await say(peer, params, *texts)
        await peer.push(finish(params["requestId"], **end))

    return on_ask


async def say(peer, params, *texts):
    await peer.push(*[answer(text, params["requestId"]) for text in texts])


async def hanging_up(peer, _params):
    peer.socket.transport.abort()


async def going_for_long(peer, params):
    """It can be dialled again, and says nothing."""
    peer.service.answers["initialize"] = SILENT
    await hanging_up(peer, params)


def once(first, then):
    """A service that does one thing at its first turn, and another at all that follow."""
    acts = [first]

    async def on_ask(peer, params):
        await (acts.pop() if acts else then)(peer, params)

    return on_ask


class Reading:
    """One turn as its client reads it, from the moment this is made. `record` is complete when it has ended.

    It has a direct way to that client, as our own server has; `passed` are the batches that came by it.
    """

    def __init__(self, engine, request, caller_id=1):
        self.record = TurnRecord()
        self.batches, self.passed = [], []
        self.flow = SimpleNamespace(write_paused=False)
        self._news = asyncio.Event()
        direct = Direct(self.flow, lambda batch: self.write(batch), list, lambda text: [TextDelta(text)])
        running = engine.run(request, caller_id, self.record, self._take, direct=lambda: direct)
        self._task = asyncio.create_task(running)

    async def _take(self, batch):
        self.batches.append(list(batch))
        self._news.set()

    def write(self, batch):
        self.passed.append(batch)
        self.batches.append(batch)
        self._news.set()

    async def until(self, kind, times=1):
        """Read until there are so many events of that kind."""
        async with asyncio.timeout(30):
            while sum(isinstance(event, kind) for event in self.events) < times:
                self._news.clear()
                await self._news.wait()

    async def hang_up(self):
        self._task.cancel()
        await asyncio.wait({self._task})

    async def to_end(self):
        """Read all; the error is raised when there was nothing to read."""
        async with asyncio.timeout(60):
            await self._task
        assert [isinstance(event, (Finished, Failed)) for event in self.events].index(True) == len(self.events) - 1
        assert next(type(event) for event in self.events if not isinstance(event, KeepAlive)) in {Started, Failed}
        return self

    @property
    def events(self):
        return [event for batch in self.batches for event in batch]

    @property
    def text(self):
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def end(self):
        return self.events[-1]


async def chat(engine, request, caller_id=1):
    """Run a turn to its end."""
    return await Reading(engine, request, caller_id).to_end()
