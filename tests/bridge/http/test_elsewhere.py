"""Turns that are handed over by HTTP. Both ends are this process: it believes that another one holds the sessions."""

import asyncio
import json
import time
from contextlib import suppress
from pathlib import Path

import aiohttp
import msgspec
import pytest
import redis

from accounts.keys.in_use import KeysInUse
from accounts.keys.keyring import Caller, KeyRecord, KeyRing
from accounts.keys.limit_set import LimitSet
from accounts.ledger.trace import decoded
from bridge.http.private import PrivateApplication
from bridge.http.routing import CHAT_CONSUMERS
from bridge.peers import handover, report
from bridge.peers.client import PeerClient
from bridge.peers.listeners import Listeners, Tls
from bridge.peers.peers import Peers
from bridge.peers.report import PeerReport
from bridge.pool.policy import Affinity
from bridge.turn import places
from bridge.wire import sse
from gateway_project.lib.redis.redis_keys import PEERS, SESSIONS, USAGE
from gateway_project.server import private
from tests.bridge.chats import replying, say
from tests.bridge.http.serving import PEPPER, Answer, load_key, post
from tests.bridge.http.serving import SECRET as KEY
from tests.bridge.lingma.service import finish
from tests.ports import free_port

PATHS = ("/v1/chat/completions", "/v1/messages", "/v1/responses")
SECRET = "a secret of all processes"


def tell(client, other):
    client.hset(PEERS, other.name, b"%d " % time.time() + report.encode(other))


class Handing:
    """A runtime whose sessions are, as it believes, in `web-2`, which it is itself."""

    def __init__(self, runtime, service, server, redis_url):
        self.runtime, self.service, self.server, self.redis_url = runtime, service, server, redis_url
        self.texts = ["to begin with"]

    async def ask(self, path, text, stream=False, answer=None, history=True, headers=(), consumer=None, **more):
        """One turn in a conversation, in any format."""
        body = {"model": "org_auto", "stream": stream, "max_tokens": 1000, **more}
        said = [{"role": ("user", "assistant")[at % 2], "content": each} for at, each in enumerate(self.texts)]
        said = [*(said if history else []), {"role": "user", "content": text}]
        body["input" if path == PATHS[2] else "messages"] = said
        if path == PATHS[2]:
            body["max_output_tokens"] = body.pop("max_tokens")
        consumer = consumer or CHAT_CONSUMERS[path]()
        return await post(consumer, json.dumps(body).encode(), path, answer=answer, more_headers=headers)

    async def begin(self, text="Hello there"):
        """The first turn, whose session the next one continues."""
        answer = await self.ask(PATHS[0], self.texts[0], history=False)
        assert answer.headers[b"x-lingma-session"] == b"new"
        self.texts.append(json.loads(b"".join(answer.parts))["choices"][0]["message"]["content"])

    async def rows(self):
        await self.runtime.engine.wait_for_background()
        with redis.Redis.from_url(self.redis_url) as client:
            rows = [json.loads(fields[b"row"]) for _, fields in client.xrange(USAGE)]
        return [row for row in rows if "request_id" in row]


@pytest.fixture
async def handing(new_service, new_runtime, redis_server, tmp_path):
    """`handing(on_ask)`; all of it ends with the test."""
    ends = []

    async def handing(on_ask, secret=SECRET, load=None, node="here", **settings):
        with redis.Redis.from_url(redis_server) as client:
            client.delete(USAGE, PEERS, SESSIONS)
            service = await new_service(on_ask)
            runtime = await new_runtime(service, trace_share=0, **settings)
            if load:
                runtime.keys = KeyRing(PEPPER, runtime.link, load)
                runtime.in_use = KeysInUse(runtime.keys)
            runtime.neighbours.secret = SECRET.encode()
            port = 0 if node == "here" else free_port() - 1  # the free one is the second process's
            listeners = Listeners(tmp_path, 2, "127.0.0.1", port, Tls())
            server = asyncio.create_task(private.serve(PrivateApplication(), listeners.open()))
            own = PeerReport("web-1", "1", "here", time.time())
            instances = {each.name: each.generation for each in runtime.pool.instances if node == "here"}
            other = PeerReport("web-2", "1", node, time.time(), listeners.path, listeners.url, instances)
            tell(client, other)
            runtime.peers = Peers(runtime.link, PeerClient("here", secret), lambda: own)
            await runtime.peers.exchange()
        ends.append((runtime, server))
        return Handing(runtime, service, server, redis_server)

    yield handing
    for runtime, server in ends:
        server.cancel()
        with suppress(asyncio.CancelledError):
            await server
        await runtime.peers.client.close()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_answer_is_that_of_the_holder(handing, path, stream):
    gateway = await handing(replying("Hello ", "there"))
    await gateway.begin()
    answer = await gateway.ask(path, "and now?", stream)
    assert (answer.status, answer.headers[b"x-lingma-session"]) == (200, b"reused")
    assert (b"there" in b"".join(answer.parts), answer.headers.get(handover.TAKEN)) == (True, None)
    assert len([each for each in answer.headers if each == b"x-request-id"]) == 1
    first, second = await gateway.rows()
    assert f"{second['request_id']}".encode() == answer.headers[b"x-request-id"]
    assert (second["session"], second["status"], decoded(second["trace"]).by) == ("reused", "ok", "web-1")
    assert "trace" not in first


