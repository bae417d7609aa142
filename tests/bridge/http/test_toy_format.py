"""A format that no module of the gateway knows, served by all that the others are served by."""

import asyncio
import json

import pytest
import redis
from channels.routing import URLRouter

from bridge.http.routing import chat_consumers, chat_routes
from bridge.wire.formats import FORMATS
from gateway_project.lib.redis.redis_keys import USAGE
from tests.bridge.chats import replying, say
from tests.bridge.http import serving
from tests.bridge.http.serving import Answer
from tests.bridge.http.toy_format import FORMAT
from tests.bridge.lingma.service import finish

SERVED = (*FORMATS, FORMAT)


@pytest.fixture
def gateway(new_service, new_runtime):
    """`gateway(on_ask)`: a runtime over a scripted service that answers like that."""

    async def gateway(on_ask):
        return await new_runtime(await new_service(on_ask))

    return gateway


async def post(body, path="/v1/lines", application=None, answer=None):
    return await serving.post(application or chat_consumers(SERVED)[path](), body, path, "text/plain", answer)


def rows(redis_server):
    with redis.Redis.from_url(redis_server) as client:
        return [json.loads(fields[b"row"]) for _, fields in client.xrange(USAGE)]


async def test_a_streamed_reply_is_sent_as_it_comes(gateway):
    answer = Answer()

    async def on_ask(peer, params):
        await say(peer, params, "Hel")
        await answer.has_text.wait()
        await say(peer, params, "lo")
        await peer.push(finish(params["requestId"]))

    await gateway(on_ask)
    async with asyncio.timeout(30):
        await post(b"org_auto stream\nHi", answer=answer)
    assert (answer.status, answer.headers[b"content-type"]) == (200, b"text/plain; charset=utf-8")
    assert b"".join(answer.parts) == b"Hello\n= stop of org_auto\n"
    assert len(answer.parts) > 1


async def test_a_whole_reply(gateway):
    await gateway(replying("Hel", "lo"))
    answer = await post(b"org_auto\nHi")
    assert (answer.status, answer.parts) == (200, [b"Hello\n= stop of org_auto\n"])
    assert answer.headers[b"content-type"] == b"text/plain; charset=utf-8"
    assert answer.headers[b"lines-id"] == answer.headers[b"x-request-id"]
    assert answer.headers[b"x-lingma-instance"]


@pytest.mark.parametrize("first", [b"org_auto", b"org_auto stream"])
async def test_early_error_is_in_words_of_the_format(gateway, first):
    await gateway(replying(statusCode=500))
    answer = await post(first + b"\nHi")
    assert answer.status == 502
    assert b"".join(answer.parts).startswith(b"! ")
    assert answer.headers[b"content-type"] == b"text/plain; charset=utf-8"


async def test_an_error_after_it_is_the_last_line(gateway):
    async def on_ask(peer, params):
        await say(peer, params, "Hel")
        await peer.push(finish(params["requestId"], code=500))

    await gateway(on_ask)
    answer = await post(b"org_auto stream\nHi")
    body = b"".join(answer.parts)
    assert answer.status == 200
    assert body.startswith(b"Hel\n! ")


async def test_invalid_request_is_refused_in_its_words(gateway):
    await gateway(replying("Hello"))
    answer = await post(b"org_auto")
    assert (answer.status, answer.parts) == (400, [b"! Send a line with the model, then a text.\n"])


async def test_turns_of_a_new_format_have_rows(gateway, redis_server):
    await gateway(replying("Hello"))
    await post(b"org_auto\nHi")
    row = rows(redis_server)[-1]
    assert (row["protocol"], row["endpoint"], row["status"], row["model"]) == ("lines", "/v1/lines", "ok", "org_auto")


async def test_a_slash_at_the_end_finds_it_too(gateway):
    await gateway(replying("Hello"))
    answer = await post(b"org_auto\nHi", "/v1/lines/", URLRouter(chat_routes(SERVED)))
    assert answer.parts == [b"Hello\n= stop of org_auto\n"]
