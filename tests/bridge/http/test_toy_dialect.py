"""A chat through HTTP, engine and pool with a service that speaks a dialect of the tests only."""

import asyncio
import json

import pytest

from bridge.http.routing import chat_consumers
from bridge.wire.formats import FORMATS
from tests.bridge.http.serving import Answer, post
from tests.bridge.images.pictures import data_url, picture
from tests.bridge.lingma.toy_dialect import NO_SUCH_WORDS, ToyDialect, ToyService, over, piece

PATH = "/v1/chat/completions"


@pytest.fixture
def gateway(stack, new_runtime):
    """`gateway(on_ask)`: a service that answers like that, behind a gateway."""

    async def gateway(on_ask):
        service = await stack.enter_async_context(ToyService(on_ask))
        return service, await new_runtime(service, ToyDialect())

    return gateway


async def ask(*, stream=False, answer=None, **fields):
    body = {"model": "soup", "messages": [{"role": "user", "content": "Hi"}], "stream": stream, **fields}
    return await post(chat_consumers(FORMATS)[PATH](), json.dumps(body).encode(), PATH, answer=answer)


def texts(answer):
    """The pieces of content of a stream."""
    lines = b"".join(answer.parts).decode().split("\n\n")
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    return [each["choices"][0]["delta"].get("content") for each in chunks if each.get("choices")]


async def hello(peer, params):
    await peer.push(piece(params, "Hel"), piece(params, "lo"), over(params))


async def test_a_whole_reply(gateway):
    service, runtime = await gateway(hello)
    answer = await ask()
    assert answer.status == 200
    assert json.loads(b"".join(answer.parts))["choices"][0]["message"]["content"] == "Hello"
    assert service.asks()[0]["with"] == "soup"
    assert "Hi" in service.asks()[0]["words"]
    assert runtime.pool.statuses()[0].version == "7"


async def test_stream_comes_piece_by_piece(gateway):
    answer = Answer()

    async def on_ask(peer, params):
        await peer.push(piece(params, "Hel"))
        await answer.has_text.wait()
        await peer.push(piece(params, "lo"), over(params))

    await gateway(on_ask)
    async with asyncio.timeout(30):
        await ask(stream=True, answer=answer)
    assert "".join(filter(None, texts(answer))) == "Hello"
    assert b"".join(answer.parts).endswith(b"data: [DONE]\n\n")


async def test_second_turn_continues_the_talk(gateway):
    service, _ = await gateway(hello)
    await ask()
    history = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "And now?"},
    ]
    await ask(messages=history)
    first, second = service.asks()
    assert second["talk"] == first["talk"]
    assert "Hello" not in second["words"]


async def test_stop_sequence_hushes_the_service(gateway):
    async def on_ask(peer, params):
        await peer.push(piece(params, "Hello END and more"))

    service, _ = await gateway(on_ask)
    answer = await ask(stream=True, stop="END")
    assert "".join(filter(None, texts(answer))) == "Hello "
    assert (await service.got("hush"))["turn"] == service.asks()[0]["turn"]


async def test_hang_up_hushes_the_service(gateway):
    async def on_ask(peer, params):
        await peer.push(piece(params, "Hel"))

    service, runtime = await gateway(on_ask)
    answer = Answer()
    asking = asyncio.create_task(ask(stream=True, answer=answer))
    async with asyncio.timeout(30):
        await answer.has_text.wait()
        answer.gone.set()
        await service.got("hush")
        await asking
    assert runtime.pool.in_flight == 0


@pytest.mark.parametrize(("why", "status"), [("soup is out", 502), (NO_SUCH_WORDS, 400)])
async def test_failing_turn_has_its_status(gateway, why, status):
    async def on_ask(peer, params):
        await peer.push(over(params, why=why))

    await gateway(on_ask)
    answer = await ask()
    assert answer.status == status
    assert why in json.loads(b"".join(answer.parts))["error"]["message"]


async def test_turn_that_fails_halfway_ends_its_stream(gateway):
    async def on_ask(peer, params):
        await peer.push(piece(params, "Hel"), over(params, why="soup is out"))

    await gateway(on_ask)
    answer = await ask(stream=True)
    assert answer.status == 200
    assert b"soup is out" in answer.parts[-1]


async def test_menu_is_read_again_when_it_changes(gateway):
    service, runtime = await gateway(hello)
    service.answers["menu"] = ["cake"]
    peer = await service.peers.get()
    await peer.push(("menu/changed", {}), ("weather", {}), ("gossip", {}))
    await service.got("menu", times=2)
    async with asyncio.timeout(30):
        while [model.key for model in runtime.pool.models()] != ["cake"]:
            await asyncio.sleep(0.01)
    assert runtime.pool.instances[0].incidents.unknown_pushes == 1


async def test_image_is_left_out_where_none_is_taken(gateway):
    service, _ = await gateway(hello)
    image = {"type": "image_url", "image_url": {"url": data_url(picture())}}
    answer = await ask(messages=[{"role": "user", "content": [{"type": "text", "text": "Look"}, image]}])
    assert answer.status == 200
    assert "Look" in service.asks()[0]["words"]