async def test_first_turn_is_nobody_elses(handing):
    gateway = await handing(replying("Hello"))
    await gateway.begin()
    assert ["trace" in row for row in await gateway.rows()] == [False]


async def test_stream_arrives_piece_by_piece(handing):
    gateway = await handing(replying("Hello"))
    await gateway.begin()
    answer, more = Answer(), asyncio.Event()

    async def on_ask(peer, params):
        await say(peer, params, "first")
        await more.wait()
        await peer.push(finish(params["requestId"]))

    gateway.service.on_ask = on_ask
    asking = asyncio.create_task(gateway.ask(PATHS[0], "go on", stream=True, answer=answer))
    async with asyncio.timeout(30):
        while b"first" not in b"".join(answer.parts):
            await asyncio.sleep(0.005)
        assert not asking.done()
        more.set()
        await asking
    assert b"[DONE]" in b"".join(answer.parts)


async def test_hang_up_reaches_the_service(handing):
    gateway = await handing(replying("Hello"))
    await gateway.begin()
    answer = Answer()

    async def on_ask(peer, params):
        await say(peer, params, "first")

    gateway.service.on_ask = on_ask
    asking = asyncio.create_task(gateway.ask(PATHS[1], "go on", stream=True, answer=answer))
    async with asyncio.timeout(30):
        await answer.has_text.wait()
        answer.gone.set()
        await asking
        await gateway.service.got("chat/stop")
        while len(rows := await gateway.rows()) < 2:
            await asyncio.sleep(0.005)
    assert [row["status"] for row in rows] == ["ok", "cancelled"]


@pytest.mark.parametrize("path", PATHS)
async def test_lost_process_ends_the_stream_with_an_error(handing, path):
    gateway = await handing(replying("Hello"))
    await gateway.begin()
    answer = Answer()

    async def on_ask(peer, params):
        await say(peer, params, "first")

    gateway.service.on_ask = on_ask
    asking = asyncio.create_task(gateway.ask(path, "go on", stream=True, answer=answer))
    async with asyncio.timeout(30):
        await answer.has_text.wait()
        gateway.server.cancel()
        await asking
    assert_fails(answer, path)
    # Admitted, as that process has opened it: else it would be open for ever.
    assert [row["admitted"] for row in await gateway.rows() if row["status"] == "error"] == [True]


def assert_fails(answer, path):
    """The stream ends with an error that clients of the format read, numbered behind what came before."""
    events = [json.loads(line[6:]) for line in b"".join(answer.parts).splitlines() if line.startswith(b"data: ")]
    if path == PATHS[2]:
        assert [each["sequence_number"] for each in events] == list(range(len(events)))
        assert (events[0]["type"], events[-1]["type"]) == ("response.created", "response.failed")
        events[-1] = events[-1]["response"]
    assert events[-1]["error"]["message"]


async def begin_elsewhere(gateway, path, answer):
    """A stream that another process runs: the consumer that has the client, and the request, which has not ended."""
    await gateway.begin()

    async def on_ask(peer, params):
        await say(peer, params, "first")

    gateway.service.on_ask = on_ask
    consumer = CHAT_CONSUMERS[path]()
    asking = asyncio.create_task(gateway.ask(path, "go on", stream=True, answer=answer, consumer=consumer))
    while b"first" not in b"".join(answer.parts):
        await asyncio.sleep(0.005)
    return consumer, asking


