"""Mixed load: three protocols, streamed and whole, some hang-ups, some keys with limits. Every turn is remembered."""

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

PATIENCE = 60.0
"""Seconds until a client gives up: a request unanswered by then has failed."""
LATE = 3.0
"""Seconds that a good answer may take beyond what the model needs."""

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
PATHS = (CHAT, MESSAGES, RESPONSES)
RUNS = count(1)
WORDS = 4
SLOW_WORDS = 20
CONTEXT = 6_000
"""Times that a few words stand in a long context."""
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
TOOLS = {
    CHAT: {"type": "function", "function": {"name": "read", "parameters": SCHEMA}},
    MESSAGES: {"name": "read", "input_schema": SCHEMA},
    RESPONSES: {"type": "function", "name": "read", "parameters": SCHEMA},
}


@dataclass(slots=True)
class Turn:
    """What a client sent, and what became of it as the client saw it."""

    number: int
    path: str
    streamed: bool
    key: str
    slow: bool
    hangs_up: bool
    rich: bool = False
    began: float = 0.0
    ended: float = 0.0
    status: int = 0
    request_id: str = ""
    text: str = ""
    run: int = 0
    outcome: str = ""
    """ok, refused (a limit), failed (no text), broken (error after text), cut (no ending), wrong, hung_up."""
    why: str = ""

    @property
    def model(self):
        """A name of its own: it stands in the turn's row, also when the client never saw a request id."""
        return f"trial-{self.run}-{self.number}"

    @property
    def limited(self):
        return self.key != "plain"

    @property
    def wanted(self):
        return " ".join(f"~w{number:02}" for number in range(SLOW_WORDS if self.slow else WORDS))

    @property
    def good(self):
        """Whether the client got what it should have, in time."""
        return self.outcome in {"ok", "refused", "hung_up"} and self.ended - self.began < self.needs + LATE

    @property
    def needs(self):
        return SLOW_WORDS * 0.1 if self.slow else 0.1


@dataclass(frozen=True)
class Shape:
    """How much load, and what of."""

    clients: int = 14
    pause: float = 0.02
    slow_share: int = 31  # one turn of so many lasts two seconds; odd, so that all kinds of turns are among them
    hang_up_share: int = 25
    limited: bool = True  # three more clients, whose keys have limits
    slow_only: bool = False
    rich: bool = False  # some turns also have tools, or a long context, or a connection of their own
    refused: tuple = ()  # keys of clients that are refused, each for its reason; "" for bodies that no format takes
    turns: int = 0  # stop after so many; 0: when told


def body_of(turn):
    """The request's body; the simulator reads its instructions from the prompt."""
    delay = 100 if turn.slow else 10
    words = SLOW_WORDS if turn.slow else WORDS
    prompt = f'[[sim: text="{turn.wanted}" chunks={words} first_ms=5 delay_ms={delay}]] turn {turn.number}'
    asked = {"model": turn.model, "stream": turn.streamed}
    if not turn.key:
        return asked | {"temperature": "hot"}
    if turn.rich:
        prompt += " " + "long ago " * (CONTEXT if turn.number % 11 == 0 else 0)
        asked |= {"tools": [TOOLS[turn.path]]} if turn.number % 7 == 0 else {}
    if turn.path == RESPONSES:
        return asked | {"input": prompt}
    asked["messages"] = [{"role": "user", "content": prompt}]
    return asked | ({"max_tokens": 4096} if turn.path == MESSAGES else {})


def closes(turn):
    """Whether its client asks for a connection that ends with the answer."""
    return turn.rich and turn.number % 13 == 0


def post(path, body, key, more=""):
    """The bytes of a request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nUser-Agent: trials/1\r\n"
        f"{more}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Load:
    """All clients of a trial, and all turns they have had."""

    def __init__(self, port, keys, shape):
        self.port, self.keys, self.shape = port, keys, shape
        self.turns = []
        self.ready = []  # (when, whether) /readyz said so
        self.running = set()
        self.stopping = False
        self._numbers, self._run = count(1), next(RUNS)
        self._tasks = []

    def start(self):
        keys = ["plain"] * self.shape.clients + list(self.shape.refused)
        if self.shape.limited:
            keys += ["narrow", "narrow", "paced"]
        self._tasks = [asyncio.ensure_future(Client(self, key).run()) for key in keys]
        self._tasks.append(asyncio.ensure_future(self._look()))

    def next_turn(self, key):
        number, shape = next(self._numbers), self.shape
        streamed = number % 2 == 0
        return Turn(
            number,
            PATHS[number // 2 % 3],
            streamed,
            key,
            slow=shape.slow_only or bool(shape.slow_share and number % shape.slow_share == 0),
            hangs_up=bool(streamed and shape.hang_up_share and number // 2 % shape.hang_up_share == 0),
            rich=shape.rich,
            run=self._run,
        )

    def enough(self):
        return self.stopping or bool(self.shape.turns and len(self.turns) >= self.shape.turns)

    async def stop(self):
        """Ask nothing more, and wait for what runs."""
        self.stopping = True
        await asyncio.wait(self._tasks, timeout=PATIENCE + 5)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look(self):
        while not self.stopping:
            asked = time.monotonic()
            self.ready.append((asked, await is_ready(self.port)))
            await asyncio.sleep(max(0.0, asked + 0.1 - time.monotonic()))

    def troubles(self, since):
        """When the last answer that was not good ended, and the last /readyz that was not 200; `since` if none."""
        bad = [turn.ended for turn in self.turns if turn.ended > since and not turn.good]
        bad += [at for at, well in self.ready if at > since and not well]
        return max(bad, default=since)

    def slot_after(self, since):
        """When a turn of the key that may have one at once was first answered; None while none was."""
        found = [turn.ended for turn in self.turns
                 if turn.key == "narrow" and turn.outcome == "ok" and turn.began > since]  # fmt: skip
        return min(found, default=None)


async def is_ready(port):
    """Whether /readyz answers 200 within two seconds."""
    request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    return await status_of(port, request, 2) == 200


async def status_of(port, request, seconds):
    """The status that a request is answered with; 0 when there is no answer in time."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(request)
                return int((await reader.readline())[9:12] or 0)
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError, ValueError):
        return 0