@pytest.mark.parametrize("path", PATHS)
async def test_revoked_key_ends_what_runs_elsewhere(handing, path):
    """Each process watches the key of its side, and that of the client may be the first to see its end."""
    closed = []

    async def load(digest):
        record = await load_key(digest)
        return msgspec.structs.replace(record, closed="revoked") if closed else record

    gateway, answer = await handing(replying("Hello"), load=load), Answer()
    async with asyncio.timeout(60):
        consumer, asking = await begin_elsewhere(gateway, path, answer)
        consumer.key_closed("revoked")
        closed.append(True)
        while not asking.done():
            await gateway.runtime.in_use.check()
            await asyncio.sleep(0.05)
    assert_fails(answer, path)
    *_, row = await gateway.rows()
    assert (row["status"], row["reason"]) == ("error", "revoked")


async def test_cancelled_response_that_runs_elsewhere_fails(handing):
    gateway, answer = await handing(replying("Hello")), Answer()
    async with asyncio.timeout(60):
        consumer, asking = await begin_elsewhere(gateway, PATHS[2], answer)
        assert json.loads(await consumer.cancel())["status"] == "cancelled"
        await asking
    assert_fails(answer, PATHS[2])


@pytest.mark.parametrize("path", PATHS)
async def test_process_lost_amid_an_event_ends_readably(handing, path):
    gateway = await handing(replying("Hello"))
    await gateway.begin()
    body, whole = {"type": "response.created", "sequence_number": 0}, Answer()
    parts = [sse.data(body), b'event: next\ndata: {"half": "of']

    async def begin_and_go(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n")
        writer.write(b"%b: 1\r\ntransfer-encoding: chunked\r\n\r\n" % handover.TAKEN)
        writer.write(b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts))
        await asyncio.wait_for(whole.has_text.wait(), 30)
        writer.close()

    [other] = gateway.runtime.peers.known
    Path(other.socket).unlink()
    async with await asyncio.start_unix_server(begin_and_go, other.socket):
        await gateway.ask(path, "go on", stream=True, answer=whole)
    assert_fails(whole, path)