class HangUp(Exception):
    """The client has had enough, as planned."""


class Client:
    """One keep-alive connection that asks turn after turn."""

    def __init__(self, load, key):
        self.load, self.key = load, key
        self.reader = self.writer = None

    async def run(self):
        while not self.load.enough():
            turn = self.load.next_turn(self.key)
            await self.ask(turn)
            pause = self.load.shape.pause if turn.outcome in {"ok", "hung_up"} else 0.2
            await asyncio.sleep(pause)
        self.close()

    async def ask(self, turn):
        turn.began = time.monotonic()
        self.load.running.add(turn.number)
        try:
            async with asyncio.timeout(PATIENCE):
                await self.connect()
                more = "Connection: close\r\n" if closes(turn) else ""
                key = self.load.keys[turn.key or "plain"]
                self.writer.write(post(turn.path, json.dumps(body_of(turn)).encode(), key, more))
                await self.read(turn)
        except HangUp:
            turn.outcome = "hung_up"
        except TimeoutError:
            ended_early(turn, f"nothing after {PATIENCE:g} s")
        except (OSError, asyncio.IncompleteReadError) as exc:
            ended_early(turn, f"{type(exc).__name__}")
        except (ValueError, KeyError, IndexError, TypeError) as exc:
            turn.outcome, turn.why = "wrong", f"{type(exc).__name__}: {exc}"[:200]
        turn.ended = time.monotonic()
        if turn.outcome not in {"ok", "refused"}:
            self.close()
        self.load.running.discard(turn.number)
        self.load.turns.append(turn)

    async def connect(self):
        if self.writer is None or self.reader.at_eof() or self.writer.is_closing():
            self.close()
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.load.port)

    def close(self):
        if self.writer is not None:
            self.writer.transport.abort()
        self.reader = self.writer = None

    async def read(self, turn):
        status, _, rest = (await self.reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in rest.strip().split(b"\r\n"))
        turn.status = int(status[9:12])
        turn.request_id = headers.get(b"x-request-id", b"").decode()
        if b"content-length" in headers:
            body = await self.reader.readexactly(int(headers[b"content-length"]))
            judge_whole(turn, json.loads(body))
        else:
            await self.read_stream(turn)
        if headers.get(b"connection") == b"close" or closes(turn):
            self.close()

    async def read_stream(self, turn):
        saw = Events(turn)
        async for data in self.pieces():
            saw.feed(data)
            if turn.hangs_up and turn.text:
                raise HangUp
        saw.end()

    async def pieces(self):
        """The pieces of a chunked body; returns after the last one."""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            yield (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)


def ended_early(turn, why):
    """The connection ended, or nothing came, before the answer had an end."""
    turn.why = why
    turn.outcome = "cut" if turn.text else "failed"


def error_words(told):
    error = told.get("error") or told.get("response", {}).get("error") or told
    return json.dumps(error)[:200]


def judge_whole(turn, told):
    """An answer in one piece."""
    if turn.limited and 400 <= turn.status < 500:
        turn.outcome = "refused"
        return
    if turn.status != 200:
        turn.outcome, turn.why = "failed", f"{turn.status} {error_words(told)}"
        return
    if turn.path == CHAT:
        turn.text = told["choices"][0]["message"]["content"]
    elif turn.path == MESSAGES:
        turn.text = "".join(block["text"] for block in told["content"])
    else:
        items = [item for item in told["output"] if item["type"] == "message"]
        turn.text = "".join(part["text"] for item in items for part in item["content"])
    judge_text(turn)


def judge_text(turn):
    turn.outcome = "ok" if turn.text == turn.wanted else "wrong"
    if turn.outcome == "wrong":
        turn.why = f"text {turn.text[:80]!r}"


class Events:
    """What a stream tells, read event by event."""

    def __init__(self, turn):
        self.turn = turn
        self.rest = b""
        self.error = ""
        self.done = False

    def feed(self, data):
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                self._event(line[6:])

    def _event(self, data):
        if data.strip() == b"[DONE]":
            self.done = True
            return
        told = json.loads(data)
        kind = told.get("type", "")
        if told.get("error") or kind in {"error", "response.failed", "response.incomplete"}:
            self.error = error_words(told)
        elif kind in {"message_stop", "response.completed"}:
            self.done = True
        else:
            self.turn.text += said(told, kind)

    def end(self):
        turn = self.turn
        if self.error:
            turn.outcome, turn.why = "broken" if turn.text else "failed", self.error
        elif not self.done:
            ended_early(turn, "a body that ends without the end of its stream")
        else:
            judge_text(turn)


def said(told, kind):
    """The text in one event of any of the formats."""
    if kind == "response.output_text.delta":
        return told["delta"]
    if kind == "content_block_delta":
        return told["delta"].get("text", "")
    if told.get("choices"):
        with suppress(KeyError):
            return told["choices"][0]["delta"]["content"] or ""
    return ""