async def test_process_lost_amid_its_refusal_leaves_a_row(handing):
    gateway = await handing(replying("Hello"))
    await gateway.begin()
    whole = Answer()

    async def refuse_and_go(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Busy\r\n%b: 1\r\ncontent-length: 1000\r\n\r\n{" % handover.TAKEN)
        await asyncio.wait_for(whole.has_text.wait(), 30)
        writer.close()

    [other] = gateway.runtime.peers.known
    Path(other.socket).unlink()
    async with await asyncio.start_unix_server(refuse_and_go, other.socket):
        await gateway.ask(PATHS[0], "go on", stream=True, answer=whole)
    *_, row = await gateway.rows()
    assert (row["status"], row["admitted"]) == ("refused", True)


async def test_lost_process_before_the_answer_costs_a_rebuild(handing):
    gateway = await handing(replying("Hello"))
    await gateway.begin()
    gateway.server.cancel()
    await asyncio.wait({gateway.server})
    answer = await gateway.ask(PATHS[0], "go on")
    assert (answer.status, answer.headers[b"x-lingma-session"]) == (200, b"rebuilt")
    assert [row["status"] for row in await gateway.rows()] == ["ok", "ok"]


@pytest.mark.parametrize("path", PATHS)
async def test_signs_of_life_bind_to_no_process(handing, path):
    gateway = await handing(replying("Hello"), keepalive_sec=0.1)
    await gateway.begin()
    answer = Answer()

    async def on_ask(_peer, _params):
        gateway.service.on_ask = replying("and on")

    gateway.service.on_ask = on_ask
    asking = asyncio.create_task(gateway.ask(path, "go on", stream=True, answer=answer))
    async with asyncio.timeout(30):
        while answer.parts.count(b": keep-alive\n\n") < 2:
            await asyncio.sleep(0.005)
        gateway.server.cancel()
        await asking
    told = b"".join(answer.parts)
    assert (answer.status, b"and on" in told, b"error" in told.replace(b'"error":null', b"")) == (200, True, False)
    *_, row = await gateway.rows()
    assert (row["status"], row["session"]) == ("ok", "rebuilt")


@pytest.mark.parametrize("path", PATHS)
async def test_failure_after_signs_of_life_ends_the_stream(handing, path):
    gateway = await handing(replying("Hello"), keepalive_sec=0.1)
    await gateway.begin()
    answer, more = Answer(), asyncio.Event()

    async def on_ask(peer, params):
        await more.wait()
        await peer.push(finish(params["requestId"], code=112, reason="the quota is used up"))

    gateway.service.on_ask = on_ask
    asking = asyncio.create_task(gateway.ask(path, "go on", stream=True, answer=answer))
    async with asyncio.timeout(30):
        await answer.has_text.wait()
        more.set()
        await asking
    assert (answer.status, b"quota is used up" in answer.parts[-1]) == (200, True)
    assert [row["status"] for row in await gateway.rows()] == ["ok", "error"]


async def test_stream_goes_on_behind_counted_signs(handing):
    """Responses numbers its events: another process goes on where the client is."""
    gateway = await handing(replying("Hello"))
    [other] = gateway.runtime.peers.known
    given = handover.HandOver("1" * 32, time.time(), 0.0, "192.0.2.1", "web-9", signs=3)
    headers = {"x-lingma-peer-secret": SECRET, "x-lingma-peer-turn": handover.encoded(given)}
    headers["authorization"] = f"Bearer {KEY}"
    body = {"model": "org_auto", "input": "Hello", "stream": True}
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(other.socket)) as session:
        answer = await session.post(f"http://peer{PATHS[2]}", headers=headers, json=body)
        told = [json.loads(line[6:]) for line in (await answer.read()).splitlines() if line.startswith(b"data: {")]
    # The one before them is `response.created`.
    assert [each["sequence_number"] for each in told] == list(range(4, 4 + len(told)))
    assert told[0]["type"] == "response.in_progress"


async def test_process_that_hangs_is_not_waited_for(handing):
    gateway = await handing(replying("Hello"))
    await gateway.begin()

    async def on_ask(_peer, _params):
        gateway.service.on_ask = replying("Hello")

    gateway.service.on_ask = on_ask
    asking = asyncio.create_task(gateway.ask(PATHS[0], "go on"))
    async with asyncio.timeout(30):
        await gateway.service.got("chat/ask", times=2)
        [other] = gateway.runtime.peers.known
        gateway.runtime.peers.holder(Affinity(*other.instances.popitem())).go()
        answer = await asking
    assert (answer.status, answer.headers[b"x-lingma-session"]) == (200, b"rebuilt")


async def test_wrong_secret_is_refused_and_costs_a_rebuild(handing):
    gateway = await handing(replying("Hello"), secret="another")
    await gateway.begin()
    answer = await gateway.ask(PATHS[0], "go on")
    assert (answer.status, answer.headers[b"x-lingma-session"]) == (200, b"rebuilt")


async def test_process_without_a_place_gives_the_turn_back(handing):
    gateway = await handing(replying("Hello"), max_in_flight=1, queue_timeout_sec=30)
    await gateway.begin()
    held = gateway.runtime.pool.lease()
    asking = asyncio.create_task(gateway.ask(PATHS[0], "go on"))
    async with asyncio.timeout(30):
        while not (gateway.runtime.pool.waiting and gateway.runtime.running.look()[0]):
            await asyncio.sleep(0.005)
        [turn], [key] = gateway.runtime.running.look()
        held.release()
        answer = await asking
    assert (turn.instance, turn.key_name, key.waiting) == ("", "key", 1)
    assert (answer.status, answer.headers[b"x-lingma-session"]) == (200, b"rebuilt")
    assert [row["status"] for row in await gateway.rows()] == ["ok", "ok"]


async def test_wait_before_the_hand_over_counts(handing):
    """A turn that waited here until another machine had a place has waited, whoever runs it."""
    gateway = await handing(replying("Hello"), node="there", max_in_flight=1, queue_timeout_sec=60)
    await gateway.begin()
    held = gateway.runtime.pool.lease()
    asking = asyncio.create_task(gateway.ask(PATHS[0], "go on"))
    async with asyncio.timeout(60):
        while not gateway.runtime.pool.waiting:
            await asyncio.sleep(0.005)
        [other] = gateway.runtime.peers.known
        with redis.Redis.from_url(gateway.redis_url) as client:
            tell(client, msgspec.structs.replace(other, free=1))
        await gateway.runtime.peers.exchange()
        while not gateway.runtime.neighbours.guests.count:
            await asyncio.sleep(0)
        held.release()
        answer = await asking
    _, row = await gateway.rows()
    trace = decoded(row["trace"])
    waited = 1000 * places.LOOK_SEC - 100  # so long nobody looks whether there is room elsewhere
    assert int(answer.headers[b"x-lingma-queue-ms"]) == row["queue_ms"] >= waited
    assert row["total_ms"] >= row["first_token_ms"] >= trace.placed - trace.admitted >= waited
    assert trace.by == "web-1"


async def test_largest_body_goes_over(handing):
    gateway = await handing(replying("Hello"))
    await gateway.begin()
    answer = await gateway.ask(PATHS[0], "go on", ignored="x" * (31 << 20))
    assert (answer.status, answer.headers[b"x-lingma-session"]) == (200, b"reused")


async def load_limited(digest):
    limits = (LimitSet.of("key", 77_002, rpm=100, tpm=100_000, concurrency=1),)
    return KeyRecord(Caller(77_002, "key", "lgw_", limits=limits, digest=bytes.fromhex(digest)))


async def test_limits_count_a_turn_once(handing):
    gateway = await handing(replying("Hello"), load=load_limited)
    await gateway.begin()
    for text in ("go on", "and on"):  # one at a time, so the first has been given back
        answer = await gateway.ask(PATHS[0], text)
        assert (answer.status, answer.headers[b"x-lingma-session"]) == (200, b"reused")
        gateway.texts += [text, json.loads(b"".join(answer.parts))["choices"][0]["message"]["content"]]
    assert answer.headers[b"x-ratelimit-remaining-requests"] == b"97"
    tokens = sum(row["prompt_tokens"] + row["completion_tokens"] for row in await gateway.rows())
    seen = await gateway.runtime.limits.look((await load_limited("00")).caller)
    used = {state.name: state.used for state in seen.states()}
    assert used == {"rpm": 3, "tpm": tokens, "concurrency": 0}


async def test_turn_in_doubt_waits_for_what_is_left(handing):
    """The other process has its own time-out for turns, of which this one has used up most where it came from."""

    async def begin(peer, params):
        await say(peer, params, "a word")

    gateway = await handing(begin, max_in_flight=1, queue_timeout_sec=600)
    held = Answer()
    holding = asyncio.create_task(gateway.ask(PATHS[0], "hold", stream=True, history=False, answer=held))
    async with asyncio.timeout(60):
        await held.has_text.wait()
        given = handover.HandOver("1" * 32, time.time(), 29.0, "192.0.2.1", "web-9", exits=1, left=0.1)
        headers = {"x-lingma-peer-secret": SECRET, "x-lingma-peer-turn": handover.encoded(given)}
        headers["authorization"] = f"Bearer {KEY}"
        body = {"model": "org_auto", "messages": [{"role": "user", "content": "Hello"}]}
        [other] = gateway.runtime.peers.known
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(other.socket)) as session:
            answer = await session.post(f"http://peer{PATHS[0]}", headers=headers, json=body)
        assert (answer.status, handover.TAKEN.decode() in answer.headers) == (429, True)
        held.gone.set()
        await holding


@pytest.mark.parametrize(
    ("secret", "path", "status"),
    [("wrong", "/", 403), ("", PATHS[0], 403), (SECRET, "/", 204), (SECRET, PATHS[0], 404), (SECRET, "/healthz", 404),
     (SECRET, "/admin/", 404), ("wrong", "/admin/", 403)],
)  # fmt: skip
async def test_listener_serves_turns_of_processes_alone(handing, secret, path, status):
    gateway = await handing(replying("Hello"))
    [other] = gateway.runtime.peers.known
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(other.socket)) as session:
        answer = await session.post(f"http://peer{path}", headers={"x-lingma-peer-secret": secret}, data=b"{}")
        assert answer.status == status


async def test_public_listener_believes_no_client(handing):
    gateway = await handing(replying("Hello"))
    await gateway.begin()
    found = handover.Found("f" * 64, "somebody's", "w1-i1", 1, 0, 1.0)
    given = handover.HandOver("1" * 32, 1.0, 0.0, "192.0.2.1", "web-9", found)
    headers = [(handover.TURN, handover.encoded(given).encode()), (handover.SECRET, SECRET.encode())]
    answer = await gateway.ask(PATHS[0], "go on", headers=headers)
    assert (answer.status, answer.headers[b"x-lingma-session"]) == (200, b"reused")
    assert answer.headers[b"x-request-id"] != b"req_" + b"1" * 32
    assert {row.get("client", "") for row in await gateway.rows()} == {""}
